"""Jobs handed to the workers of a cluster, and what comes back.

Only as many are handed over as there are threads: so a job that kills its workers is
told from those that wait. A worker of other versions than ours gives its job back, and
gets no more of them.
"""

import os
import socket
import time
import traceback
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import CancelledError
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from itertools import count
from typing import TYPE_CHECKING, Any, NamedTuple
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

_PATIENCE_S, _LOOK_S = 2.0, 0.02
"""Between looks at how many workers there are, and at what is over."""

_OTHERS_ONLY_S = 30.0
"""For a worker of ours to come, or to start again, where there are others."""

Note = Callable[[str], None]
"""Told of what happens beside the results: workers that are awaited, or died."""


class ClusterError(OSError):
    """The cluster cannot be had, or is gone."""


@dataclass(frozen=True)
class Failed:
    """A job that brought no result: ``why`` in a line, and ``trace`` if it raised."""

    why: str
    trace: str = ""


@dataclass(frozen=True)
class _Result:
    """What a job returned, or how it failed, once it ran to its end."""

    of: Any


@dataclass(frozen=True)
class _Refused:
    """A job given back by the worker at ``address``, and how its versions differ."""

    address: str
    told: str


class _Flight(NamedTuple):
    """A job under way, and the ``workers`` that it is for; none are named for all."""

    number: int
    workers: frozenset[str]


def versions() -> dict[str, str]:
    """Of what results depend on, as installed here."""
    return {name: version_of(name) for name in PACKAGES}


def version_of(name: str) -> str:
    """Of a package; ``none`` where it is not installed."""
    try:
        return version(name)
    except PackageNotFoundError:
        return "none"


def tried(function: Callable[[Any], Any], argument: Any) -> Any:
    """The result, or how it failed: errors of any type travel as text."""
    try:
        return function(argument)
    except Exception as error:
        why = str(error).strip() or type(error).__name__
        if not isinstance(error, (OSError, ValueError)):
            why = f"{type(error).__name__}: {why}"
        return Failed(why, traceback.format_exc())


def hand_out(
    client: "Client",
    function: Callable[[Any], Any],
    arguments: Sequence[Any],
    names: Sequence[str],
    note: Note,
) -> Iterator[tuple[int, Any]]:
    """Number of each job, and its result or how it :class:`Failed`, as they come.

    Raises :class:`ClusterError` where the scheduler is gone, or no worker has our
    versions; what came before that is told before.
    """
    hands = _Hands(client, function, arguments, names, note)
    landed: list[tuple[int, Any]] = []
    while hands.waiting or hands.flying:
        hands.give()
        yield from landed  # workers do not wait for what is made of it
        if hands.fault:
            raise hands.fault
        landed = hands.take()
    yield from landed


