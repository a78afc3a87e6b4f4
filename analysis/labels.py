"""Names that go into file names, and pseudonyms."""

import hashlib
import hmac
import os
import re
import secrets
from collections.abc import Iterable
from pathlib import Path

_OTHERS = re.compile(r"[^A-Za-z0-9]+")
_NOT_A_WORD = re.compile(r"[^A-Za-z0-9_]+")
_LONGEST = 64


def labels(names: Iterable[str]) -> dict[str, str]:
    """A label of letters and digits for each name, which no other one has.

    Names that come first keep theirs when others join, so a growing study can be
    exported again. Labels that differ in case only are two names of one file on some
    computers: the later one gets an ending, from a hash of its name.
    """
    given: dict[str, str] = {}
    taken: set[str] = set()
    for name in dict.fromkeys(names):
        label = _OTHERS.sub("", name)[:_LONGEST]
        ending = hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest()
        length = 0 if label else 8
        while not label or label.lower() in taken:
            label = f"{_OTHERS.sub('', name)[: _LONGEST - length]}x{ending[:length]}"
            length += 8
        given[name] = label
        taken.add(label.lower())
    return given


def distinct(names: Iterable[str], taken: Iterable[str] = ()) -> dict[str, str]:
    """Names of columns that every program reads, none of them ``taken`` or twice.

    All but letters, digits and underscores become these.
    """
    given: dict[str, str] = {}
    used = {name.lower() for name in taken}
    for name in names:
        safe = _NOT_A_WORD.sub("_", name) or "column"
        while safe.lower() in used:
            safe += "_feature"
        given[name] = safe
        used.add(safe.lower())
    return given


def pseudonyms(names: Iterable[str], key: bytes) -> dict[str, str]:
    """A pseudonym for each name, the same for the same key; without it no way back."""
    return {
        name: "p"
        + hmac.new(
            key, name.encode("utf-8", "surrogatepass"), hashlib.sha256
        ).hexdigest()[:16]
        for name in dict.fromkeys(names)
    }


def read_key(path: Path) -> bytes:
    """The secret in a file, which is made if there is none, for its owner only.

    Raises ``ValueError`` for a file that holds no such secret.
    """
    try:
        with open(path, "x", opener=_private, encoding="ascii") as file:
            file.write(secrets.token_hex(32) + "\n")
    except FileExistsError:
        pass
    try:
        key = bytes.fromhex(path.read_text(encoding="ascii").strip())
    except ValueError:
        key = b""
    if len(key) != 32:
        raise ValueError(
            f"{path} is no key for pseudonyms: expected 64 hexadecimal digits, as "
            "written where --pseudonyms names a new file"
        )
    return key


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)
