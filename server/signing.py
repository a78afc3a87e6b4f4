"""Credentials that say what they are for, signed by a database's own key."""

import hashlib
import hmac
import secrets
from typing import Any, NoReturn

from itsdangerous import BadData, URLSafeSerializer
from sqlalchemy import insert, select
from sqlalchemy.engine import Engine
from sqlalchemy.exc import IntegrityError, SQLAlchemyError

from server import schema
from server.protocol import ProtocolError

_SIGNING_KEY = "participants-links"
_SECRETS = schema.secrets


class Signer:
    """Signs and opens credentials of one kind.

    Each begins with ``prefix``; ``salt`` keeps kinds apart, whose key is the same.
    """

    def __init__(self, engine: Engine, prefix: str, salt: str) -> None:
        """The key is read when it is first needed."""
        self._engine, self._prefix, self._salt = engine, prefix, salt
        self._key: bytes | None = None
        self._serializer: URLSafeSerializer | None = None

    def sign(self, content: list[Any]) -> str:
        """A credential that goes into an address as it is.

        Raises :class:`ProtocolError`, 503, where the key cannot be read.
        """
        # The database holds the key and all that is said: without a random part,
        # that is not stored, its thief could write the same credential again.
        nonce = secrets.token_urlsafe(16)
        return self._prefix + str(self._signs().dumps([*content, nonce]))

    def opened(self, credential: str) -> list[Any]:
        """What a credential says; raises :class:`ProtocolError`, 401 or 503."""
        try:
            content = self._signs().loads(credential.removeprefix(self._prefix))
            return list(content)[:-1]
        except (BadData, TypeError):
            refuse()

    def digest(self, *said: str) -> str:
        """Hex digits that only the holder of the key can tell from random ones.

        Raises :class:`ProtocolError`, 503, where the key cannot be read.
        """
        text = "\0".join((self._salt, *said)).encode()
        return hmac.digest(self._secret(), text, "sha256").hex()

    def _secret(self) -> bytes:
        if self._key is None:
            try:
                self._key = _signing_key(self._engine)
            except SQLAlchemyError as error:
                raise ProtocolError(
                    503, "not_stored", "the key of links could not be read: try again"
                ) from error
        return self._key

    def _signs(self) -> URLSafeSerializer:
        if self._serializer is None:
            how = {"key_derivation": "hmac", "digest_method": hashlib.sha256}
            self._serializer = URLSafeSerializer(
                self._secret(), salt=self._salt, signer_kwargs=how
            )
        return self._serializer


def hashed(secret: str) -> str:
    """What is stored of a secret."""
    # No slow hash as for passwords: nobody can try out 256 random bits.
    return hashlib.sha256(secret.encode("ascii")).hexdigest()


def refuse() -> NoReturn:
    """One text for all: it must not tell whether a secret was right once."""
    raise ProtocolError(
        401,
        "unauthorised",
        "a valid token is required: who runs the server issues one (penchant token)",
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
