"""How messages are written on a Socket.IO connection: as plain JSON."""

from typing import Any

from engineio import json
from pydantic_core import from_json, to_json
from socketio.packet import Packet


class PlainJson:
    """JSON by a compiled reader and writer, with Engine.IO's own as the last resort."""

    @staticmethod
    def loads(text: str) -> Any:
        """The value of a text; raises ``ValueError``."""
        try:
            return from_json(text)
        except ValueError:  # half a surrogate pair, or no JSON: then in its own words
            return json.loads(text)

    @staticmethod
    def dumps(value: Any, **_: Any) -> str:
        """A value as text, without blanks."""
        return to_json(value).decode()


class PlainPackets(Packet):  # type: ignore[misc]
    """Packets without attachments, which no message of ours has.

    The library's own look through every reply for bytes, which takes longer than to
    write it.
    """

    uses_binary_events = False
    json = PlainJson
