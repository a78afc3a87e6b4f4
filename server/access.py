"""Who may come in: tokens and participants' links, hashed at rest and revocable.

One rule for both: the database knows the SHA-256 of the whole secret and nothing
else of it. A link is signed besides, so that what it says of its subject needs no
trust in whoever carries it.
"""

import math
import secrets
import threading
import time
from collections.abc import Callable
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from pydantic import TypeAdapter, ValidationError
from sqlalchemy import ColumnElement, exists, insert, or_, select, update
from sqlalchemy.engine import Engine
from sqlalchemy.exc import SQLAlchemyError

from server import schema
from server.protocol import Name, ProtocolError
from server.roles import ROLES, Caller, Role
from server.signing import Signer, hashed, refuse

FRESH_S = 1.0
"""A token that another process issues or revokes is known after this, at most."""

MAX_SECRET_CHARS = 512
"""Longer than any secret of ours: a link of the longest names has 390 or so."""

LINK = "pen_link."
"""How a link begins; a token begins with ``pen_`` and its id, of hex digits."""

INVITATION = "invitation"
"""What stands for the role of an invitation, which lets nobody send a message."""

_NAME: TypeAdapter[str] = TypeAdapter(Name)
_TOKENS = schema.tokens


class TokenInfo(NamedTuple):
    """What may be shown of a token: all but its secret. Times in seconds since 1970."""

    id: str
    role: str
    """One of ``ROLES``, or ``INVITATION``."""
    study: str | None
    subject: str | None
    rig: str | None
    label: str
    created_at: float
    expires_at: float | None
    revoked_at: float | None

    def state(self, now: float) -> str:
        """Whether it is ``usable``, ``revoked`` or ``expired``."""
        if self.revoked_at is not None:
            return "revoked"
        return "expired" if _over(self.expires_at, now) else "usable"


class Link(NamedTuple):
    """What a participant's link says of who follows it."""

    id: str
    study: str
    subject: str
    group: str | None
    expires_at: float


