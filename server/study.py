"""A study as a fold of its journal.

:class:`StudyState` changes in :meth:`StudyState.apply` and nowhere else; what
follows from it is decided in :mod:`server.steps`.
"""

import warnings
from collections.abc import Iterable, Sequence
from functools import singledispatchmethod

import jax.numpy as jnp
import numpy as np

from meta_learner.assignment import named_key
from meta_learner.evolution import Evolution
from meta_learner.gradient import Gradient, from_rows
from meta_learner.labelling import freeze
from server.events import (
    ClientSeen,
    ComponentFrozen,
    DroppedOut,
    ElitesChosen,
    Fact,
    GenerationAsked,
    GenerationTold,
    Halted,
    MetaSteps,
    ModelFitted,
    Responded,
    RewardAsked,
    RewardGiven,
    RuleFired,
    SessionEnded,
    SessionOpened,
    StudyFinished,
    StudyOpened,
    VerificationAsked,
)
from server.evidence import told
from server.modelling import fit_of
from server.scores import ONE_EACH, Allocation, Scores
from server.standing import Standing
from server.study_file import Study

IMPORTED = "imported"
"""The mode of a journal that ``penchant import`` made of a table of trials."""


class ResumeError(ValueError):
    """The journal belongs to another study file, mode or kind of run."""


