"""One address for many participants: whoever follows it gets a link of their own.

Recruiting sites have one address for all and add to it who comes. That name goes no
further than here: the pseudonym is a keyed hash of it, so the same person gets the
same one again.
"""

import secrets
from typing import Any, NamedTuple

from sqlalchemy import (
    ColumnElement,
    delete,
    exists,
    func,
    insert,
    literal,
    select,
    update,
)
from sqlalchemy.engine import Connection
from sqlalchemy.exc import SQLAlchemyError

from server import schema
from server.access import INVITATION, Access, checked, invited_by
from server.protocol import ProtocolError
from server.signing import Signer, hashed, refuse

PREFIX = "pen_invite."
"""How an invitation begins."""

PERSON = ("PROLIFIC_PID", "survey_code", "id")
"""Parameters that tell who comes, of Prolific and SONA; the first that is there."""

MAX_PERSON_CHARS = 200

LINKS = 20
"""Links that one participant may hold of an invitation; older ones are taken back."""

GRACE_S = 86_400.0
"""How long after its invitation a link still serves, so that sessions can end."""

MOST = 100_000
"""Participants of one invitation, at most."""

_TOKENS = schema.tokens.c


class Invitation(NamedTuple):
    """What an invitation says of itself."""

    id: str
    study: str
    group: str | None
    most: int
    expires_at: float


class Invitations:
    """The invitations of one database; may be used by many threads and processes."""

    def __init__(self, access: Access) -> None:
        """Links are those of ``access``."""
        self._access = access
        self._signer = Signer(access.engine, PREFIX, "penchant.invitation")

    def issue(
        self, study: str, valid_s: float, most: int, group: str | None = None
    ) -> tuple[str, str]:
        """A new invitation for ``most`` participants: its id and its credential.

        Raises ``ValueError``.
        """
        for what, name in (("study", study), ("group", group)):
            checked(what, name)
        if not 1 <= most <= MOST:
            raise ValueError(f"expected 1 to {MOST} participants, got {most}")
        expires_at = self._access.after(valid_s)
        said = Invitation(secrets.token_hex(6), study, group, most, expires_at)
        credential = self._signer.sign([*said])
        who = {"role": INVITATION, "study": study, "subject": None, "rig": None}
        label = f"for {most}" + (f" of {group}" if group else "")
        row = self._access.row(
            said.id, credential, **who, label=label, expires_at=expires_at
        )
        with self._access.engine.begin() as connection:
            connection.execute(insert(schema.tokens), [row])
        self._access.forget()
        return said.id, credential

    def follow(self, credential: str, person: str | None, held: str | None) -> str:
        """The link of whoever follows an invitation.

        ``person`` is what the recruiting site calls them, if it says; else whoever
        comes is new, unless they show the link that they ``held``. Raises
        :class:`ProtocolError`: 401, 400 for a name that is none, 410 when all places
        are taken, or 503.
        """
        said = self.opened(credential)
        subject = self._pseudonym(said.study, person)
        if held and self._is_theirs(held, said.study, person and subject):
            return held
        try:
            with self._access.engine.begin() as connection:
                link = self._entered(connection, said, subject)
        except SQLAlchemyError as error:
            raise _unread() from error
        self._access.forget()
        return link

    def _entered(self, connection: Connection, said: Invitation, subject: str) -> str:
        """A link for a subject, in one transaction with the count of places."""
        self._alone(connection, said)
        label = invited_by(said.id)
        mine = (_TOKENS.study == said.study, _TOKENS.subject == subject)
        if connection.execute(select(_withdrawn(*mine))).scalar():
            refuse()  # who was shut out does not come in by another door
        came = select(_TOKENS.id).where(
            *mine, _TOKENS.label == label, _TOKENS.revoked_at.is_(None)
        )
        newest_first = came.order_by(_TOKENS.created_at.desc(), _TOKENS.id)
        links = list(connection.execute(newest_first).scalars())
        taken = select(func.count(_TOKENS.subject.distinct()))
        taken = taken.where(_TOKENS.label == label)
        if not links and connection.execute(taken).scalar_one() >= said.most:
            raise ProtocolError(
                410, "full", "everybody who was invited to this study has come already"
            )
        old = _TOKENS.id.in_(links[LINKS - 1 :])
        connection.execute(delete(schema.tokens).where(old))
        link, row = self._access.signed(
            said.study, subject, said.group, said.expires_at + GRACE_S, label
        )
        connection.execute(insert(schema.tokens), [row])
        return link

    def _alone(self, connection: Connection, said: Invitation) -> None:
        """Whoever comes at the same time now waits; refuses what is over by then."""
        lock = update(schema.tokens).where(*self._usable(said.id))
        if not connection.execute(lock.values(role=INVITATION)).rowcount:
            refuse()

    def _usable(self, name: str) -> list[ColumnElement[bool]]:
        return [
            _TOKENS.id == name,
            _TOKENS.role == INVITATION,
            _TOKENS.revoked_at.is_(None),
            _TOKENS.expires_at > self._access.clock(),
        ]

    def opened(self, credential: str) -> Invitation:
        """What an invitation says; raises :class:`ProtocolError`, 401 or 503."""
        if not credential.startswith(PREFIX) or not credential.isascii():
            refuse()
        try:
            said = Invitation(*self._signer.opened(credential))
            query = select(_TOKENS.sha256).where(*self._usable(said.id))
            with self._access.engine.connect() as connection:
                stored = connection.execute(query).scalar()
        except TypeError:
            refuse()
        except SQLAlchemyError as error:
            raise _unread() from error
        # Of a text that means the same as the signed one the hash is another.
        if stored != hashed(credential):
            refuse()
        return said

    def _pseudonym(self, study: str, person: str | None) -> str:
        if person is None:
            return f"p-{secrets.token_hex(8)}"
        named = person.strip()
        if not 0 < len(named) <= MAX_PERSON_CHARS or set("{}%") & set(named):
            raise ProtocolError(
                400,
                "no_person",
                "the recruiting site did not say who comes: its placeholder stands "
                "where a participant's id should be",
            )
        return f"p-{self._signer.digest(study, named)[:16]}"

    def _is_theirs(self, held: str, study: str, subject: str | None) -> bool:
        """Whether a link serves for a study, and a subject if it must be this one."""
        try:
            link = self._access.participant(held)
        except ProtocolError:
            return False
        return link.study == study and subject in (None, link.subject)


def _unread() -> ProtocolError:
    return ProtocolError(
        503, "not_stored", "the invitation could not be read: try again"
    )


def _withdrawn(*of: ColumnElement[bool]) -> ColumnElement[bool]:
    """Whether a link was withdrawn, by itself and not with its invitation."""
    by = schema.tokens.alias()
    with_it = exists().where(
        by.c.role == INVITATION,
        _TOKENS.label == literal(invited_by("")).concat(by.c.id),
        by.c.revoked_at <= _TOKENS.revoked_at,
    )
    return exists().where(*of, _TOKENS.revoked_at.is_not(None), ~with_it)


def person_in(parameters: Any) -> str | None:
    """Who comes, by an address's parameters; None where it does not say."""
    return next((parameters[n] for n in PERSON if parameters.get(n)), None)
