"""A board, such as an Arduino, that speaks JSON lines over a serial port.

A line is a message as JSON, ``*``, and its checksum (CRC-16/CCITT, four hexadecimal
digits). What a line leaves out has its default, so that lines stay short.
"""

import binascii
import logging
import time
from typing import Annotated, Any

from pydantic import Field

from subject_clients.rig.adapter import RigFault
from subject_clients.rig.bridge import BridgeRig, BridgeSection, missing
from subject_clients.rig.bridge_line import TURN_S
from subject_clients.rig.bridge_words import Again, FromRig, ToRig, read, written

_LOG = logging.getLogger(__name__)

MOST_BYTES = 4096
"""Of a line from the board; more than that is noise."""


class SerialBoard(BridgeSection):
    """A board at a serial port."""

    port: str
    """``/dev/ttyACM0``, ``COM3``."""
    baud: Annotated[int, Field(gt=0)] = 115_200
    boot_s: Annotated[float, Field(ge=0, le=30)] = 2.0
    """Many boards start anew when a port is opened: how long that may take."""

    def open(self) -> BridgeRig:
        """Take the port; raises :class:`RigFault`."""
        try:
            import serial
        except ImportError as error:
            raise missing("pyserial") from error
        try:
            port = serial.Serial(
                self.port, self.baud, timeout=TURN_S, write_timeout=1, exclusive=True
            )
        except (OSError, ValueError) as error:
            raise RigFault(
                f"cannot open {self.port}: {error}. Is the board plugged in, does no "
                "other program (the Arduino IDE) use it, may you use it (on Linux: "
                "group dialout)?"
            ) from error
        wire = SerialWire(port)
        wire.wait_for_boot(self.boot_s)
        return BridgeRig(wire, self)


class SerialWire:
    """Lines with a checksum, over a port of pyserial."""

    uid_most = 40

    def __init__(self, port: Any) -> None:
        """The port is open; its reads end within ``TURN_S``."""
        self._port, self._begun = port, b""

    def encode(self, word: ToRig) -> bytes:
        """A line."""
        return framed(written(word, brief=True).encode())

    def send(self, content: bytes, urgent: bool) -> None:
        """At once, all of it."""
        del urgent
        self._port.write(content)

    def receive(self, timeout_s: float) -> FromRig | None:
        """The next line that is whole, or ``Again`` for one that is not."""
        line = self._line(timeout_s)
        if line is None:
            return None
        content = unframed(line)
        if content is None:
            _LOG.warning("a damaged line from the board: %r", line[:160])
            return Again()
        return read(content)

    def wait_for_boot(self, boot_s: float) -> None:
        """Until the board says something whole, or the time is over."""
        until = time.monotonic() + boot_s
        while time.monotonic() < until:
            line = self._line(TURN_S)
            if line is not None and unframed(line) is not None:
                return

    def close(self) -> None:
        """Let go of the port."""
        self._port.close()

    def _line(self, timeout_s: float) -> bytes | None:
        until = time.monotonic() + timeout_s
        while b"\n" not in self._begun:
            self._begun += self._port.read(self._port.in_waiting or 1)
            if len(self._begun) > MOST_BYTES and b"\n" not in self._begun:
                self._begun = b""
            if time.monotonic() >= until and b"\n" not in self._begun:
                return None
        line, _, self._begun = self._begun.partition(b"\n")
        return line.rstrip(b"\r")


def framed(content: bytes) -> bytes:
    """With its checksum and the end of the line."""
    return b"%s*%04X\n" % (content, binascii.crc_hqx(content, 0xFFFF))


def unframed(line: bytes) -> bytes | None:
    """Without its checksum; None if that is wrong."""
    content, star, checksum = line.rpartition(b"*")
    expected = b"%04X" % binascii.crc_hqx(content, 0xFFFF)
    return content if star and checksum.upper() == expected else None
