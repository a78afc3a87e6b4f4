"""What runs beside the trials: the lease, free rewards, the emergency stop."""

import contextlib
import logging
import threading
import time
from collections.abc import Iterator
from typing import Self

from server.protocol import Alive, Assignment, Control, Done, FreeReward, Reply
from subject_clients.adapter import Adapter, GivesRewards, HasSafeState, LimitsRewards
from subject_clients.line import Line, Refused

_LOG = logging.getLogger(__name__)


class Fuse:
    """Brings a rig into its safe state: once, whichever thread asks first.

    As a context it does so when an error leaves it.
    """

    def __init__(self, adapter: Adapter) -> None:
        """For one session of an adapter, with or without a safe state."""
        self._adapter = adapter
        self._lock = threading.Lock()
        self.tripped = False
        self.emergency: Done | None = None
        self.fault: Exception | None = None

    def trip(self, reason: str) -> None:
        """Safe state, now."""
        with self._lock:
            first, self.tripped = not self.tripped, True
        if first and isinstance(self._adapter, HasSafeState):
            try:
                self._adapter.safe_state(reason)
            except Exception:  # what led here is reported, not what came of it
                _LOG.exception("the adapter could not reach its safe state")

    def stop(self, emergency: Done) -> None:
        """Safe state, and no further trial."""
        self.emergency = self.emergency or emergency
        self.trip(emergency.reason)

    def stopped(self) -> Done | None:
        """How the session ended, if it did beside the trials; raises a fault."""
        if self.fault is not None:
            raise self.fault
        return self.emergency

    @contextlib.contextmanager
    def within(self, valid_s: float | None) -> Iterator[None]:
        """Safe state where a trial and its answer take longer than its grant.

        The server is silent then, or the rig is stuck: a person has to look at it
        before anything goes on.
        """
        if valid_s is None or not isinstance(self._adapter, HasSafeState):
            yield
            return
        timer = threading.Timer(valid_s, self._expired, [valid_s])
        timer.daemon = True
        timer.start()
        try:
            yield
        finally:
            timer.cancel()

    def _expired(self, valid_s: float) -> None:
        self.fault = self.fault or ConnectionError(
            f"a trial was not answered and acknowledged within {valid_s:g} s: the rig "
            "is in its safe state. Look at the subject, then start again"
        )
        self.trip("the grant of a trial has run out")

    def __enter__(self) -> None:
        """Nothing is wrong yet."""

    def __exit__(self, _: object, error: BaseException | None, __: object) -> None:
        """Safe state after an error."""
        if error is not None:
            self.trip(str(error) or type(error).__name__)


class Heartbeat:
    """Renews a lease and does what the replies say, in a thread of its own."""

    def __init__(
        self, line: Line, adapter: Adapter, fuse: Fuse, assignment: Assignment
    ) -> None:
        """As a context: beats from entry to exit."""
        self._line, self._adapter, self._fuse = line, adapter, fuse
        self._session, self._pause_s = assignment.session, assignment.heartbeat_s
        self._over, self._wake = False, threading.Event()
        self._clocks: dict[str, float] = {}
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Self:
        """Begin to beat, and to listen."""
        self._line.listen(self._heard)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Neither any more."""
        self._line.listen(None)
        self._over = True
        self._wake.set()
        self._thread.join()

    def clocks(self) -> dict[str, float]:
        """This computer's clocks now, and the server's as the last beat told it.

        ``server_utc_s`` is right within half of ``round_trip_s``, and however much
        the clocks have drifted apart since that beat.
        """
        now = time.monotonic()
        read = {"host_monotonic_s": now, "host_utc_s": time.time()}
        known = dict(self._clocks)
        if known:
            read["server_utc_s"] = known["at"] + now - known["heard"]
            read["round_trip_s"] = known["round_trip_s"]
        return read

    def _beat(self) -> Reply:
        sent = time.monotonic()
        reply = self._line.ask("heartbeat", session=self._session)
        heard = time.monotonic()
        if isinstance(reply, Alive) and reply.at is not None:
            middle = (sent + heard) / 2
            self._clocks = {
                "at": reply.at,
                "heard": middle,
                "round_trip_s": heard - sent,
            }
        return reply

    def _heard(self, control: Control) -> None:
        if control.session not in ("", self._session):  # all sessions, or this one
            return
        if control.what == "emergency":
            # Not by way of a heartbeat: a message under way may hold up that one.
            self._fuse.stop(_emergency("emergency stop"))
        self._wake.set()

    def _run(self) -> None:
        while True:
            self._wake.wait(self._pause_s)
            self._wake.clear()
            if self._over:
                return
            try:
                reply = self._beat()
                if isinstance(reply, Done):
                    if reply.emergency:
                        self._fuse.stop(reply)
                    return
                if isinstance(reply, Alive):
                    for reward in reply.rewards:
                        self._give(reward)
            except Refused:
                return  # the session loop meets the same fault and reports it
            except ConnectionError:
                continue
            except Exception as fault:  # a valve, a full disk: the loop raises it
                self._fuse.fault = fault
                self._fuse.trip(str(fault) or type(fault).__name__)
                return

    def _give(self, reward: FreeReward) -> None:
        """At most once, however often the server asks and this program starts.

        It is told before it is given, since a crash in between must not let it be
        given twice; what fails halfway counts as given.
        """
        box = self._line.box
        if not isinstance(self._adapter, GivesRewards):
            return
        if not box.seen(reward.uid):
            if self._fuse.tripped:
                return
            microlitre = reward.microlitre
            if isinstance(self._adapter, LimitsRewards):
                microlitre = self._adapter.allowed(microlitre)
            if microlitre <= 0:
                return  # the wish stays
            given = {"microlitre": microlitre, "how": "free"}
            message = {"session": self._session, "uid": reward.uid, "reward": given}
            box.put("rewarded", message, once=reward.uid)
            self._adapter.give_reward(microlitre)
        for entry in box.pending():
            if entry.once == reward.uid:
                with contextlib.suppress(Refused):  # the box has it, or sets it aside
                    self._line.deliver(entry)


def _emergency(reason: str) -> Done:
    return Done(study=False, reason=reason, emergency=True)
