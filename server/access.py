"""Who may come in: tokens and participants' links, hashed at rest and revocable.

One rule for both: the database knows the SHA-256 of the whole secret and nothing
else of it. A link is signed besides, so that what it says of its subject needs no
trust in whoever carries it.
"""

import hashlib
import math
import secrets
import threading
import time
from collections.abc import Callable
from typing import NamedTuple, NoReturn
from urllib.parse import urlsplit

from itsdangerous import BadData, URLSafeSerializer
from pydantic import TypeAdapter, ValidationError
from sqlalchemy import ColumnElement, exists, insert, or_, select, update
from sqlalchemy.engine import Engine
from sqlalchemy.exc import IntegrityError, SQLAlchemyError

from server import schema
from server.protocol import Name, ProtocolError
from server.roles import ROLES, Caller, Role

FRESH_S = 1.0
"""A token that another process issues or revokes is known after this, at most."""

MAX_SECRET_CHARS = 512
"""Longer than any secret of ours: a link of the longest names has 390 or so."""

LINK = "pen_link."
"""How a link begins; a token begins with ``pen_`` and its id, of hex digits."""

_SIGNING_KEY = "participants-links"
_NAME: TypeAdapter[str] = TypeAdapter(Name)
_TOKENS, _SECRETS = schema.tokens, schema.secrets


class TokenInfo(NamedTuple):
    """What may be shown of a token: all but its secret. Times in seconds since 1970."""

    id: str
    role: Role
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
        self._engine, self._clock = engine, clock
        self._lock = threading.Lock()
        # All that can be used, by hash: one query a second whoever comes, and none
        # that a stranger can cause.
        self._usable: dict[str, tuple[Caller, float | None]] = {}
        self._any = False
        self._read_at: float | None = None
        self._serializer: URLSafeSerializer | None = None

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
        self._store(
            name,
            secret,
            role=role,
            study=_checked("study", study),
            subject=_checked("subject", subject),
            rig=_checked("rig", rig),
            label=label,
            expires_at=None if valid_s is None else self._after(valid_s),
        )
        return name, secret

    def link(
        self, study: str, subject: str, valid_s: float, group: str | None = None
    ) -> str:
        """A participant's signed credential; it goes where a token's secret goes.

        Raises ``ValueError``.
        """
        for what, name in (("study", study), ("subject", subject), ("group", group)):
            _checked(what, name)
        link = Link(
            secrets.token_hex(6), study, subject, group, math.ceil(self._after(valid_s))
        )
        # The database holds the key and all the link says: without a random part,
        # that is not stored, its thief could write the same link again.
        nonce = secrets.token_urlsafe(16)
        credential = LINK + self._signer().dumps([*link, nonce])
        self._store(
            link.id,
            credential,
            role="participant",
            study=study,
            subject=subject,
            rig=None,
            label="link",
            expires_at=link.expires_at,
        )
        return credential

    def revoke(self, id: str) -> bool:  # noqa: A002
        """Withdraw a token or link. Returns whether it was there and not withdrawn."""
        return self._revoke(_TOKENS.c.id == id) > 0

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
        with self._engine.connect() as connection:
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
            _refuse()
        # A look-up by hash needs no constant time: who learns how far a hash agreed
        # knows nothing of a secret that has it. The signature is compared in such.
        known = self._refresh().get(_hashed(secret))
        if known is None or _over(known[1], self._clock()):
            _refuse()
        if secret.startswith(LINK):
            return known[0]._replace(group=self._opened(secret).group)
        return known[0]

    def participant(self, secret: str | None) -> Link:
        """What a participant's link says; raises as :meth:`caller` does.

        For the page that the link leads to, which says hello with this group.
        """
        self.caller(secret)
        if not secret or not secret.startswith(LINK):
            _refuse()
        return self._opened(secret)

    def _store(self, name: str, secret: str, **columns: object) -> None:
        row = {
            "id": name,
            "sha256": _hashed(secret),
            "created_at": self._clock(),
            **columns,
        }
        with self._engine.begin() as connection:
            connection.execute(insert(_TOKENS), [row])
        self._forget()

    def _revoke(self, *which: ColumnElement[bool]) -> int:
        of_those = update(_TOKENS).where(_TOKENS.c.revoked_at.is_(None), *which)
        with self._engine.begin() as connection:
            done = connection.execute(of_those.values(revoked_at=self._clock()))
        self._forget()
        return done.rowcount

    def _after(self, valid_s: float) -> float:
        if not 0 < valid_s < math.inf:
            raise ValueError(
                f"expected how many seconds it is valid, above 0; got {valid_s}"
            )
        return self._clock() + valid_s

    def _forget(self) -> None:
        with self._lock:
            self._read_at = None

    def _refresh(self) -> dict[str, tuple[Caller, float | None]]:
        """What can be used, as it was a second ago at most."""
        with self._lock:
            now = self._clock()
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
            columns.revoked_at.is_(None),
            or_(columns.expires_at.is_(None), columns.expires_at > now),
        )
        with self._engine.connect() as connection:
            found = {
                sha256: (Caller(*caller), expires_at)
                for sha256, expires_at, *caller in connection.execute(usable)
            }
            ever = select(exists().where(columns.id.is_not(None)))
            return found, bool(connection.execute(ever).scalar())

    def _opened(self, credential: str) -> Link:
        """The content of a link; refuses one that this database's key did not sign."""
        try:
            return Link(*self._signer().loads(credential.removeprefix(LINK))[:-1])
        except (BadData, TypeError):
            _refuse()

    def _signer(self) -> URLSafeSerializer:
        if self._serializer is None:
            try:
                key = _signing_key(self._engine)
            except SQLAlchemyError as error:
                raise ProtocolError(
                    503, "not_stored", "the key of links could not be read: try again"
                ) from error
            self._serializer = URLSafeSerializer(
                key,
                salt="penchant.participant",
                signer_kwargs={
                    "key_derivation": "hmac",
                    "digest_method": hashlib.sha256,
                },
            )
        return self._serializer


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


def _signing_key(engine: Engine) -> bytes:
    """The key of a database's links, made by whoever comes first."""
    stored = select(_SECRETS.c.value).where(_SECRETS.c.name == _SIGNING_KEY)
    with engine.connect() as connection:
        key = connection.execute(stored).scalar()
    if key is None:
        row = {"name": _SIGNING_KEY, "value": secrets.token_bytes(32)}
        try:
            with engine.begin() as connection:
                connection.execute(insert(_SECRETS), [row])
        except IntegrityError:
            pass  # another process was quicker: its key counts
        with engine.connect() as connection:
            key = connection.execute(stored).scalar_one()
    return bytes(key)


def _hashed(secret: str) -> str:
    # No slow hash as for passwords: nobody can try out 256 random bits.
    return hashlib.sha256(secret.encode("ascii")).hexdigest()


def _over(expires_at: float | None, now: float) -> bool:
    return expires_at is not None and now >= expires_at


def _checked(what: str, name: str | None) -> str | None:
    """A name that a message could carry, else it would narrow a token to nothing."""
    try:
        return None if name is None else _NAME.validate_python(name)
    except ValidationError as error:
        raise ValueError(
            f"expected the name of a {what} (64 letters, digits and _.:- at most), "
            f"got {name!r:.80}"
        ) from error


def _refuse() -> NoReturn:
    """One text for all: it must not tell whether a secret was right once."""
    raise ProtocolError(
        401,
        "unauthorised",
        "a valid token is required: ask whoever runs the server for one",
    )