class Access:
    """The tokens of one database. May be used by many threads and processes.

    ``clock`` gives seconds since 1970.
    """

    def __init__(self, engine: Engine, clock: Callable[[], float] = time.time) -> None:
        """``engine`` has the tables of :mod:`server.schema`."""
        self.engine, self.clock = engine, clock
        self._lock = threading.Lock()
        # All that can be used, by hash: one query a second whoever comes, and none
        # that a stranger can cause.
        self._usable: dict[str, tuple[Caller, float | None]] = {}
        self._any = False
        self._read_at: float | None = None
        self._signer = Signer(engine, LINK, "penchant.participant")

    def issue(
        self,
        role: Role,
        *,
        study: str | None = None,
        subject: str | None = None,
        rig: str | None = None,
        label: str = "",
        valid_s: float | None = None,
    ) -> tuple[str, str]:
        """A new token: its id and its secret, which cannot be had again.

        ``study``, ``subject`` and ``rig`` narrow what it may speak for. Raises
        ``ValueError``.
        """
        if role not in ROLES:
            raise ValueError(f"there is no role {role!r}; known: {', '.join(ROLES)}")
        if role == "participant" and not (study and subject):
            raise ValueError("a participant's token needs a study and a subject")
        if len(label) > 200:
            raise ValueError(f"a label has 200 characters at most, got {len(label)}")
        name = secrets.token_hex(6)
        secret = f"pen_{name}_{secrets.token_urlsafe(32)}"
        row = self.row(
            name,
            secret,
            role=role,
            study=checked("study", study),
            subject=checked("subject", subject),
            rig=checked("rig", rig),
            label=label,
            expires_at=None if valid_s is None else self.after(valid_s),
        )
        self._insert(row)
        return name, secret

    def link(
        self, study: str, subject: str, valid_s: float, group: str | None = None
    ) -> str:
        """A participant's signed credential; it goes where a token's secret goes.

        Raises ``ValueError``.
        """
        for what, name in (("study", study), ("subject", subject), ("group", group)):
            checked(what, name)
        credential, row = self.signed(study, subject, group, self.after(valid_s))
        self._insert(row)
        return credential

    def signed(
        self,
        study: str,
        subject: str,
        group: str | None,
        expires_at: float,
        label: str = "link",
    ) -> tuple[str, dict[str, Any]]:
        """A link and the row that makes it valid once it is stored."""
        link = Link(secrets.token_hex(6), study, subject, group, math.ceil(expires_at))
        credential = self._signer.sign([*link])
        who = {"role": "participant", "study": study, "subject": subject, "rig": None}
        row = self.row(
            link.id, credential, **who, label=label, expires_at=link.expires_at
        )
        return credential, row

    def row(self, name: str, secret: str, **columns: Any) -> dict[str, Any]:
        """A row of the table of tokens: all but the secret itself."""
        about = {"id": name, "sha256": hashed(secret), "created_at": self.clock()}
        return about | columns

    def revoke(self, id: str) -> bool:  # noqa: A002
        """Withdraw a token, or an invitation and its links.

        Returns whether it was there and not withdrawn.
        """
        withdrawn = self._revoke(_TOKENS.c.id == id) > 0
        # In this order: whoever follows the invitation now waits, and is refused.
        self._revoke(_TOKENS.c.role == "participant", _TOKENS.c.label == invited_by(id))
        return withdrawn

    def revoke_links(self, study: str, subject: str) -> int:
        """Withdraw all that a participant has for a study; returns how many."""
        return self._revoke(
            _TOKENS.c.role == "participant",
            _TOKENS.c.study == study,
            _TOKENS.c.subject == subject,
        )

    def tokens(self) -> list[TokenInfo]:
        """Every token and link ever issued, oldest first."""
        columns = [_TOKENS.c[field] for field in TokenInfo._fields]
        query = select(*columns).order_by(_TOKENS.c.created_at, _TOKENS.c.id)
        with self.engine.connect() as connection:
            return [TokenInfo(*row) for row in connection.execute(query)]

    def any(self) -> bool:
        """Whether any token was ever issued: then all need one, even on the loopback.

        One that expired counts: a server must not open up as time goes by.
        """
        self._refresh()
        return self._any

    def caller(self, secret: str | None) -> Caller:
        """Who gives this secret.

        Raises :class:`ProtocolError`: 401, the same whatever is wrong with it, or 503
        if the database cannot be read.
        """
        if not secret or len(secret) > MAX_SECRET_CHARS or not secret.isascii():
            refuse()
        # A look-up by hash needs no constant time: who learns how far a hash agreed
        # knows nothing of a secret that has it. The signature is compared in such.
        known = self._refresh().get(hashed(secret))
        if known is None or _over(known[1], self.clock()):
            refuse()
        if secret.startswith(LINK):
            return known[0]._replace(group=self._opened(secret).group)
        return known[0]

    def participant(self, secret: str | None) -> Link:
        """What a participant's link says; raises as :meth:`caller` does.

        For the page that the link leads to, which says hello with this group.
        """
        self.caller(secret)
        if not secret or not secret.startswith(LINK):
            refuse()
        return self._opened(secret)

    def _insert(self, row: dict[str, Any]) -> None:
        with self.engine.begin() as connection:
            connection.execute(insert(_TOKENS), [row])
        self.forget()

    def _revoke(self, *which: ColumnElement[bool]) -> int:
        of_those = update(_TOKENS).where(_TOKENS.c.revoked_at.is_(None), *which)
        with self.engine.begin() as connection:
            done = connection.execute(of_those.values(revoked_at=self.clock()))
        self.forget()
        return done.rowcount

    def after(self, valid_s: float) -> float:
        """When something valid for so long ends; raises ``ValueError``."""
        if not 0 < valid_s < math.inf:
            raise ValueError(
                f"expected how many seconds it is valid, above 0; got {valid_s}"
            )
        return self.clock() + valid_s

    def forget(self) -> None:
        """Look into the database before the next answer: it has just changed."""
        with self._lock:
            self._read_at = None

    def _refresh(self) -> dict[str, tuple[Caller, float | None]]:
        """What can be used, as it was a second ago at most."""
        with self._lock:
            now = self.clock()
            # A clock that was set back counts as old too.
            if self._read_at is None or not 0 <= now - self._read_at < FRESH_S:
                try:
                    self._usable, self._any = self._read(now)
                except SQLAlchemyError as error:
                    raise ProtocolError(
                        503,
                        "not_stored",
                        f"the tokens could not be read ({type(error).__name__}): "
                        "send the message again",
                    ) from error
                self._read_at = now
            return self._usable

    def _read(self, now: float) -> tuple[dict[str, tuple[Caller, float | None]], bool]:
        columns = _TOKENS.c
        who = (columns.role, columns.id, columns.study, columns.subject, columns.rig)
        usable = select(columns.sha256, columns.expires_at, *who).where(
            columns.role.in_(ROLES),
            columns.revoked_at.is_(None),
            or_(columns.expires_at.is_(None), columns.expires_at > now),
        )
        with self.engine.connect() as connection:
            found = {
                sha256: (Caller(*caller), expires_at)
                for sha256, expires_at, *caller in connection.execute(usable)
            }
            ever = select(exists().where(columns.id.is_not(None)))
            return found, bool(connection.execute(ever).scalar())

    def _opened(self, credential: str) -> Link:
        """The content of a link; refuses one that this database's key did not sign."""
        try:
            return Link(*self._signer.opened(credential))
        except TypeError:
            refuse()


def invited_by(invitation: str) -> str:
    """The label of links that an invitation has made."""
    return f"invited {invitation}"


def check_page(origin: str | None, host: str, open_to_local: bool) -> None:
    """Refuse what a page of another site sends through somebody's browser.

    ``origin`` and ``host`` are the headers of a request; a program sends no origin.
    ``open_to_local`` says that whoever is on this computer needs no token: then the
    name must be this computer's too, since a stranger's name may be made to lead here.
    Raises :class:`ProtocolError`.
    """
    try:
        name = urlsplit(f"//{host}").hostname
        same = origin is None or urlsplit(origin).netloc.lower() == host.lower()
    except ValueError:  # brackets without an address in them
        name, same = None, False
    if not same or (open_to_local and name not in ("127.0.0.1", "localhost", "::1")):
        raise ProtocolError(
            403,
            "other_site",
            "a page of another site may not use this server: open the server's own "
            "pages, at the address that it printed",
        )


def _over(expires_at: float | None, now: float) -> bool:
    return expires_at is not None and now >= expires_at


def checked(what: str, name: str | None) -> str | None:
    """A name that a message could carry, else it would narrow a token to nothing."""
    try:
        return None if name is None else _NAME.validate_python(name)
    except ValidationError as error:
        raise ValueError(
            f"expected the name of a {what} (64 letters, digits and _.:- at most), "
            f"got {name!r:.80}"
        ) from error
