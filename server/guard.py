"""Keeps subjects of a live study from harm: one place at a time, caps, rules.

What it remembers follows from the journal, all of which :meth:`Guard.note` sees, and
from the look-up tables that all studies of a database share.
"""

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any

from server.alarms import Breach, SessionNow, Snapshot, SubjectNow
from server.attendance import Attendance
from server.database import JournalError
from server.events import (
    AlarmRaised,
    Fact,
    Responded,
    RewardGiven,
    RuleFired,
    SessionEnded,
    SessionOpened,
    Weighed,
)
from server.holds import Holds, Kind
from server.ledger import Ledger
from server.protocol import (
    DropOut,
    GiveReward,
    Grant,
    Order,
    ProtocolError,
    Weigh,
)
from server.safety import (
    Delivered,
    History,
    Weight,
    breach,
    day_start,
    fired,
    free_refusal,
    grant,
    weight_gate,
    weight_warning,
)
from server.safety_section import SafetySection
from server.session import Session, apply_responded


class Guard:
    """What keeps watch over the subjects of a study."""

    def __init__(
        self,
        study: str,
        limits: SafetySection | None,
        ledger: Ledger,
        holds: Holds,
        wall: Callable[[], float],
    ) -> None:
        """Without ``limits`` there are no grants, gates or rules."""
        self.limits = limits
        self._study, self._ledger, self._holds, self._wall = study, ledger, holds, wall
        self._begun: dict[str, float] = {}
        """When each session that is not over began."""
        self._answered: dict[str, float] = {}
        """When its last trial was answered."""
        self._known: dict[str, float] = {}
        """Since when each subject is known."""
        self._rewarded: dict[str, float] = {}
        """When each subject had its last reward in this study."""
        self._today: dict[str, tuple[float, float]] = {}
        """Of each subject the day of its last reward, and what it had here in it."""
        self._elsewhere: dict[str, float] = {}
        """What subjects had today in other studies, read once a message."""
        self._out: dict[str, tuple[str, float, float]] = {}
        """Of each session the subject, size and end of the grant that is out."""
        self._breaches: list[tuple[float, Breach]] = []
        self._leaving: set[str] = set()
        """Sessions that are over and hold a subject or a rig still."""

    def note(self, fact: Fact, at: float, session: Session | None) -> None:
        """Remember what a fact means; every fact of the journal, in order.

        ``session`` is that of the fact, if it is of one.
        """
        subject = session.opened.subject if session else ""
        match fact:
            case SessionOpened():
                self._begun[fact.session] = self._answered[fact.session] = at
                self._known.setdefault(fact.subject, at)
            case SessionEnded() if fact.status != "lost":
                self._begun.pop(fact.session, None)
                self._answered.pop(fact.session, None)
            case Responded():
                self._out.pop(fact.session, None)
                if fact.session in self._answered:
                    self._answered[fact.session] = at
                given = [r["microlitre"] for r in fact.rewards if r]
                if given:
                    self._count(subject, sum(given), at)
            case RewardGiven():
                self._count(fact.subject, fact.microlitre, at)
            case Weighed():
                self._known.setdefault(fact.subject, at)
            case AlarmRaised(name="breach"):
                self._breaches.append((at, Breach(fact.subject, fact.detail)))

    def began(self, session: str) -> float | None:
        """When a session began that is not over."""
        return self._begun.get(session)

    def admit(self, subject: str, rig: str, session: str) -> None:
        """Let a subject begin a session; raises :class:`ProtocolError`."""
        self._release()
        limits = self.limits
        if limits and (why := weight_gate(limits, self._weight(subject), self._wall())):
            raise ProtocolError(403, "weight", f"{subject}: {why}")
        places: list[tuple[Kind, str]] = [("subject", subject)]
        if rig:
            places.append(("rig", rig))
        for kind, name in places:
            other = self._holds.take(kind, name, self._study, session)
            if other:
                self._holds.release(self._study, session)
                raise ProtocolError(
                    409,
                    f"{kind}_busy",
                    f"{name} is in session {other.session} of study {other.study}: "
                    "end that first",
                )

    def let_go(self, fact: Fact) -> None:
        """Subject and rig are free once their session is over."""
        if isinstance(fact, SessionEnded) and fact.status != "lost":
            self._leaving.add(fact.session)
            self._release()

    def holding_again(self, attendance: Attendance) -> None:
        """After a start: hold again what sessions of the journal hold."""
        held: dict[tuple[Kind, str], str] = {}
        for name, session in attendance.sessions.items():
            if not session.over:
                self.hand_out(session)  # a grant of before may still be used
                held["subject", session.opened.subject] = name
                if session.opened.rig:
                    held["rig", session.opened.rig] = name
        self._holds.resync(self._study, held)

    def grant(self, session: Session) -> Grant | None:
        """Leave to give one reward in the trial that is due."""
        if self.limits is None:
            return None
        subject = session.opened.subject
        given = self._given_today(subject) + self._granted_elsewhere(session)
        promised = sum(wish.microlitre for wish in session.wished)
        return grant(self.limits, session.microlitre, given, promised)

    def _granted_elsewhere(self, session: Session) -> float:
        """What grants of the subject's other sessions may still give it."""
        mine, now = session.opened, self._wall()
        return sum(
            size
            for other, (whose, size, until) in self._out.items()
            if whose == mine.subject and other != mine.session and until > now
        )

    def hand_out(self, session: Session) -> Grant | None:
        """The grant of the trial that is due, remembered until that is answered."""
        leave = self.grant(session)
        if leave:
            until = self._wall() + leave.valid_s
            name, subject = session.opened.session, session.opened.subject
            self._out[name] = subject, leave.max_microlitre, until
        return leave

    def judge(
        self, session: Session, fact: Responded | RewardGiven
    ) -> tuple[list[Fact], str | None]:
        """What follows for safety from an answer or a reward, before it is recorded.

        Facts, and why the session should end, if a rule that may end it says so. Of
        one that is over, an operator having stopped it, what was given counts alone.
        """
        if self.limits is None:
            return [], None
        facts = self._breach(self.limits, session, fact)
        if session.over or not isinstance(fact, Responded):
            return facts, None
        after = apply_responded(session, fact)
        columns = list(zip(*after.answers, strict=True))
        began = self._begun.get(session.opened.session, self._wall())
        history = History(
            columns[0], columns[1], columns[2], self._wall() - began, session.fired
        )
        stop = None
        for rule in fired(self.limits, history):
            facts.append(
                RuleFired(
                    session.opened.session,
                    fact.trials[-1],
                    rule.rule,
                    rule.detail,
                    rule.stops,
                )
            )
            if rule.stops:
                stop = f"rule {rule.rule}: {rule.detail}"
        return facts, stop

    def weigh_up(self, order: Order, attendance: Attendance) -> str:
        """What is to be said of an order; raises :class:`ProtocolError` against it."""
        if isinstance(order, GiveReward) and order.session in attendance.sessions:
            self.check_order(attendance.sessions[order.session], order)
        if isinstance(order, Weigh):
            return self.remark(order)
        if isinstance(order, DropOut) and order.subject not in attendance.exposures:
            return (
                f"noted, though no {order.subject!r} has been here: is that the name?"
            )
        return "done"

    def check_order(self, session: Session, order: GiveReward) -> None:
        """Refuse a free reward that no cap leaves room for."""
        if self.limits is None:
            return
        under_way = self.grant(session)
        promised = sum(wish.microlitre for wish in session.wished)
        why = free_refusal(
            self.limits,
            session.microlitre,
            self._given_today(session.opened.subject)
            + self._granted_elsewhere(session),
            order.microlitre,
            promised + (under_way.max_microlitre if under_way else 0.0),
        )
        if why:
            raise ProtocolError(409, "cap", why)

    def remark(self, order: Weigh) -> str:
        """What a new weight means, and what is odd about it."""
        before = self._weight(order.subject)
        known = before.baseline_grams if before else None
        baseline = order.baseline_grams or known
        said = f"noted: {order.grams:g} g"
        if baseline:
            said += f", {order.grams / baseline:.0%} of its baseline of {baseline:g} g"
        elif self.limits and self.limits.weight_fraction:
            said += "; its baseline is not known, and without it no session begins"
        now = Weight(order.grams, baseline, self._wall())
        if baseline and self.limits:
            gate = weight_gate(self.limits, now, now.at)
            said += f"; no session begins: {gate}" if gate else ""
        odd = weight_warning(before, order.grams)
        return said + (f"; {odd} If not, weigh again" if odd else "")

    def snapshot(self, attendance: Attendance) -> Snapshot:
        """Where the subjects stand, for alarms."""
        today = day_start(self._wall())
        sessions = [
            SessionNow(
                name,
                session.opened.subject,
                session.status == "lost" and self._is_silent(name),
                attendance.stopped(session) is not None,
                self._answered.get(name, self._wall()),
                session.opened.rig,
                session.microlitre,
            )
            for name, session in attendance.sessions.items()
            if not session.over
        ]
        subjects = [
            SubjectNow(
                subject, since, self._last_reward(subject), self._given_today(subject)
            )
            for subject, since in self._known.items()
            if subject not in attendance.dropped
        ]
        breaches = [one for at, one in self._breaches if at >= today]
        return Snapshot(self._study, tuple(sessions), tuple(subjects), tuple(breaches))

    def _is_silent(self, session: str) -> bool:
        """Whether it does not go on in spite of being lost, its place being taken."""
        trial_s = self.limits.trial_s if self.limits else 0.0
        return self._wall() - self._answered.get(session, 0.0) > trial_s

    def _breach(
        self, limits: SafetySection, session: Session, fact: Responded | RewardGiven
    ) -> list[Fact]:
        subject, allowed = session.opened.subject, self.grant(session)
        ordered = None
        if isinstance(fact, RewardGiven):
            reward: dict[str, Any] = {"microlitre": fact.microlitre, "how": fact.how}
            wishes = {wish.uid: wish.microlitre for wish in session.wished}
            ordered = wishes.get(fact.uid)
            after_s = None
        else:
            if not fact.rewards or not fact.rewards[-1]:
                return []
            reward = fact.rewards[-1]
            after_s = (fact.clocks[-1] or {}).get("reward_after_s")
        by_hand = isinstance(fact, RewardGiven) and reward["how"] == "free"
        granted = allowed.max_microlitre if allowed and not by_hand else None
        wrong = breach(
            limits,
            Delivered(
                reward["microlitre"],
                reward["how"],
                granted if ordered is None else ordered,
                after_s,
                0 if ordered is not None or by_hand else session.on_grant,
                session.microlitre,
                self._given_today(subject),
            ),
        )
        if session.emergency and not by_hand:
            wrong = wrong or "a reward came with a trial that an emergency had stopped"
        return [AlarmRaised("breach", subject, wrong)] if wrong else []

    def _release(self) -> None:
        """Give back what ended sessions hold; what cannot be now, is the next time."""
        for session in sorted(self._leaving):
            with suppress(JournalError):  # that it ended must be recorded all the same
                self._holds.release(self._study, session)
                self._leaving.discard(session)

    def _weight(self, subject: str) -> Weight | None:
        last = self._ledger.last_weight(subject)
        return Weight(last.grams, last.baseline_grams, last.at) if last else None

    def forget_elsewhere(self) -> None:
        """Ask the ledger again: another message, another moment."""
        self._elsewhere.clear()

    def _given_today(self, subject: str) -> float:
        """What a subject was given today: here, stored or not, and elsewhere."""
        today = day_start(self._wall())
        day, here = self._today.get(subject, (today, 0.0))
        if subject not in self._elsewhere:
            given = self._ledger.given(subject, today, but=self._study)
            self._elsewhere[subject] = given
        return self._elsewhere[subject] + (here if day == today else 0.0)

    def given_elsewhere(self, subjects: Sequence[str]) -> dict[str, float]:
        """What subjects were given today in other studies; asks the ledger."""
        today = day_start(self._wall())
        return self._ledger.given_each(subjects, today, but=self._study)

    def given_today(self, elsewhere: Mapping[str, float]) -> dict[str, float]:
        """What each subject was given today, of those that had anything."""
        today, given = day_start(self._wall()), dict(elsewhere)
        for subject, (day, here) in self._today.items():
            if day == today:
                given[subject] = given.get(subject, 0.0) + here
        return given

    def most_free(
        self, sessions: Sequence[Session], elsewhere: Mapping[str, float]
    ) -> dict[str, float]:
        """The largest free reward that caps leave now, by session; without a query.

        ``elsewhere`` is what :meth:`given_elsewhere` told. Empty without limits.
        """
        if self.limits is None:
            return {}
        out: dict[str, float] = {}
        now, today = self._wall(), self.given_today(elsewhere)
        for whose, size, until in self._out.values():
            out[whose] = out.get(whose, 0.0) + size * (until > now)
        most = {}
        for session in sessions:
            name, subject = session.opened.session, session.opened.subject
            promised = sum(wish.microlitre for wish in session.wished)
            _, own, until = self._out.get(name, ("", 0.0, 0.0))
            others = out.get(subject, 0.0) - own * (until > now)
            given = today.get(subject, 0.0) + others
            both = self.limits, session.microlitre, given
            under_way = grant(*both, promised).max_microlitre
            most[name] = grant(*both, promised + under_way).max_microlitre
        return most

    def _count(self, subject: str, microlitre: float, at: float) -> None:
        self._rewarded[subject] = at
        day = day_start(at)
        known, given = self._today.get(subject, (day, 0.0))
        if day >= known:
            self._today[subject] = day, microlitre + (given if day == known else 0.0)

    def _last_reward(self, subject: str) -> float | None:
        elsewhere = self._ledger.last_reward(subject)
        here = self._rewarded.get(subject)
        return max(filter(None, (elsewhere, here)), default=None)
