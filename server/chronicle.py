"""A study's past in numbers: a fold of its events that stays small.

What a dashboard shows of sessions, subjects and orders, whatever the number of trials.
Pure: what there is now (who is in a session, how far) the study's state says.
"""

from collections import Counter, deque
from dataclasses import dataclass, field
from functools import singledispatchmethod

from server.events import (
    AlarmRaised,
    ClientSeen,
    ComponentFrozen,
    DroppedOut,
    Event,
    Fact,
    GenerationAsked,
    GenerationTold,
    Halted,
    MetaSteps,
    ModelFitted,
    Quarantined,
    Responded,
    RewardAsked,
    RewardGiven,
    RuleFired,
    SessionEnded,
    SessionOpened,
    StudyFinished,
    StudyOpened,
    VerificationAsked,
    Weighed,
)
from server.generation_table import GenerationTable
from server.study_file import Study

MOST_TOLD = 100
"""Alarms, and entries of the ledger, that are kept to be shown."""

PACE_OF = 20
"""Finished sessions that tell the pace of a study."""


@dataclass
class Card:
    """What is known of a subject; times in seconds since 1970."""

    subject: str
    group: str = ""
    rig: str = ""
    session: str = ""
    """The one that it is in, or was last."""
    begun: int = 0
    done: int = 0
    given_up: int = 0
    last_at: float | None = None
    """When it, or its client, last did something that is in the journal."""
    weight: dict[str, float | None] | None = None
    dropped: str | None = None
    """Why it left the study, if it did."""


@dataclass(frozen=True)
class Told:
    """An alarm, or an entry of the ledger."""

    at: float
    what: str
    subject: str = ""
    session: str = ""
    detail: str = ""
    by: str = ""


@dataclass
class _Under:
    """A session that is not over for good."""

    opened: SessionOpened
    lost: bool = False
    late: bool = False


@dataclass
class Changes:
    """What is new since somebody looked."""

    subjects: set[str] = field(default_factory=set)
    responded: list[Responded] = field(default_factory=list)
    generations: int | None = None
    """The first row of the table that is new or changed."""
    alarms: list[Told] = field(default_factory=list)
    ledger: list[Told] = field(default_factory=list)
    labelling: bool = False
    spectrum: bool = False


