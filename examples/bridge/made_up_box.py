"""A box with two ports that exists in a program: replace it by your own.

It shows what every rig has to do by itself: one reward in a trial, none after its time,
no uid twice, and all off when Penchant is silent.
"""

import time
from pathlib import Path
from typing import Any

WATCHDOG_S = 2.0
DELAY_S = 0.1  # from a trial's begin to its stimulus


class Box:
    """Runs one trial at a time; ``tend`` is called all the time."""

    def __init__(self, valve_log: str | None = None) -> None:
        """``valve_log`` is a file that each opening of the valve is written to."""
        self._log = Path(valve_log) if valve_log else None
        self._heard = time.monotonic()
        self._session, self._dry, self.running = "", True, ""
        self.script: dict[str, list[Any]] = {}
        self._results: dict[str, dict[str, Any]] = {}
        self._given: dict[str, float] = {}

    def hello(self, message: dict[str, Any]) -> dict[str, Any]:
        """Who this is, and its limits; a new session begins."""
        if message["session"] != self._session:
            self.make_safe()
            self._session, self._dry = message["session"], False
            self._results, self._given = {}, {}
        limits = {"trial_microlitre": 6.0, "session_microlitre": 2000.0}
        can = {"watchdog_s": WATCHDOG_S, "plays": True, "gives": True}
        return {"version": 1, "name": "made-up box", **limits, **can}

    def heard(self) -> None:
        """A message came."""
        self._heard = time.monotonic()

    def start(self, trial: dict[str, Any]) -> str:
        """Run it, unless it runs or has run; returns why not, if it cannot."""
        if trial["uid"] in (self.running, *self._results):
            return ""
        if self.running or not self._session:
            return "busy" if self.running else "say hello first"
        self._trial, self._begun, self._dry = trial, time.monotonic(), False
        self.running = str(trial["uid"])
        self._pokes = sorted(self.script.pop(self.running, []))
        return ""

    def tend(self) -> None:
        """What is due now."""
        now = time.monotonic()
        if now - self._heard > WATCHDOG_S:
            self.make_safe()
        if not self.running:
            return
        since = now - self._begun - DELAY_S  # from the stimulus
        if now - self._begun >= self._trial["valid_s"]:
            self._over("omission", None, 0.0)
        elif self._pokes and since >= self._pokes[0][0]:
            after_s, side = self._pokes[0]
            if after_s < 0:
                self._over("premature", None, after_s)
            else:
                self._over("responded", side, after_s)
        elif since > self._trial.get("response_s", 10.0):
            self._over("omission", None, 0.0)

    def happened(self, uid: str) -> dict[str, Any] | None:
        """What happened in a trial that is over."""
        return self._results.get(uid)

    def give(self, order: dict[str, Any]) -> float:
        """A free reward, once for each uid; returns microlitres."""
        if order["uid"] not in self._given:
            volume = 0.0 if self._dry else float(order["microlitre"])
            self._given[order["uid"]] = volume
            self._valve(order["uid"], volume)
        return self._given[order["uid"]]

    def make_safe(self, uid: str = "") -> None:
        """All off; a trial under way is over, and this one, if it comes late."""
        self._dry = True
        for one in {self.running, uid} - {"", *self._results}:
            self.running = one
            self._over("aborted", None, 0.0)

    def _over(self, outcome: str, side: str | None, seconds: float) -> None:
        volume = 0.0
        if outcome == "responded":
            volume = min(
                self._trial[f"{side}_microlitre"], self._trial["limit_microlitre"]
            )
            self._valve(self.running, volume)
        result: dict[str, Any] = {"what": "happened", "uid": self.running}
        result |= {"outcome": outcome, "delivered_microlitre": volume}
        if side:
            result |= {"side": side, "response_time_s": seconds}
        self._results[self.running] = result
        self.running = ""

    def _valve(self, uid: str, microlitre: float) -> None:
        """Here a valve would open."""
        if microlitre and self._log:
            with self._log.open("a", encoding="utf-8") as file:
                file.write(f"{time.monotonic()} {uid} {microlitre:g}\n")
