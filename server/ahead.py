"""What comes next in a search, worked out beside the trials: none waits for it."""

import gc
import logging
import threading
import time
from collections.abc import Callable, Iterator, Sequence

from server.events import Fact
from server.steps import advance, foretaste, question
from server.study import StudyState

_LOG = logging.getLogger(__name__)

TRY_AGAIN_S = 1.0
"""Pause after work that failed."""

MOST_OVERTAKEN = 3
"""Steps tried beside the trials, before one is taken between them."""


class Ahead:
    """Goes ahead on a copy of a study's state, and hands over what it found there."""

    def __init__(
        self,
        state: StudyState,
        lock: threading.Lock,
        record: Callable[[Sequence[Fact]], None],
        advance_now: Callable[[], None],
        settle: Callable[[], None],
    ) -> None:
        """``lock`` is that of the state; ``record`` takes facts in while it is held.

        So does ``advance_now``, which works out the next steps there and then;
        ``settle`` waits for the disk.
        """
        self._state, self._lock = state, lock
        self._record, self._advance, self._settle = record, advance_now, settle
        self._work, self._closing = threading.Event(), False
        self._looked_at, self._overtaken = -1, 0
        self._compiling: Iterator[int] = iter(())
        self._thread: threading.Thread | None = None
        self.beginning = False
        """Whether the first steps are under way, with the state locked."""
        self.failing = False
        """Whether the last that was tried failed; it is tried again."""

    def wake(self) -> None:
        """Something may have changed what comes next."""
        if self._state.revision != self._looked_at:
            self._work.set()

    def start(self, work: Callable[[], None]) -> None:
        """Do this in a thread of its own; it begins with :meth:`begin`.

        The state is locked until there is something to show: it is as if others had
        come later.
        """
        self._lock.acquire()
        self.beginning = True
        self._thread = threading.Thread(target=work, daemon=True)
        self._thread.start()

    def begin(self) -> None:
        """Take the first steps, for which :meth:`start` has locked the state."""
        try:
            try:
                self._advance()
                _draw(self._state)
            finally:
                self.beginning = False
                self._lock.release()
            self._settle()
        except Exception:  # they are taken as any others
            self._fail("the search could not begin")
        self._work.set()

    def _fail(self, why: str) -> None:
        self.failing = True
        if not self._closing:
            _LOG.exception(why)

    def warm_up(self) -> None:
        """Compile, beside the trials, what later steps of the search need."""
        self._compiling = self._foretaste()
        self._work.set()

    def _foretaste(self) -> Iterator[int]:
        with self._lock:
            ahead = self._state.copy()
        yield from foretaste(ahead)
        gc.freeze()  # what was compiled stays, as what was loaded

    def close(self) -> None:
        """Work no more."""
        self._closing = True
        self._work.set()

    def join(self, timeout_s: float) -> None:
        """Wait, but no longer, for what was under way at :meth:`close`."""
        if self._thread:
            self._thread.join(timeout_s)

    def work_for_ever(self) -> None:
        """Take steps as they come, until closed; for a thread of its own."""
        while True:
            self._work.wait()
            self._work.clear()
            if self._closing:
                return
            try:
                while self.step() or self.infer():
                    pass
                self.failing = False
                while not self._work.is_set():
                    if next(self._compiling, None) is None:
                        break
            except Exception:  # no message may find the search asleep
                self._fail("what comes next could not be worked out")
                if not self._closing:
                    time.sleep(TRY_AGAIN_S)
                self._work.set()

    def step(self) -> bool:
        """Work out one step of the search, without holding up messages meanwhile.

        Returns whether there was one, or something changed and it must be done again.
        """
        with self._lock:
            ahead, revision = self._state.copy(), self._state.revision
            self._looked_at = revision
        facts = []
        while not self._closing and (fact := advance(ahead)):
            ahead.apply(fact)
            facts.append(fact)
        if self._closing:
            return False
        if not facts:
            self._overtaken = 0
            return False
        _draw(ahead)
        with self._lock:
            if self._state.revision == revision:
                self._overtaken = 0
                self._take_foreseen(facts, ahead)
            else:  # so many come and go that it must not be tried for ever
                self._overtaken += 1
                if self._overtaken >= MOST_OVERTAKEN:
                    self._overtaken = 0
                    self._advance()
        self._settle()
        return True

    def infer(self) -> bool:
        """Work out one step of the model, without holding up messages meanwhile.

        Returns whether there was one to work out.
        """
        with self._lock:
            asked = question(self._state)
            if asked is None or self._closing:
                return False
            ahead = self._state.copy()
        fact = asked.answer()
        ahead.apply(fact)
        _draw(ahead)
        with self._lock:
            # Sessions may have begun or ended meanwhile: a fit stands, as far as it
            # goes; labellings stand unless others were asked, or the search is over.
            now = question(self._state)
            if now and now.step == asked.step:
                self._take_foreseen([fact], ahead)
        self._settle()
        return True

    def _take_foreseen(self, facts: Sequence[Fact], ahead: StudyState) -> None:
        """Take facts in without computing what a copy that went ahead computed."""
        self._state.foreseen = ahead.foreseen
        try:
            self._record(facts)
            _draw(self._state)
        finally:
            self._state.foreseen = None


def _draw(state: StudyState) -> None:
    """Draw the sessions of a generation that was asked, before a subject waits."""
    if state.theta is not None:
        state.drawn(0)
