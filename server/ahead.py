"""What comes next in a search, worked out beside the trials: none waits for it."""

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

    def wake(self) -> None:
        """Something may have changed what comes next."""
        if self._state.revision != self._looked_at:
            self._work.set()

    def close(self) -> None:
        """Work no more."""
        self._closing = True
        self._work.set()

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
                while not self._work.is_set():
                    if next(self._compiling, None) is None:
                        break
            except Exception:  # no message may find the search asleep
                if not self._closing:
                    _LOG.exception("what comes next could not be worked out")
                    time.sleep(TRY_AGAIN_S)
                self._work.set()

    def warm_up(self) -> None:
        """Compile what the next step of the search needs, before subjects wait.

        What later components need is compiled beside the trials.
        """
        with self._lock:
            ahead = self._state.copy()
        compiling = foretaste(ahead)
        next(compiling, None)
        self._compiling = compiling
        self._work.set()

    def step(self) -> bool:
        """Work out one step of the search, without holding up messages meanwhile.

        Returns whether there was one, or something changed and it must be done again.
        """
        with self._lock:
            ahead, revision = self._state.copy(), self._state.revision
            self._looked_at = revision
        facts = []
        while fact := advance(ahead):
            ahead.apply(fact)
            facts.append(fact)
        if not facts:
            self._overtaken = 0
            return False
        if ahead.theta is not None:
            ahead.drawn(0)
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
            if asked is None:
                return False
            ahead = self._state.copy()
        fact = asked.answer()
        ahead.apply(fact)
        if ahead.theta is not None:
            ahead.drawn(0)
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
            if self._state.theta is not None:
                self._state.drawn(0)
        finally:
            self._state.foreseen = None
