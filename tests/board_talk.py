"""Talks to a board line by line, without the client."""

import time
from typing import Any

import serial
from board import Board

from subject_clients.rig.bridge_words import Hello
from subject_clients.rig.serial_board import SerialWire


class Plain:
    """Talks to a board line by line."""

    def __init__(self, board: Board, hello: bool = True) -> None:
        self.port = serial.Serial(board.port, 115200, timeout=0.02)
        self.wire = SerialWire(self.port)
        if hello:
            self.say(Hello(session="plain"))
            self.hear("hello")

    def say(self, word: Any) -> None:
        self.port.write(self.wire.encode(word))

    def hear(self, *what: str, seconds: float = 5) -> Any:
        """The next message of some kinds."""
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            word = self.wire.receive(0.02)
            if word is not None and word.what in what:
                return word
        raise AssertionError(f"no {what}")