class _Hands:
    """Jobs that wait for a worker, and those under way."""

    def __init__(
        self,
        client: "Client",
        function: Callable[[Any], Any],
        arguments: Sequence[Any],
        names: Sequence[str],
        note: Note,
    ) -> None:
        from distributed import as_completed
        from distributed.protocol.pickle import dumps

        self._client, self._note = client, note
        # Loaded in the worker once it computes in one thread: see `_work`.
        self._packed, self._arguments = dumps(function), arguments
        self._names, self._run, self._handed = names, uuid4().hex[:8], count()
        self._ours, self._refused = versions(), dict[str, str]()
        self._stranded = Counter[int]()
        self._others_only_s: float | None = None
        """Since when there are but workers of other versions."""
        # Results are fetched as soon as they are there: the death of the worker that
        # has one would cost that job too.
        self._over = as_completed(with_results=True, raise_errors=False)
        self.waiting = deque(range(len(arguments)))
        self.flying: dict[Future[Any], _Flight] = {}
        self.fault: ClusterError | None = None
        """Why nothing more will come."""

    def give(self) -> None:
        """Hand over as many jobs as there are threads for them."""
        if self.fault:
            return
        threads = self._workers()
        if self.fault:
            return
        ours = {one: threads[one] for one in threads if one not in self._refused}
        if ours or not threads:
            self._others_only_s = None
        if not threads:
            self._note("waiting for workers")
        elif not ours:
            self._note("waiting for workers of our versions")
            now = time.monotonic()
            self._others_only_s = self._others_only_s or now
            if now > self._others_only_s + _OTHERS_ONLY_S:
                self.fault = _others_only(self._refused[one] for one in threads)
        # One job waits for the first worker that comes.
        places = sum(ours.values()) or (0 if self._refused else 1)
        while self.waiting and len(self.flying) < places:
            self._hand(self.waiting.popleft(), ours if self._refused else ())

    def _workers(self) -> Mapping[str, int]:
        """Threads of each worker that is there."""
        try:
            threads: Mapping[str, int] = self._client.nthreads()
        except OSError:
            self.fault = _gone()
            return {}
        return threads

    def _hand(self, number: int, workers: Iterable[str]) -> None:
        key = f"{self._names[number]}-{self._run}-{next(self._handed)}"
        call = self._packed, self._arguments[number], self._ours
        future = self._client.submit(
            _work, *call, key=key, pure=False, workers=list(workers) or None
        )
        self.flying[future] = _Flight(number, frozenset(workers))
        self._over.add(future)

    def take(self) -> list[tuple[int, Any]]:
        """What came by now, or within some patience."""
        landed = []
        for future, brought in self._ended():
            if future not in self.flying:  # any more
                continue
            number = self.flying.pop(future).number
            future.release()  # nobody runs it again if its worker dies now
            if isinstance(brought, _Refused):
                self._refuse(brought)
                self.waiting.appendleft(number)
            elif isinstance(brought, CancelledError):
                self.fault = _gone()
                self.waiting.appendleft(number)
            else:
                landed.append((number, _landed(brought)))
        return landed + self._strand()

    def _ended(self) -> "list[tuple[Future[Any], Any]]":
        """Jobs that are over, and what they brought."""
        until = time.monotonic() + _PATIENCE_S
        while not self._over.has_ready():
            if time.monotonic() > until:
                # Where a result was lost with its worker, and the job then fails as it
                # is run again, `as_completed` waits for ever.
                return [(f, f.exception()) for f in self.flying if f.status == "error"]
            time.sleep(_LOOK_S)
        ended: list[tuple[Future[Any], Any]] = self._over.next_batch(block=False)
        return ended

    def _refuse(self, refused: _Refused) -> None:
        if refused.address not in self._refused:
            self._note(f"passed over, as its versions are not ours: {refused.told}")
        self._refused[refused.address] = refused.told

    def _strand(self) -> list[tuple[int, Any]]:
        """Take back jobs whose workers are gone; others may have come since.

        Dask counts the deaths of a job's workers, but forgets with the job.
        """
        failed = []
        there = set(self._workers() if self._refused else ())
        if self.fault:
            return []
        for future, (number, workers) in list(self.flying.items()):
            if not workers or future.done() or workers & there:
                continue
            del self.flying[future]
            future.release()
            self._stranded[number] += 1
            if self._stranded[number] < DEATHS:
                self.waiting.appendleft(number)
            else:
                failed.append((number, _killed(DEATHS)))
        return failed


def _gone() -> ClusterError:
    return ClusterError(
        "the scheduler is gone: what is done is kept, and the same command goes on "
        "from there once a scheduler runs"
    )


def _others_only(told: Iterable[str]) -> ClusterError:
    workers = "; ".join(dict.fromkeys(told))
    return ClusterError(
        f"no worker has the versions of this computer: {workers}. Install the same "
        "there and here, start the workers anew, and type the same command again: what "
        "is done is kept"
    )


def _killed(workers: int) -> Failed:
    return Failed(f"{workers} workers died while they ran it")


def _landed(brought: Any) -> Any:
    """What a job that is over brought: a `_Result`, or how Dask ended it.

    Its future may say otherwise by now: that the worker died, and the result with it.
    """
    from distributed import KilledWorker

    if isinstance(brought, _Result):
        return brought.of
    error = brought[1] if isinstance(brought, tuple) else brought
    if isinstance(error, KilledWorker):
        return _killed(error.allowed_failures + 1)
    return Failed(str(error) or type(error).__name__)


def _work(packed: bytes, argument: Any, ours: Mapping[str, str]) -> _Result | _Refused:
    """Run a job in a worker, in one thread and by the versions of who asked."""
    # Read when XLA starts, which some modules that the function needs let it do.
    os.environ.update(ONE_THREAD)
    keep_compiled()
    theirs = versions()
    if differing := [name for name in ours if ours[name] != theirs[name]]:
        from distributed import get_worker

        told = ", ".join(f"{n} {theirs[n]}, here {ours[n]}" for n in differing)
        address = str(get_worker().contact_address)
        return _Refused(address, f"the worker on {socket.gethostname()} has {told}")
    from distributed.protocol.pickle import loads

    return _Result(tried(loads(packed), argument))
