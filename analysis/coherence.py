"""Which events of a journal fit those before them.

The fold of a running study takes for granted that they all do, since it wrote them. Of
a damaged journal some are gone, and what spoke of them is left out here, with a
:class:`Problem`, so that every analysis may take it for granted too.
"""

from collections.abc import Iterable
from typing import Any

from analysis.problem import Problem, listed
from server.events import (
    ComponentFrozen,
    Event,
    GenerationAsked,
    GenerationTold,
    Responded,
    SessionEnded,
    SessionOpened,
    StudyOpened,
)

OUTCOMES = ("responded", "omission", "premature", "aborted", "invalid")
"""How a trial can come out."""

STATUSES = ("finished", "lost", "abandoned", "unusable")
"""How a session can end."""

_LEFT_OUT = "it is left out"


def coherent(
    events: Iterable[Event], name: str, problems: list[Problem]
) -> list[Event]:
    """The events that fit; ``problems`` grows by what is wrong with the others.

    Sessions are those opened, responses are to their trials, and components follow one
    another without a gap. A provisional component ends where its search has one.
    """
    sessions, search = _Sessions(), _Search()
    kept: list[Event] = []
    for event in events:
        fact = event.fact
        fault = ""
        if isinstance(fact, Responded):  # first, being most of them
            fault = sessions.respond(fact)
        elif isinstance(fact, SessionOpened):
            fault = sessions.open(fact)
        elif isinstance(fact, SessionEnded):
            fault = sessions.end(fact)
        elif isinstance(fact, GenerationAsked | GenerationTold | ComponentFrozen):
            fault = search.take(event)
        elif isinstance(fact, StudyOpened) and kept:
            fault = "a study is opened once only, and this one is"
        if fault:
            problems.append(Problem(name, event.seq, fault, _LEFT_OUT))
        else:
            kept.append(event)
    problems += sessions.gaps(name)
    return search.without_what_follows_a_gap(kept, name, problems)


class _Sessions:
    """The sessions opened so far, and the trial that each is at."""

    def __init__(self) -> None:
        self._opened: dict[str, SessionOpened] = {}
        self._due: dict[str, int] = {}
        self._missing: dict[str, list[int]] = {}
        self._finished: set[str] = set()
        self._features: int | None = None

    def open(self, fact: SessionOpened) -> str:
        """Take a session in, or say what is wrong with it."""
        name, stimuli = fact.session, len(fact.x)
        if name in self._opened:
            return f"session {name} is opened a second time"
        widths = set(map(len, fact.x))
        if len(widths) > 1 or len(fact.y) != stimuli:
            return f"session {name} has stimuli or labels of different numbers"
        if widths and self._features not in (None, *widths):
            return (
                f"session {name} has stimuli of {widths.pop()} features, others have "
                f"{self._features}"
            )
        if not all(0 <= stimulus < stimuli for stimulus in fact.trials):
            return f"session {name} has trials of stimuli that it does not have"
        if not (
            0 <= fact.training_stimuli <= stimuli
            and 0 <= fact.training_trials <= len(fact.trials)
            and len(fact.right_rewarded) in (0, fact.training_trials)
        ):
            return f"session {name} says that it trains on more than it has"
        if widths:
            self._features = widths.pop()
        self._opened[name], self._due[name] = fact, 0
        return ""

    def respond(self, fact: Responded) -> str:
        """Take responses in, or say what is wrong with them."""
        opened = self._opened.get(fact.session)
        if opened is None:
            return f"a response in session {fact.session}, which was never opened"
        n = len(fact.trials)
        alike = (
            len(fact.outcomes)
            == len(fact.values)
            == len(fact.reaction_times_s)
            == len(fact.clocks)
            == n
        )
        if not alike or (fact.rewards and len(fact.rewards) != n):
            return f"responses in session {fact.session} with columns of other lengths"
        if n == 0:
            return f"a response in session {fact.session} to no trial"
        due, first = self._due[fact.session], fact.trials[0]
        if first < due or (n > 1 and fact.trials != list(range(first, first + n))):
            return (
                f"a response in session {fact.session} to trial {first}, where trial "
                f"{due} was due"
            )
        if first + n > len(opened.trials):
            return (
                f"a response in session {fact.session} to trial {first + n - 1} of "
                f"0 to {len(opened.trials) - 1}"
            )
        for outcome in fact.outcomes:
            if outcome not in OUTCOMES:
                return f"a response in session {fact.session} that came out {outcome!r}"
        # A dry run in process records test trials only.
        if first > due and not (due == 0 and first == opened.training_trials):
            self._missing.setdefault(fact.session, []).extend(range(due, first))
        self._due[fact.session] = first + n
        return ""

    def end(self, fact: SessionEnded) -> str:
        """Take an end in, or say what is wrong with it."""
        opened = self._opened.get(fact.session)
        if opened is None:
            return f"the end of session {fact.session}, which was never opened"
        if fact.status not in STATUSES:
            return f"session {fact.session} ended as {fact.status!r}"
        if fact.status == "finished":
            self._finished.add(fact.session)
        return ""

    def gaps(self, name: str) -> list[Problem]:
        """Trials without a response in sessions that have later ones, or are over."""
        for session in self._finished:
            trials, due = len(self._opened[session].trials), self._due[session]
            if due < trials:
                self._missing.setdefault(session, []).extend(range(due, trials))
        return [
            Problem(
                name,
                None,
                f"session {session} has lost its responses to trials {listed(trials)}",
                "its other trials are used; its error is the one stored at its end",
            )
            for session, trials in self._missing.items()
        ]