class Chronicle:
    """The past of a study; changes in :meth:`note` alone, an event at a time."""

    def __init__(self, study: Study) -> None:
        """Before the first event."""
        self._individuals = study.sessions_per_generation
        self._lease_s = study.file.session.lease_s
        self.began_at: float | None = None
        self.begun = self.late = self.used = self.trials = 0
        self.used_here = 0
        """Finished sessions that counted, since the search last asked."""
        self.ended: Counter[str] = Counter()
        """Sessions over for good, by how they ended."""
        self.finished_at: deque[float] = deque(maxlen=PACE_OF)
        self.cards: dict[str, Card] = {}
        self.rigs: dict[str, str] = {}
        """The subject that was last in each rig."""
        self.alarms: deque[Told] = deque(maxlen=MOST_TOLD)
        self.ledger: deque[Told] = deque(maxlen=MOST_TOLD)
        self.halted: Halted | None = None
        """The order that keeps all sessions from going on, if one does."""
        self.generations = GenerationTable(study.groups, study.file.search.generations)
        self.changes = Changes()
        self._under: dict[str, _Under] = {}

    def note(self, event: Event) -> None:
        """Take in one event of the journal; in its order."""
        self._apply(event.fact, event.at)

    def take_changes(self) -> Changes:
        """What is new since this was last asked."""
        taken, self.changes = self.changes, Changes()
        return taken

    @singledispatchmethod
    def _apply(self, fact: Fact, at: float) -> None:
        """Of no other kind is there anything to show."""

    @_apply.register
    def _open(self, fact: StudyOpened, at: float) -> None:
        del fact
        self.began_at = at

    @_apply.register
    def _ask(self, fact: GenerationAsked, at: float) -> None:
        del at
        self.used_here = 0
        self._row(self.generations.ask(fact))
        self.changes.labelling = True

    @_apply.register
    def _verify(self, fact: VerificationAsked, at: float) -> None:
        self.used_here = 0
        detail = f"{len(fact.roles)} sessions measure components and their controls"
        self._write(Told(at, "verification", detail=detail))

    @_apply.register
    def _tell(self, fact: GenerationTold, at: float) -> None:
        del at
        self._row(self.generations.tell(fact))
        self.changes.labelling = True

    @_apply.register
    def _descend(self, fact: MetaSteps, at: float) -> None:
        del at
        self._row(self.generations.descend(fact, self._individuals))
        self.changes.labelling = True

    @_apply.register
    def _fit(self, fact: ModelFitted, at: float) -> None:
        del fact, at
        self.changes.labelling = True

    @_apply.register
    def _freeze(self, fact: ComponentFrozen, at: float) -> None:
        detail = f"component {fact.component + 1} is found"
        self._write(Told(at, "component", detail=detail))
        self.changes.labelling = self.changes.spectrum = True

    @_apply.register
    def _finish(self, fact: StudyFinished, at: float) -> None:
        del fact
        self._write(Told(at, "finished", detail="the study is finished"))

    @_apply.register
    def _begin(self, fact: SessionOpened, at: float) -> None:
        self.begun += 1
        self._under[fact.session] = _Under(fact)
        card = self._seen(fact.subject, at)
        card.group, card.rig, card.session = fact.group, fact.rig, fact.session
        card.begun += 1
        if fact.rig:
            self.rigs[fact.rig] = fact.subject
        self._row(self.generations.begin(fact.component, fact.generation))

    @_apply.register
    def _respond(self, fact: Responded, at: float) -> None:
        self.trials += len(fact.trials)
        self.changes.responded.append(fact)
        if under := self._under.get(fact.session):
            self._seen(under.opened.subject, at)

    @_apply.register
    def _end(self, fact: SessionEnded, at: float) -> None:
        under = self._under.get(fact.session)
        if under is None:
            return
        subject = under.opened.subject
        if fact.status != "finished":
            self._write(Told(at, fact.status, subject, fact.session, fact.reason))
        self._was_late(under, under.lost)
        if fact.status == "lost":
            under.lost = True
            card = self._card(subject)
            card.last_at = max(card.last_at or 0.0, at - self._lease_s)
            return
        del self._under[fact.session]
        self.ended[fact.status] += 1
        card = self._seen(subject, at)
        card.done += fact.status == "finished"
        card.given_up += fact.status == "abandoned"
        if fact.status == "finished":
            self.finished_at.append(at)
            self._score(under.opened, fact)

    @_apply.register
    def _see(self, fact: ClientSeen, at: float) -> None:
        self._seen(fact.subject, at)
        under = self._under.get(fact.session)
        if under and fact.what == "returned":
            self._was_late(under, under.lost)
            under.lost = False

    @_apply.register
    def _hold(self, fact: Halted, at: float) -> None:
        if not fact.session:
            self.halted = None if fact.what == "resume" else fact
        subject = self._whose(fact.session)
        detail = fact.reason
        self._write(Told(at, fact.what, subject, fact.session, detail, fact.by))

    @_apply.register
    def _wish(self, fact: RewardAsked, at: float) -> None:
        detail = f"{fact.microlitre:g} microlitre ordered: {fact.reason}"
        subject = self._whose(fact.session)
        self._write(Told(at, "reward", subject, fact.session, detail, fact.by))

    @_apply.register
    def _give(self, fact: RewardGiven, at: float) -> None:
        self._seen(fact.subject, at)
        detail = f"{fact.microlitre:g} microlitre given, {fact.how}"
        self._write(Told(at, "given", fact.subject, fact.session, detail))

    @_apply.register
    def _weigh(self, fact: Weighed, at: float) -> None:
        card = self._card(fact.subject)
        before = card.weight["baseline_grams"] if card.weight else None
        baseline = fact.baseline_grams or before
        card.weight = {"grams": fact.grams, "baseline_grams": baseline, "at": at}
        detail = f"{fact.grams:g} g"
        if baseline:
            detail += f", {fact.grams / baseline:.0%} of its baseline"
        self._write(Told(at, "weight", fact.subject, "", detail, fact.by))

    @_apply.register
    def _drop(self, fact: DroppedOut, at: float) -> None:
        self._card(fact.subject).dropped = fact.reason
        self._write(Told(at, "drop_out", fact.subject, "", fact.reason, fact.by))

    @_apply.register
    def _quarantine(self, fact: Quarantined, at: float) -> None:
        subject = self._whose(fact.session)
        self._write(Told(at, "quarantined", subject, fact.session, fact.reason))

    @_apply.register
    def _fire(self, fact: RuleFired, at: float) -> None:
        self._alarm(
            Told(at, f"rule {fact.rule}", self._whose(fact.session), "", fact.detail)
        )

    @_apply.register
    def _raise(self, fact: AlarmRaised, at: float) -> None:
        self._alarm(Told(at, fact.name, fact.subject, "", fact.detail))

    def _score(self, opened: SessionOpened, fact: SessionEnded) -> None:
        """A finished session, whose error may have scored a candidate."""
        self.changes.spectrum = True
        if not fact.used:
            return
        self.used += 1
        self.used_here += 1
        if fact.error is not None and fact.label_variance:
            error = fact.error / fact.label_variance
            place = opened.component, opened.generation, opened.group
            self._row(self.generations.score(*place, error))

    def _was_late(self, under: _Under, late: bool) -> None:
        """A session given up as lost was heard of again, or ended after all."""
        if late and not under.late:
            under.late = True
            self.late += 1

    def _whose(self, session: str) -> str:
        under = self._under.get(session)
        return under.opened.subject if under else ""

    def _card(self, subject: str) -> Card:
        self.changes.subjects.add(subject)
        return self.cards.setdefault(subject, Card(subject))

    def _seen(self, subject: str, at: float) -> Card:
        card = self._card(subject)
        card.last_at = at
        return card

    def _row(self, number: int | None) -> None:
        if number is not None:
            first = self.changes.generations
            self.changes.generations = number if first is None else min(first, number)

    def _write(self, told: Told) -> None:
        if told.subject:
            self.changes.subjects.add(told.subject)
        self.ledger.append(told)
        self.changes.ledger.append(told)

    def _alarm(self, told: Told) -> None:
        self.alarms.append(told)
        self.changes.alarms.append(told)