class StudyState(Standing):
    """Where a study stands; changes in :meth:`apply` alone."""

    @singledispatchmethod
    def apply(self, fact: Fact) -> None:
        """Take one fact in; the only way in which the state changes.

        An answer in quarantine is kept without effect.
        """

    @apply.register
    def _open(self, fact: StudyOpened) -> None:
        if fact.mode == IMPORTED:
            raise ResumeError(
                f"study {self.study.name} is an imported table of trials: it can be "
                "analysed, and not continued. Name another journal with --journal"
            )
        if fact.sha256 != self.study.sha256:
            raise ResumeError(
                f"the journal of {self.study.name} was begun with another study file: "
                "a study is immutable once begun. Give the changed study another name "
                "or journal."
            )
        if fact.null != self.study.null:
            raise ResumeError("a study and its null cannot share a journal stream")
        self.opened = fact

    @apply.register
    def _ask(self, fact: GenerationAsked) -> None:
        before, was_carried = self._before, self.carried
        self._begin_round(len(fact.theta), fact.training_stimuli)
        for candidate in fact.carried:
            self.scores.carry(candidate, before)
            since = was_carried.get(candidate, fact.generation - 1)
            self.carried[candidate] = since
        self.theta = jnp.asarray(np.array(fact.theta, np.float32))
        self.penalties = np.array(fact.penalties)
        if self.study.by_model:
            self.generation = fact.generation
            self.asked += len(fact.theta)
            return
        asked, self.search = self.ask()
        others = (np.asarray(asked) != np.asarray(self.theta)).any(1)
        if others.sum() > len(fact.screened):
            warnings.warn(
                f"generation {fact.generation} of the journal cannot be computed again "
                "to the last digit by the versions of JAX or evosax installed here; "
                "the recorded candidates are used",
                stacklevel=2,
            )
        if not self.study.null:
            # Labels all the same: known before any subject sees them to be no
            # better than answering the mean.
            for candidate, one in enumerate(self.drawn(0)):
                if np.ptp(one.y[self.training_stimuli[candidate] :]) == 0:
                    self.scores.settle(candidate, 1.0)

    @apply.register
    def _verify(self, fact: VerificationAsked) -> None:
        self.verification = fact
        self._begin_round(len(fact.roles))
        self.theta = np.zeros((len(fact.roles), 0))

    def _begin_round(
        self, candidates: int, training_stimuli: Sequence[int] = ()
    ) -> None:
        """Candidates of which nothing is known yet."""
        section = self.study.file.allocation
        allocation = Allocation(
            section.subjects_per_candidate,
            section.replicate_above,
            section.most_subjects,
        )
        if self.verification is not None:  # its number of sessions is fixed
            allocation = ONE_EACH
        self.scores = Scores(candidates, len(self.study.groups), allocation)
        self.revision += 1
        self.carried = {}
        same = [self.study.design.training_stimuli] * candidates
        self.training_stimuli = list(training_stimuli) or same
        self.penalties = np.zeros((candidates, 2))
        self._drawn = {}

    @apply.register
    def _begin(self, fact: SessionOpened) -> None:
        self.attendance.begin(fact)
        self.scores.attempts[self.place(fact)] += 1
        self.revision += 1

    @apply.register
    def _end(self, fact: SessionEnded) -> None:
        session = self.attendance.end(fact)
        opened = session.opened
        current = self.is_current(opened)
        self.revision += current
        if fact.status == "lost":
            return
        self.sessions_ended += 1
        self.given_up += fact.status == "abandoned"
        modelled = self.study.by_model and opened.component == self.component == 0
        if modelled and fact.used and fact.status == "finished":
            self.told.append(told(session))
        if not current:
            return
        place = self.place(opened)
        if fact.used and fact.error is not None and fact.label_variance:
            objective, errors = self.study.objective, self.scores.errors
            measured = (fact.error, fact.standard_error or 0.0)
            self.scores.take(
                place, *(objective.counted(m, fact.label_variance) for m in measured)
            )
            if self.help and self.verification is None:
                self.help = self.help.taken(session)
            (combined,) = objective.combined(errors[place[:1], :])
            if not np.isnan(combined):
                best = np.inf if self.best_error is None else self.best_error
                self.best_error = min(float(combined), best)
        elif fact.status == "unusable":
            self.scores.miss(place)

    @apply.register
    def _tell(self, fact: GenerationTold) -> None:
        assert isinstance(self.study.search, Evolution)
        losses = np.array([np.nan if v is None else v for v in fact.losses])
        search = self.study.search
        self.search = self._once(
            ("tell", self.component, self.generation, losses.tobytes()),
            lambda: search.tell(self.search, self.theta, jnp.asarray(losses)),
        )
        self._running = self.running()
        self._last_theta, self._before = self.theta, self.scores
        if self.help:
            self.help = self.help.moved_on(fact)
        self.theta = None
        self.attendance.forget()
        self.generation += 1

    @apply.register
    def _fit(self, fact: ModelFitted) -> None:
        if self.help:
            self.help = self.help.refitted(fact)
            return
        self.search, self.fitted = fit_of(fact), fact.sessions
        rule = self.study.file.stopping
        if rule.width is not None and fact.width is not None:
            narrow = fact.width <= rule.width
            self.settled = narrow and fact.sessions >= rule.at_least

    @apply.register
    def _descend(self, fact: MetaSteps) -> None:
        assert isinstance(self.study.search, Gradient)
        self.search = from_rows(self.study.search, fact.search)
        self.generation += len(fact.errors)
        if not self.study.null:
            self.sessions_ended += len(fact.errors) * self.study.sessions_per_generation
            last = np.array(fact.errors[-1:], float)
            self.best_error = float(self.study.objective.combined(last)[0])

    @apply.register
    def _freeze(self, fact: ComponentFrozen) -> None:
        theta = jnp.asarray(np.array(fact.theta, np.float32))
        frozen = self._once(
            ("freeze", self.component),
            lambda: freeze(self.study.labeller, self.series, theta),
        )
        self.series = (*self.series, frozen)
        self.component += 1
        self.generation = 0
        self.theta = None
        if self.help:
            self.help = self.help._replace(past=())
        if not self.study.by_model:  # whose model finds all components at once
            key = named_key(self.study.seed, "search", self.component)
            self.search = self.study.search.init(key)

    @apply.register
    def _respond(self, fact: Responded) -> None:
        self.attendance.respond(fact)

    @apply.register
    def _halt(self, fact: Halted) -> None:
        self.attendance.halt(fact)

    @apply.register
    def _wish(self, fact: RewardAsked) -> None:
        self.attendance.wish(fact)

    @apply.register
    def _reward(self, fact: RewardGiven) -> None:
        self.attendance.reward(fact)

    @apply.register
    def _fire(self, fact: RuleFired) -> None:
        self.attendance.fire(fact)

    @apply.register
    def _drop(self, fact: DroppedOut) -> None:
        self.attendance.drop(fact)

    @apply.register
    def _choose(self, fact: ElitesChosen) -> None:
        self.scores.choose(fact.candidates)
        self.revision += 1

    @apply.register
    def _end_study(self, fact: StudyFinished) -> None:
        del fact
        self.finished = True

    @apply.register
    def _see(self, fact: ClientSeen) -> None:
        session = self.sessions.get(fact.session)
        if session and self.may_return(session):
            self.attendance.see(fact)
            self.revision += 1


def replay(study: Study, facts: Iterable[Fact]) -> StudyState:
    """The state after a journal's facts."""
    state = StudyState(study)
    for fact in facts:
        state.apply(fact)
    return state
