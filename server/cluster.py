"""Where jobs are run: in this process, by workers of this computer, or by a cluster.

Dask.distributed hands jobs to worker processes, restarts those of this computer that
die, and gives the jobs of a dead one to others: see :mod:`server.hand_out`.
"""

import contextlib
import os
import signal
import threading
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from server.hand_out import (
    DEATHS,
    ONE_THREAD,
    ClusterError,
    Note,
    hand_out,
    tried,
    version_of,
)

if TYPE_CHECKING:
    from distributed import Client

_CONNECT_S = 10.0
"""For a scheduler to answer."""


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


def cores() -> int:
    """Cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def available() -> bool:
    """Whether Dask.distributed is installed."""
    return version_of("distributed") != "none"


def run_jobs(
    function: Callable[[Any], Any],
    arguments: Sequence[Any],
    where: Where = HERE,
    names: Sequence[str] = (),
    note: Note = lambda _: None,
) -> Generator[tuple[int, Any]]:
    """Number and result of each job, ``function(arguments[number])``, as they come.

    A job that raises, or kills a worker again and again, has a
    :class:`server.hand_out.Failed` for a result, and the others go on. ``function`` is
    one of a module; ``names`` are shown in Dask's dashboard. Raises
    :class:`ClusterError` where there is no cluster, or none of our versions.
    """
    if where.here or not (where.remote or where.workers or available()):
        for number, argument in enumerate(arguments):
            yield number, tried(function, argument)
        return
    if not available():
        raise ClusterError(
            "workers need Dask.distributed, which is not installed: "
            "pip install '.[server,cluster]', or --workers 0 for this process alone"
        )
    if not arguments:
        return
    names = names or ["job"] * len(arguments)
    if not where.remote:
        note("starting workers")
    with _client(where, len(arguments)) as client, _noted_deaths(client, note):
        note("")
        yield from hand_out(client, function, arguments, names, note)


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
