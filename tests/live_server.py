"""A real server on a free port, and a wire that remembers what it carried."""

import contextlib
import socket
import threading
from collections.abc import Iterator

from small_study import be_born
from werkzeug.serving import make_server

from server.access import Access
from server.app import create_app
from server.database import open_database
from server.desk import Desk
from server.door import Door
from server.limits import Limits
from server.metrics import Metrics
from server.studies import Studies
from subject_clients.simulated import run_subjects
from subject_clients.transport import TRANSPORTS


def door_of(desk: Desk, access: Access | None = None, *others: Desk) -> Door:
    """A door to one desk, or several, open to this computer."""
    mode = desk.state.opened
    assert mode is not None
    desks = {one.state.study.name: one for one in (desk, *others)}
    named = {name: one.state.study for name, one in desks.items()}
    studies = Studies(named, "sqlite://", mode.mode)
    for name, one in desks.items():
        studies._open[name] = one
        studies.listen_to(name, one)
    access = access or Access(open_database("sqlite://"))
    return Door(studies, access, Limits(messages_per_s=None), Metrics(studies))


@contextlib.contextmanager
def serving(desk: Desk, access: Access | None = None, *others: Desk) -> Iterator[str]:
    """Serve a desk, or several, over HTTP and Socket.IO; gives the URL."""
    door = door_of(desk, access, *others)
    app, _ = create_app(door)
    server = make_server("127.0.0.1", 0, app, threaded=True)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        door.studies.end_listening()
        server.shutdown()
        thread.join()
        server.server_close()


def play(desk: Desk, transport: str = "socket", at_once: int = 2) -> None:
    """Let simulated subjects come to a server until a study is over, some at once."""
    study = desk.state.study
    with serving(desk) as url:
        run_subjects(
            "sim",
            at_once,
            lambda group: be_born(study, group),
            lambda: TRANSPORTS[transport](url, 20.0),
            groups=study.groups,
        )


class Wire:
    """A port in front of a server's that keeps all bytes sent to clients."""

    def __init__(self, url: str) -> None:
        """Forward to the server at ``url``, from :attr:`url`."""
        self._target = ("127.0.0.1", int(url.rpartition(":")[2]))
        self._connections: list[bytearray] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def to_clients(self) -> list[str]:
        """What each connection carried, a character per byte."""
        return [bytes(heard).decode("latin-1") for heard in self._connections]

    def close(self) -> None:
        """Take no more connections."""
        # On Linux a close alone would not wake a thread that waits in accept.
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                server = socket.create_connection(self._target)
                heard = bytearray()
                self._connections.append(heard)
                for ends in ((client, server, None), (server, client, heard)):
                    threading.Thread(target=_pump, args=ends, daemon=True).start()


def _pump(source: socket.socket, sink: socket.socket, heard: bytearray | None) -> None:
    with contextlib.suppress(OSError):
        while chunk := source.recv(65536):
            if heard is not None:
                heard += chunk
            sink.sendall(chunk)
    for end in (source, sink):
        with contextlib.suppress(OSError):
            end.shutdown(socket.SHUT_RDWR)
        end.close()
