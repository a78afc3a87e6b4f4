"""What a dashboard is told of a study: whole when it asks, changes when it watches."""

import threading
import time
from collections.abc import Callable, Hashable, Iterable, Sequence
from contextlib import suppress
from typing import Any

from server.chronicle import Changes, Chronicle, Told
from server.database import JournalError
from server.desk import Desk
from server.errands import Errands, Job
from server.events import Responded
from server.overview import (
    Present,
    may,
    overview,
    plain,
    raster,
    rig_rows,
    seen,
    silent_after_s,
    subject_rows,
    trial_columns,
)
from server.picture import view_of
from server.protocol import ProtocolError
from server.roles import Caller
from server.studies import Studies

BEAT_S = 5.0
"""How often watchers are told when subjects were last heard of."""

ASK_S = 2.0
"""How often watchers are told to ask for a part that is worked out when asked."""

ELSEWHERE_S = 30.0
"""How old what the ledger says of other studies may be."""


def _at_once(_: Hashable, job: Job) -> None:
    job()


class DashboardData:
    """The replies and pushes of one study; for several threads.

    No reply waits for a compiler or a search: pictures and spectra that are not there
    yet are ``pending``, and watchers are told to ask again.
    """

    def __init__(
        self,
        desk: Desk,
        later: Callable[[Hashable, Job], None] = _at_once,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """Of the study of ``desk``.

        ``later`` does slow work under a name, by default there and then;
        ``monotonic`` measures how old things are; tests give their own.
        """
        self.desk = desk
        self._study, self._board = desk.state.study, desk.board
        self._later, self._monotonic = later, monotonic
        self._lock = threading.Lock()
        self._elsewhere: dict[str, float] = {}
        self._clocks: dict[str, float] = {}
        """When each of the things was last done that are done now and then."""
        self._kept = Changes()
        """What watchers are not told of yet, lest they ask too often."""
        self._told: dict[str, Any] = {}
        self._statuses: dict[str, str] = {}
        self._spectrum: dict[str, Any] | None = None

    def overview(self, caller: Caller) -> dict[str, Any]:
        """Everything at once, and what ``caller`` may do."""

        def of(past: Chronicle) -> dict[str, Any]:
            return {
                **overview(self._study, past, present),
                "subjects": subject_rows(self._study, past, present),
                "rigs": rig_rows(past, present),
                # What the next push brings is not told twice.
                "alarms": plain(_all_but(past.alarms, past.changes.alarms), True),
                "ledger": plain(_all_but(past.ledger, past.changes.ledger)),
            }

        with self._lock:
            present = self._present()
            whole = self._head() | self._board.read(of)
        whole |= {"now": round(present.now, 3), "epoch": self._board.epoch}
        return whole | self._settings(caller)

    def generations(self, after: int) -> dict[str, Any]:
        """Errors per generation, from a row of the table on."""
        head = self._head()
        return head | self._board.generations(after)

    def raster(self, session: str) -> dict[str, Any]:
        """The trials of a session that is running, or was not long ago.

        Raises :class:`ProtocolError`, 404, for any other.
        """
        head = self._head()
        found = self.desk.state.sessions.get(session)
        if found is None:
            raise ProtocolError(
                404,
                "unknown_session",
                f"{session[:64]!r} is neither running nor one of the last sessions: "
                "its trials are in the journal",
            )
        return head | raster(found)

    def labelling(self, component: int | None) -> dict[str, Any]:
        """The picture of a component; raises :class:`ProtocolError`, 404."""
        head, gallery = self._head(), self._board.gallery
        asked = gallery.asked(self.desk.stand(), component)
        drawn = gallery.drawn(asked)
        if drawn is None:
            name = self._study.name, "labelling", component
            self._later(name, lambda: self._draw(component))
            drawn = gallery.drawn(asked)
        if drawn is None:
            places = {"component": asked.component, "components": asked.components}
            return head | {"pending": True} | places
        error = self._board.read(lambda past: past.generations.error_of(asked[0]))
        return head | drawn | {"relative_error": error}

    def spectrum(self) -> dict[str, Any]:
        """Error per order, and the power of each component found."""
        head, frozen = self._head(), len(self.desk.stand().series)
        known = self._spectrum
        if not known or len(known["power"]) < frozen or self._board.spectrum.stale:
            self._later((self._study.name, "spectrum"), self._decompose)
        return head | (self._spectrum or {"pending": True})

    def _draw(self, component: int | None) -> None:
        """Slow work: a picture, of which watchers are then told."""
        self._board.gallery.draw(self.desk.stand(), component)
        with self._lock:
            self._kept.labelling = True

    def _decompose(self) -> None:
        """Slow work: the spectrum of as many sessions as one try allows."""
        board, series = self._board, self.desk.stand().series
        before = board.spectrum.waiting
        found = board.spectrum.answer(self._study.labeller, series)
        self._spectrum = found | {"power": board.gallery.power(series)}
        with self._lock:
            self._kept.spectrum = True
        if 0 < found["waiting"] != before:
            self._later((self._study.name, "spectrum"), self._decompose)

    def push(self) -> dict[str, Any] | None:
        """What is new since the last push; None if nothing is."""
        with self._lock:
            changes = self._board.take_changes()
            try:
                present = self._present()
                message = self._news(changes, present, self._due("beat", BEAT_S))
                message |= self._to_ask(changes)
            except Exception:
                self._board.revision += 1  # watchers see that they missed something
                raise
            if not message:
                return None
            self._board.revision += 1
            return self._head() | {
                "now": round(present.now, 3),
                "epoch": self._board.epoch,
                **message,
            }

    def watch(self, watched: bool) -> None:
        """Keep what is new for :meth:`push`, or no longer."""
        self._board.watch(watched)

    def _news(self, changes: Changes, present: Present, beat: bool) -> dict[str, Any]:
        def of(past: Chronicle) -> dict[str, Any]:
            top = overview(self._study, past, present)
            inside = {one.opened.subject for one in present.sessions}
            rows = subject_rows(self._study, past, present, changes.subjects | inside)
            return {
                "overview": {k: v for k, v in top.items() if self._told.get(k) != v},
                "rows": rows,
                "rigs": rig_rows(past, present) if beat else [],
                "seen": seen(past, present) if beat else {},
                "top": top,
            }

        told = self._board.read(of)
        self._told = told["top"]
        message: dict[str, Any] = {
            "overview": told["overview"],
            "subjects": self._changed(told["rows"], changes),
            "seen": told["seen"],
            "rigs": told["rigs"],
            "trials": self._trials(changes.responded),
            "alarms": plain(changes.alarms, alarms=True),
            "ledger": plain(changes.ledger),
        }
        return {name: what for name, what in message.items() if what}

    def _to_ask(self, changes: Changes) -> dict[str, Any]:
        """The parts that are to be asked for again, now and then."""
        kept = self._kept
        rows = [n for n in (kept.generations, changes.generations) if n is not None]
        kept.generations = min(rows, default=None)
        kept.spectrum |= changes.spectrum
        kept.labelling |= changes.labelling
        if not self._due("ask", ASK_S):
            return {}
        self._kept = Changes()
        asked = {"spectrum": kept.spectrum, "labelling": kept.labelling}
        news: dict[str, Any] = {name: True for name, due in asked.items() if due}
        return news | ({"generations": min(rows)} if rows else {})

    def _changed(
        self, rows: Sequence[dict[str, Any]], changes: Changes
    ) -> list[dict[str, Any]]:
        """Rows of subjects that did something, or whose state is another one."""
        state = {row["subject"]: f"{row['status']} {row['paused']}" for row in rows}
        changed = [
            row
            for row in rows
            if row["subject"] in changes.subjects
            or self._statuses.get(row["subject"]) != state[row["subject"]]
        ]
        self._statuses = state
        return changed

    def _trials(self, responded: Sequence[Responded]) -> dict[str, dict[str, Any]]:
        new: dict[str, list[int]] = {}
        for fact in responded:
            new.setdefault(fact.session, []).extend(fact.trials)
        sessions = self.desk.state.sessions
        there = {name: s for name in new if (s := sessions.get(name))}
        return {name: trial_columns(s, new[name]) for name, s in there.items()}

    def _settings(self, caller: Caller) -> dict[str, Any]:
        space, session = self._study.labeller.space, self._study.file.session
        features = [
            {
                "name": f.name,
                "unit": f.unit,
                "low": _finite(f.low),
                "high": _finite(f.high),
            }
            for f in space.features[:20]
        ]
        lease_s = session.lease_s
        return {
            "role": "operator" if caller.role == "operator" else "viewer",
            "may": may(caller),
            "lease_s": lease_s,
            "heartbeat_s": silent_after_s(self._study) / 2,
            "silent_after_s": silent_after_s(self._study),
            "space": {
                "kind": self._study.file.stimuli["space"],
                "features": features,
                "view": view_of(space),
            },
        }

    def _present(self) -> Present:
        """Where the study stands; the lock is held."""
        if self._due("elsewhere", ELSEWHERE_S):
            inside = self.desk.state.attendance.holding
            with suppress(JournalError):  # what was known before is better than nothing
                self._elsewhere = self.desk.given_elsewhere(list(inside))
        return self.desk.present(self._elsewhere)

    def _due(self, what: str, every_s: float) -> bool:
        """Whether something is to be done that is done now and then."""
        now = self._monotonic()
        last = self._clocks.get(what)
        due = last is None or now - last >= every_s
        if due:
            self._clocks[what] = now
        return due

    def _head(self) -> dict[str, Any]:
        return {"study": self._study.name, "revision": self._board.revision}


class Dashboards:
    """The data of every study of a server."""

    def __init__(self, studies: Studies) -> None:
        """Of studies that may be opened, and opened again, at any time."""
        self._studies = studies
        self._lock = threading.Lock()
        self._errands = Errands()
        studies.closing.append(self._errands.close)
        self._known: dict[str, DashboardData] = {}

    def of(self, desk: Desk) -> DashboardData:
        """That of an open study."""
        name = desk.state.study.name
        with self._lock:
            known = self._known.get(name)
            if known is None or known.desk is not desk:
                known = self._known[name] = DashboardData(desk, self._errands.put)
            return known

    def open(self, study: str) -> DashboardData | None:
        """That of a study if it is open here."""
        desk = self._studies.open_desks().get(study)
        return self.of(desk) if desk and not desk.superseded else None


def _all_but(every: Iterable[Told], new: Sequence[Told]) -> list[Told]:
    """What was told before the newest, which come at the end."""
    told = list(every)
    return told[: max(len(told) - len(new), 0)]


def _finite(value: float) -> float | None:
    return value if abs(value) != float("inf") else None
