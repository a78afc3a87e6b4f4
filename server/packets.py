"""How messages are written on a Socket.IO connection: as plain JSON."""

from typing import Any

from engineio import json
from pydantic_core import from_json, to_json
from socketio.packet import ACK, BINARY_ACK, BINARY_EVENT, EVENT, Packet


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
    write it, and keep what a client attaches, however much that is.
    """

    uses_binary_events = False
    json = PlainJson
    data: Any

    def decode(self, encoded_packet: str | bytes) -> int:
        """Read a packet; one of bytes, an attachment, is dropped.

        What an event is named is a text, whatever a client says: it is refused then
        like any name that there is not.
        """
        if isinstance(encoded_packet, bytes):
            self.packet_type, self.data, self.namespace, self.id = ACK, [], None, None
            return 0
        super().decode(encoded_packet)
        if self.packet_type in (BINARY_EVENT, BINARY_ACK):
            self.packet_type = EVENT if self.packet_type == BINARY_EVENT else ACK
        if self.packet_type == EVENT:
            said = self.data if isinstance(self.data, list) and self.data else [None]
            name = said[0] if isinstance(said[0], str) else "(no text)"
            self.data = [name, *said[1:]]
        return 0
