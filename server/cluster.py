"""Where jobs are run: in this process, by workers of this computer, or by a cluster.

Dask.distributed hands jobs to worker processes, restarts those of this computer that
die, and gives the jobs of a dead one to others. Only as many jobs are handed over as
there are threads: so a job that kills its workers is told from those that wait.
"""

import contextlib
import os
import signal
import socket
import threading
import time
import traceback
from collections import deque
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from concurrent.futures import CancelledError
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from server.compile_cache import keep_compiled

if TYPE_CHECKING:
    from distributed import Client, Future

PACKAGES = ("penchant", "jax", "jaxlib", "evosax", "numpy", "scipy")
"""A result depends on their versions: those of a worker must be ours."""

DEATHS = 3
"""Workers of this computer that a job may kill before it counts as failed."""

ONE_THREAD = {"NPROC": "1", "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
"""The environment in which a process computes in one thread; XLA reads NPROC.

Two workers do not fight for two cores then. And the last digits of a result depend
on the number of threads that a product of matrices was cut up for, thus on the
computer.
"""

_CONNECT_S = 10.0
"""For a scheduler to answer."""

_PATIENCE_S, _LOOK_S = 2.0, 0.02
"""Between looks at how many workers there are, and at what is over."""

Note = Callable[[str], None]
"""Told of what happens beside the results: workers that are awaited, or died."""


class ClusterError(OSError):
    """The cluster cannot be had, or is gone."""


@dataclass(frozen=True)
class Where:
    """``workers`` of this computer, 0 for this process, or the cluster of a scheduler.

    By default one worker for each core that this process may use. ``scheduler`` is an
    address (``tcp://host:8786``), ``scheduler_file`` what a scheduler wrote of itself.
    """

    workers: int | None = None
    scheduler: str | None = None
    scheduler_file: str | None = None

    @property
    def here(self) -> bool:
        """Whether jobs are run in this process, one after the other."""
        return self.workers == 0 and not self.remote

    @property
    def remote(self) -> bool:
        """Whether somebody else started the workers."""
        return bool(self.scheduler or self.scheduler_file)


HERE = Where(0)
"""In this process."""


@dataclass(frozen=True)
class Failed:
    """A job that brought no result: ``why`` in a line, and ``trace`` if it raised."""

    why: str
    trace: str = ""


@dataclass(frozen=True)
class _Result:
    """What a job returned, or how it failed, once it ran to its end."""

    of: Any


def cores() -> int:
    """Cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def versions() -> dict[str, str]:
    """Of what results depend on, as installed here."""
    return {name: _version(name) for name in PACKAGES}


def available() -> bool:
    """Whether Dask.distributed is installed."""
    return _version("distributed") != "none"


def run_jobs(
    function: Callable[[Any], Any],
    arguments: Sequence[Any],
    where: Where = HERE,
    names: Sequence[str] = (),
    note: Note = lambda _: None,
) -> Generator[tuple[int, Any]]:
    """Number and result of each job, ``function(arguments[number])``, as they come.

    A job that raises, or kills a worker again and again, has a :class:`Failed` for a
    result, and the others go on. ``function`` is one of a module; ``names`` are shown
    in Dask's dashboard. Raises :class:`ClusterError` where there is no cluster.
    """
    if where.here or not (where.remote or where.workers or available()):
        for number, argument in enumerate(arguments):
            yield number, _tried(function, argument)
        return
    if not available():
        raise ClusterError(
            "workers need Dask.distributed, which is not installed: "
            "pip install '.[server,cluster]', or --workers 0 for this process alone"
        )
    if not arguments:
        return
    names = names or ["job"] * len(arguments)
    with _client(where, len(arguments)) as client, _noted_deaths(client, note):
        yield from _handed_out(client, function, arguments, names, note)


def _handed_out(
    client: "Client",
    function: Callable[[Any], Any],
    arguments: Sequence[Any],
    names: Sequence[str],
    note: Note,
) -> Iterator[tuple[int, Any]]:
    from distributed import Future, as_completed
    from distributed.protocol.pickle import dumps

    # Loaded in the worker once it computes in one thread: see `_work`.
    packed = dumps(function)

    waiting, ours, run = deque(range(len(arguments))), versions(), uuid4().hex[:8]
    flying: dict[Future[Any], int] = {}
    # Results are fetched as soon as they are there: the death of the worker that has
    # one would cost that job too.
    over = as_completed(with_results=True, raise_errors=False)
    landed: list[tuple[int, Any]] = []
    while waiting or flying or landed:
        threads = sum(client.nthreads().values())
        if not threads:
            note("waiting for workers")
        while waiting and len(flying) < max(threads, 1):
            number = waiting.popleft()
            name = f"{names[number]}-{run}-{number}"
            call = packed, arguments[number], ours
            future = client.submit(_work, *call, key=name, pure=False)
            flying[future] = number
            over.add(future)
        yield from landed  # workers do not wait for what is made of it
        landed = []
        if flying and _ready(over):
            for future, result in over.next_batch(block=False):
                landed.append((flying.pop(future), _landed(result)))
                future.release()  # nobody runs it again if its worker dies now


def _ready(over: Any) -> bool:
    """Whether a job is over, or will be within some patience."""
    until = time.monotonic() + _PATIENCE_S
    while not over.has_ready() and time.monotonic() < until:
        time.sleep(_LOOK_S)
    return bool(over.has_ready())


def _landed(brought: Any) -> Any:
    """What a job that is over brought: a `_Result`, or how Dask ended it.

    Its future may say otherwise by now: that the worker died, and the result with it.
    """
    from distributed import KilledWorker

    if isinstance(brought, _Result):
        return brought.of
    if isinstance(brought, CancelledError):
        raise ClusterError(
            "the scheduler is gone: what is done is kept, and the same command goes on "
            "from there once a scheduler runs"
        )
    _, error, _ = brought
    if isinstance(error, KilledWorker):
        died = error.allowed_failures + 1
        return Failed(f"{died} workers died while they ran it")
    return Failed(str(error) or type(error).__name__)


def _work(packed: bytes, argument: Any, ours: dict[str, str]) -> _Result:
    """Run a job in a worker, in one thread and by the versions of who asked."""
    # Read when XLA starts, which some modules that the function needs let it do.
    os.environ.update(ONE_THREAD)
    keep_compiled()
    theirs = versions()
    if differing := [name for name in ours if ours[name] != theirs[name]]:
        told = ", ".join(f"{n} {theirs[n]}, here {ours[n]}" for n in differing)
        return _Result(
            Failed(
                f"the worker on {socket.gethostname()} has other versions ({told}): "
                "install the same there and here"
            )
        )
    from distributed.protocol.pickle import loads

    return _Result(_tried(loads(packed), argument))


def _tried(function: Callable[[Any], Any], argument: Any) -> Any:
    """The result, or how it failed: errors of any type travel as text."""
    try:
        return function(argument)
    except Exception as error:
        why = str(error).strip() or type(error).__name__
        if not isinstance(error, (OSError, ValueError)):
            why = f"{type(error).__name__}: {why}"
        return Failed(why, traceback.format_exc())


@contextlib.contextmanager
def _client(where: Where, jobs: int) -> "Iterator[Client]":
    """A client of the cluster; one of this computer is ended with it."""
    from distributed import Client

    with contextlib.ExitStack() as stack:
        if not where.remote:
            workers = min(where.workers or cores(), max(jobs, 1))
            yield stack.enter_context(_local(workers))
            return
        named = where.scheduler or where.scheduler_file
        try:
            client = Client(
                address=where.scheduler,
                scheduler_file=where.scheduler_file,
                timeout=_CONNECT_S,
            )
        except (OSError, ValueError) as error:
            raise ClusterError(
                f"no scheduler answers at {named} ({error}): start one with "
                "`dask scheduler`, or leave the option out for workers of this computer"
            ) from error
        yield stack.enter_context(client)


@contextlib.contextmanager
def _local(workers: int) -> "Iterator[Client]":
    """Workers of this computer, a process each, in a cluster of their own."""
    import dask
    from distributed import Client, LocalCluster

    settings: Mapping[str, Any] = {
        "distributed.scheduler.allowed-failures": DEATHS - 1,
        # Of ours alone: what others configured is of other clusters.
        "distributed.nanny.pre-spawn-environ": ONE_THREAD,
    }
    with (
        dask.config.set(settings),
        _deaf_to_interrupts() as hear,
        LocalCluster(
            n_workers=workers,
            threads_per_worker=1,
            processes=True,
            memory_limit=0,  # workers keep nothing
            preload=__name__,
            dashboard_address="127.0.0.1:0",
            silence_logs="CRITICAL",
        ) as cluster,
        Client(cluster) as client,
    ):
        hear()
        yield client


@contextlib.contextmanager
def _deaf_to_interrupts() -> "Iterator[Callable[[], None]]":
    """Ctrl-C waits until workers are there, and does not reach them as they start."""
    if threading.current_thread() is not threading.main_thread():
        yield lambda: None
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)

    def hear() -> None:
        signal.signal(signal.SIGINT, before)

    try:
        yield hear
    finally:
        hear()


def dask_setup(_: object) -> None:
    """Workers of this computer leave Ctrl-C to us; Dask calls this in each of them."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


@contextlib.contextmanager
def _noted_deaths(client: "Client", note: Note) -> Iterator[None]:
    """Tell of workers that die: what they had under way is run again."""

    def told(event: tuple[float, Mapping[str, Any]]) -> None:
        _, what = event
        if what.get("action") == "remove-worker" and not what.get("expected"):
            note("a worker died: what it had under way is run again")

    client.subscribe_topic("all", told)
    try:
        yield
    finally:
        with contextlib.suppress(ValueError, OSError):
            client.unsubscribe_topic("all")


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "none"
