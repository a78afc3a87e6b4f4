"""Programs that stand in for Bonsai, and a bad network in front of them."""

import contextlib
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

EXAMPLES = Path(__file__).parent.parent / "examples" / "bridge"


def free_port(kind: socket.SocketKind = socket.SOCK_DGRAM) -> int:
    """A port of this computer that nobody uses now."""
    with socket.socket(socket.AF_INET, kind) as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


@contextlib.contextmanager
def peer(script: str, *arguments: object) -> "Iterator[subprocess.Popen[bytes]]":
    """One of the example programs, in a process of its own."""
    process = subprocess.Popen(
        [sys.executable, EXAMPLES / script, *map(str, arguments)],
        env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"},
    )
    try:
        yield process
    finally:
        process.kill()
        process.wait()


Fate = Callable[[int, bytes], int]
"""How often a datagram goes through, by its number on its way and its content."""


class Relay:
    """Between two ports of UDP: loses and doubles what its fates say."""

    def __init__(self, rig_port: int, client_port: int, to: Fate, back: Fate) -> None:
        """Listens at ``port`` for the client and at ``back_port`` for the rig."""
        self._ends = [socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in "ab"]
        for one in self._ends:
            one.bind(("127.0.0.1", 0))
            one.settimeout(0.05)
        self.port, self.back_port = (int(e.getsockname()[1]) for e in self._ends)
        self._over = False
        ways = [(self._ends[0], rig_port, to), (self._ends[1], client_port, back)]
        self._threads = [threading.Thread(target=self._run, args=way) for way in ways]
        for thread in self._threads:
            thread.start()

    def _run(self, heard: socket.socket, port: int, fate: Fate) -> None:
        number = 0
        while not self._over:
            with contextlib.suppress(TimeoutError):
                content = heard.recv(65_535)
                for _ in range(fate(number, content)):
                    heard.sendto(content, ("127.0.0.1", port))
                number += 1

    def close(self) -> None:
        """Nothing goes through any more."""
        self._over = True
        for thread in self._threads:
            thread.join()
        for one in self._ends:
            one.close()
