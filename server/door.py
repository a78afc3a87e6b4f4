"""Who may come in: from a message and a secret to the study that answers it."""

import contextlib
import logging
from collections.abc import Iterator
from typing import Any

from server.access import Access, Link, check_page
from server.desk import Desk
from server.invitations import Invitations
from server.limits import Limits
from server.metrics import Metrics
from server.protocol import Noted, ProtocolError, Refusal, Reply
from server.roles import LOCAL, Caller
from server.studies import Studies

TO_ALL = ("pause", "resume", "stop")
"""Orders that, without a session, are for every study here unless one is named."""

_LOG = logging.getLogger(__name__)


class Door:
    """Lets a message in to its study, if whoever sends it may."""

    def __init__(
        self,
        studies: Studies,
        access: Access,
        limits: Limits,
        metrics: Metrics,
        exposed: bool = False,
    ) -> None:
        """``exposed`` says that others than this computer reach the server."""
        self.studies, self.metrics = studies, metrics
        self._access, self._limits, self._exposed = access, limits, exposed
        self._invitations = Invitations(access)

    def handle(
        self, kind: str, payload: Any, study: str | None, address: str, bearer: str
    ) -> Reply:
        """The reply to one message; every fault of it becomes a refusal.

        The secret is the message's ``token``, or that of its ``Authorization``.
        """
        said = payload.get("token") if isinstance(payload, dict) else None
        with self.metrics.answering(kind) as done:
            try:
                secret = said if said is not None else bearer
                caller = self.caller(secret, address)
                if caller is not LOCAL:
                    self._limits.message(_counted(caller, payload))
                reply = self._answer(kind, payload, study, caller)
            except ProtocolError as error:
                reply = error.refusal
            except Exception:  # ours, not the client's: it may send it again
                _LOG.exception("a message of kind %s could not be answered", kind[:64])
                reply = _fault()
            done(reply.error if isinstance(reply, Refusal) else "")
        return reply

    def _answer(
        self, kind: str, payload: Any, study: str | None, caller: Caller
    ) -> Reply:
        """The reply of a study; of an order to all, which they are, or a refusal."""
        of_one = isinstance(payload, dict) and payload.get("session") is not None
        every = list(self.studies.open_desks())
        bound = study or caller.study
        if kind not in TO_ALL or of_one or bound or len(every) < 2:
            return self.desk(study, caller).handle(kind, payload, caller)
        refused = None
        for name in every:  # whatever is wrong with one, the others must hear of it
            try:
                reply = self.desk(name, caller).handle(kind, payload, caller)
            except ProtocolError as error:
                reply = error.refusal
            except Exception:
                _LOG.exception("%s could not be told of a %s", name, kind)
                reply = _fault()
            refused = refused or (reply if isinstance(reply, Refusal) else None)
        return refused or Noted(detail=f"done in {', '.join(every)}")

    def caller(self, secret: Any, address: str) -> Caller:
        """Who gives a secret from an address; raises :class:`ProtocolError`."""
        if not self._exposed and not secret and not self._access.any():
            return LOCAL
        with self._counting(address):
            return self._access.caller(secret if isinstance(secret, str) else None)

    def participant(self, link: str, address: str) -> Link:
        """What a participant's link says; raises :class:`ProtocolError`."""
        with self._counting(address):
            return self._access.participant(link)

    def invited(
        self, invitation: str, person: str | None, held: str | None, address: str
    ) -> str:
        """A link for whoever follows an invitation; raises :class:`ProtocolError`."""
        self._limits.message(f"invitation {address}")
        with self._counting(address):
            study = self._invitations.opened(invitation).study
            if study not in self.studies.names:  # before a place in it is taken
                raise ProtocolError(404, "unknown_study", f"no {study} is served here")
            return self._invitations.follow(invitation, person, held)

    @contextlib.contextmanager
    def _counting(self, address: str) -> Iterator[None]:
        """Wrong secrets of an address count; too many raise 429."""
        try:
            yield
        except ProtocolError as error:
            if error.refusal.status == 401:
                self._limits.failed(address)
            raise

    def check_page(self, origin: str | None, host: str) -> None:
        """Refuse what a page of another site sends; raises :class:`ProtocolError`."""
        check_page(origin, host, not self._exposed and not self._access.any())

    def viewer(self, secret: str, address: str) -> Caller:
        """A caller that may see progress; raises :class:`ProtocolError`."""
        caller = self.caller(secret, address)
        if not caller.may("status"):
            raise ProtocolError(403, "forbidden", f"a {caller.role} sees no progress")
        return caller

    def subject(self, secret: str, address: str) -> Caller:
        """A caller that a session may be for; raises :class:`ProtocolError`."""
        caller = self.caller(secret, address)
        if not caller.may("hello"):
            raise ProtocolError(403, "forbidden", f"a {caller.role} is no subject")
        return caller

    def desk(self, study: str | None, caller: Caller) -> Desk:
        """The desk of a study that a caller may speak to."""
        if study is None and caller.study is not None:
            study = caller.study
        if caller.study is not None and study != caller.study:
            raise ProtocolError(
                403, "not_yours", f"this token is of the study {caller.study}"
            )
        return self.studies.desk(study)


def _fault() -> Refusal:
    return Refusal(
        status=500,
        error="internal_error",
        detail="a fault of the server, which is in its log",
    )


def _counted(caller: Caller, payload: Any) -> str:
    """Who is counted: each session of a rig, since a lab may share its token."""
    name = caller.name
    if caller.role == "rig" and isinstance(payload, dict):
        name += f" {payload.get('session')!s:.64}"
    return name
