"""A network that is not to be relied on: a proxy between clients and a server.

Over HTTP messages are delayed, delivered twice, delivered again later, their replies
lost or cut off. Over Socket.IO frames are delayed, doubled and repeated, and
connections are cut, within a frame too.
"""

import asyncio
import contextlib
import random
import threading
from collections import Counter, deque
from collections.abc import Coroutine
from typing import Any, NamedTuple, Self

LONGEST_DELAY_S = 0.3
REPEATED_AFTER_S = 5.0
"""An old message is delivered again after so long at most."""

Writer = asyncio.StreamWriter
Reader = asyncio.StreamReader


class Odds(NamedTuple):
    """Probability of each fault, per message or frame."""

    delayed: float = 0.1
    doubled: float = 0.05
    repeated: float = 0.05
    dropped: float = 0.03
    cut: float = 0.02


class Proxy:
    """Forwards to a server's port, from :attr:`url`, in a thread of its own.

    ``counts`` are of faults, of HTTP statuses, of responses ``carried`` to a running
    server and of ``acknowledged`` ones on their way back.
    """

    def __init__(self, server_port: int, seed: int, odds: Odds | None = None) -> None:
        """Nothing is forwarded before the context is entered."""
        self.counts: Counter[str] = Counter()
        self.url = ""
        self._target = ("127.0.0.1", server_port)
        self._random, self._odds = random.Random(seed), odds or Odds()
        self._writers: set[Writer] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._old: deque[bytes] = deque(maxlen=100)
        self._loop = asyncio.new_event_loop()
        self._changed = threading.Condition()
        self._listening, self._over = threading.Event(), asyncio.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> Self:
        """Begin to listen."""
        self._thread.start()
        self._listening.wait()
        return self

    def __exit__(self, *_: object) -> None:
        """Hang up on everybody."""
        self._loop.call_soon_threadsafe(self._over.set)
        self._thread.join()

    def wait_for(self, what: str, more: int, timeout_s: float) -> bool:
        """Wait until so many more are counted; whether they were, in time."""
        with self._changed:
            enough = self.counts[what] + more
            return self._changed.wait_for(
                lambda: self.counts[what] >= enough, timeout_s
            )

    def cut_all(self) -> None:
        """Cut every connection that is open now."""
        self._loop.call_soon_threadsafe(self._cut_all)

    def _cut_all(self) -> None:
        self._count("cut by hand", len(self._writers))
        for writer in list(self._writers):
            writer.transport.abort()

    def _run(self) -> None:
        with asyncio.Runner(loop_factory=lambda: self._loop) as runner:
            runner.run(self._serve())

    async def _serve(self) -> None:
        def came(reader: Reader, writer: Writer) -> None:
            self._start(self._client(reader, writer))

        server = await asyncio.start_server(came, "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        self._listening.set()
        await self._over.wait()
        server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _start(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    def _count(self, what: str, by: int = 1) -> None:
        with self._changed:
            self.counts[what] += by
            self._changed.notify_all()

    def _happens(self, what: str) -> bool:
        odds: float = getattr(self._odds, what)
        if self._random.random() < odds:
            self._count(what)
            return True
        return False

    async def _late(self) -> None:
        if self._happens("delayed"):
            await asyncio.sleep(self._random.uniform(0, LONGEST_DELAY_S))

    @contextlib.asynccontextmanager
    async def _known(self, writer: Writer) -> Any:
        """A connection that is among those to cut, and hung up on in the end."""
        self._writers.add(writer)
        try:
            yield
        finally:
            self._writers.discard(writer)
            writer.transport.abort()

    async def _client(self, reader: Reader, writer: Writer) -> None:
        """One connection of a client, until either side has had enough."""
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            async with self._known(writer):
                while True:
                    head = await reader.readuntil(b"\r\n\r\n")
                    if b"upgrade: websocket" in head.lower():
                        await self._socket(head, reader, writer)
                        return
                    request = _with_connection(head, b"close")
                    request += await reader.readexactly(_length(head))
                    reply = await self._carried(request)
                    if self._happens("cut"):
                        writer.write(reply[: len(reply) // 2])
                        return
                    writer.write(reply)
                    await writer.drain()

    async def _carried(self, request: bytes) -> bytes:
        """A message with its mishaps; raises ``OSError`` where no reply comes back."""
        await self._late()
        if self._happens("doubled"):
            self._start(self._unheard(request, 0.0))
        if self._old and self._happens("repeated"):
            after_s = self._random.uniform(0, REPEATED_AFTER_S)
            self._start(self._unheard(self._random.choice(self._old), after_s))
        self._old.append(request)
        reply = await self._asked(request)
        await self._late()
        if self._happens("dropped"):
            raise ConnectionResetError
        return reply

    async def _unheard(self, request: bytes, after_s: float) -> None:
        await asyncio.sleep(after_s)
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            await self._asked(request)

    async def _asked(self, request: bytes) -> bytes:
        """The server's reply, on a connection of its own."""
        reader, writer = await asyncio.open_connection(*self._target)
        async with self._known(writer):
            writer.write(request)
            if b"/respond" in request.partition(b"\r\n")[0]:
                self._count("carried")
            head = await reader.readuntil(b"\r\n\r\n")
            body = await reader.readexactly(_length(head))
        self._count(f"status {head[9:12].decode()}")
        self._count("acknowledged", body.count(b'"type":"ack"'))
        return _with_connection(head, b"keep-alive") + body

    async def _socket(self, head: bytes, reader: Reader, writer: Writer) -> None:
        """A WebSocket: frames to the server, bytes to the client."""
        from_server, to_server = await asyncio.open_connection(*self._target)
        async with self._known(to_server):
            to_server.write(head)
            ways = {
                self._start(self._frames(reader, to_server)),
                self._start(self._bytes(from_server, writer)),
            }
            try:
                await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for way in ways:
                    way.cancel()

    async def _frames(self, reader: Reader, writer: Writer) -> None:
        old: list[bytes] = []
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            while True:
                frame, text = await _frame(reader)
                await self._late()
                if self._happens("cut"):
                    writer.write(frame[: len(frame) // 2])
                    return
                writer.write(frame)
                if text.startswith(b"42"):  # a message: Socket.IO's events
                    self._count("carried", b'"respond"' in text[:20])
                    if self._happens("doubled"):
                        writer.write(frame)
                    if old and self._happens("repeated"):
                        writer.write(self._random.choice(old))
                    old = [*old[-20:], frame]
                await writer.drain()

    async def _bytes(self, reader: Reader, writer: Writer) -> None:
        with contextlib.suppress(OSError):
            while chunk := await reader.read(65536):
                self._count("acknowledged", chunk.count(b'"type":"ack"'))
                await self._late()
                if self._happens("cut"):
                    writer.write(chunk[: len(chunk) // 2])
                    return
                writer.write(chunk)
                await writer.drain()


def _length(head: bytes) -> int:
    for line in head.lower().split(b"\r\n"):
        name, _, value = line.partition(b":")
        if name == b"content-length":
            return int(value)
    return 0


def _with_connection(head: bytes, what: bytes) -> bytes:
    lines = head.removesuffix(b"\r\n\r\n").split(b"\r\n")
    kept = [line for line in lines if not line.lower().startswith(b"connection:")]
    return b"\r\n".join([*kept, b"Connection: " + what]) + b"\r\n\r\n"


async def _frame(reader: Reader) -> tuple[bytes, bytes]:
    """A client's WebSocket frame, and the beginning of its text (RFC 6455, 5.2)."""
    head = await reader.readexactly(2)
    size = head[1] & 127
    longer = await reader.readexactly({126: 2, 127: 8}.get(size, 0))
    size = int.from_bytes(longer, "big") if longer else size
    mask = await reader.readexactly(4)
    payload = await reader.readexactly(size)
    text = bytes(byte ^ mask[i % 4] for i, byte in enumerate(payload[:32]))
    return head + longer + mask + payload, text if head[0] & 15 == 1 else b""