class _Search:
    """Where a search by generations should be, by what it asked and was told."""

    def __init__(self) -> None:
        self._frozen = 0
        self._told: dict[int, int] = {}
        self._pending: dict[int, bool] = {}
        self._gap: dict[int, int] = {}
        self._tells = False

    def take(self, event: Event) -> str:
        """Take a step in, or say what is wrong with it."""
        fact: Any = event.fact
        if isinstance(fact, ComponentFrozen):
            if fact.component != self._frozen:
                return (
                    f"component {fact.component} is frozen where component "
                    f"{self._frozen} was due: labellings follow from those before"
                )
            self._frozen += 1
            return ""
        if isinstance(fact, GenerationAsked):
            if len(set(map(len, fact.theta))) > 1:
                return f"generation {fact.generation} has candidates of unequal size"
            if len(fact.penalties) != len(fact.theta):
                return f"generation {fact.generation} has penalties of other candidates"
        # Where one has gone, the fold cannot follow the search any further.
        component, generation = fact.component, fact.generation
        telling = isinstance(fact, GenerationTold)
        due = self._told.get(component, 0)
        in_turn = generation == due and telling == self._pending.get(component, False)
        if not in_turn:
            self._gap.setdefault(component, min(generation, due))
        self._pending[component] = not telling
        self._told[component] = generation + telling
        self._tells |= telling
        return ""

    def without_what_follows_a_gap(
        self, events: list[Event], name: str, problems: list[Problem]
    ) -> list[Event]:
        """Without the steps that the component being searched for took after a gap.

        Frozen components are stored as they are, and need no search to be followed; a
        search that infers the subject is never told anything.
        """
        gap = self._gap.get(self._frozen)
        if gap is None or not self._tells:
            return events

        def lost(fact: Any) -> bool:
            steps = GenerationAsked | GenerationTold
            if not isinstance(fact, steps) or fact.component != self._frozen:
                return False
            return bool(fact.generation >= gap)

        dropped = [event for event in events if lost(event.fact)]
        if dropped:
            reason = (
                f"the search for component {self._frozen + 1} cannot be followed "
                f"beyond generation {gap}, of which a step is missing"
            )
            follows = (
                f"the component is shown as it stood then; {len(dropped)} later steps "
                "are left out, their sessions are used"
            )
            problems.append(Problem(name, dropped[0].seq, reason, follows))
        return [event for event in events if not lost(event.fact)]
