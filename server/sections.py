"""What a study file says, section by section, checked by itself."""

from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from meta_learner.assignment import Design
from meta_learner.catalogue import SEARCHES
from meta_learner.hybrid import HELPED
from meta_learner.label_distribution import PENALTIES
from meta_learner.labelling import CONSTRUCTED
from meta_learner.objective import AIMS, CONTRASTS
from server.human_section import HumanSection
from server.safety_section import SafetySection
from server.section import Section

SUBJECT_MODEL = "subject_model"
"""The method that infers the subject."""

HYBRID = "hybrid"
"""The method in which a model of the subject helps an evolution strategy."""

METHODS = (*SEARCHES, SUBJECT_MODEL, HYBRID)

GroupName = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]{0,31}$")]


class StudySection(Section):
    """What is asked: name of the study, seed, number of components."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$")]
    seed: Annotated[int, Field(ge=0, lt=2**31)] = 0
    components: Annotated[int, Field(ge=1, le=64)] = 1
    exposure: Literal["naive", "carry_over"] = "naive"


class PsychometricSection(Section):
    """The fields of :class:`meta_learner.psychometric.Psychometric`."""

    slope: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 2.0
    side_bias: Annotated[float, Field(allow_inf_nan=False)] = 0.0
    lapse: Annotated[float, Field(ge=0, lt=1)] = 0.0


class SessionSection(Section):
    """What one session is: stimuli, repeats, kind of response, lease.

    By default ``feedback`` is the label for graded responses, and for choices a
    reward. ``psychometric`` is how subjects turn labels into choices; without it they
    are taken to match.
    """

    training_stimuli: Annotated[int, Field(ge=1, le=10_000)] = 30
    test_stimuli: Annotated[int, Field(ge=2, le=10_000)] = 50
    training_repeats: Annotated[int, Field(ge=1, le=1000)] = 1
    test_repeats: Annotated[int, Field(ge=1, le=1000)] = 1
    response: Literal["graded", "choice"] = "graded"
    feedback: Literal["label", "reward"] | None = None
    psychometric: PsychometricSection | None = None
    shared_stimuli: bool = True
    lease_s: Annotated[float, Field(gt=0)] = 30.0

    @model_validator(mode="after")
    def _psychometric_is_of_choices(self) -> "SessionSection":
        if self.psychometric and self.response != "choice":
            raise ValueError(
                'psychometric is of choices: expected response = "choice", or none'
            )
        return self

    @model_validator(mode="after")
    def _choices_need_repeats(self) -> "SessionSection":
        if self.response == "choice" and self.test_repeats < 2:
            raise ValueError(
                "choices need test_repeats of 2 or more: from one binary answer per "
                "stimulus the squared error cannot be told from choice noise"
            )
        return self

    def design(self) -> Design:
        """How sessions are laid out, with the default feedback filled in."""
        usual = {"graded": "label", "choice": "reward"}[self.response]
        laid_out = self.model_dump(exclude={"lease_s", "psychometric"})
        return Design(**laid_out | {"feedback": self.feedback or usual})


class SearchSection(Section):
    """How labellings are searched, and its budget.

    By an evosax strategy; by gradient (``adam``, ``adagrad``): then each generation
    is a meta-step and ``population`` its simulated individuals; or by inferring the
    subject (``subject_model``): then ``population`` sessions are asked together,
    and ``generations`` of them serve all components; or by an evolution ``strategy``
    that a model of the subject helps (``hybrid``).
    ``re_evaluate`` best candidates of each generation have a second session.
    """

    method: str = "DES"
    strategy: str | None = None
    population: Annotated[int, Field(ge=1, le=4096)] = 32
    generations: Annotated[int, Field(ge=1, le=100_000)] = 80
    step_size: Annotated[float, Field(gt=0)] | None = None
    re_evaluate: Annotated[int, Field(ge=0)] = 0

    @model_validator(mode="after")
    def _no_more_than_there_are(self) -> "SearchSection":
        if self.re_evaluate > self.population:
            raise ValueError(
                f"re_evaluate is {self.re_evaluate}, expected at most the population, "
                f"{self.population}"
            )
        return self

    @model_validator(mode="after")
    def _known_method(self) -> "SearchSection":
        if self.method not in METHODS:
            known = ", ".join(sorted(METHODS))
            raise ValueError(f"unknown method {self.method!r}; known: {known}")
        return self

    @model_validator(mode="after")
    def _a_strategy_that_can_be_helped(self) -> "SearchSection":
        if self.strategy is not None and self.method != HYBRID:
            raise ValueError(
                f"strategy is what method = {HYBRID!r} helps: expected none with "
                f"method = {self.method!r}"
            )
        if self.strategy not in (None, *HELPED):
            raise ValueError(
                f"strategy is {self.strategy!r}, expected one that a model can help: "
                f"{', '.join(HELPED)}"
            )
        return self

    @property
    def searched_by(self) -> str:
        """Name of the search that proposes candidates, in :data:`SEARCHES` if there."""
        return (self.strategy or "DES") if self.method == HYBRID else self.method


class AllocationSection(Section):
    """Which candidate the next subject gets, and when a generation is over.

    ``subjects_per_candidate`` sessions of each group; where the standard error of the
    error is above ``replicate_above``, one more, up to ``most_subjects``. From
    ``quorum``, a share of the candidates, a generation is over as soon as another
    subject would have to wait for slow ones, whose candidates the next one takes over.
    """

    subjects_per_candidate: Annotated[int, Field(ge=1, le=100)] = 1
    replicate_above: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = None
    most_subjects: Annotated[int, Field(ge=1, le=100)] = 3
    quorum: Annotated[float, Field(gt=0, le=1)] = 1.0

    @model_validator(mode="after")
    def _no_fewer_than_at_first(self) -> "AllocationSection":
        if self.replicate_above and self.most_subjects <= self.subjects_per_candidate:
            raise ValueError(
                f"most_subjects is {self.most_subjects}, expected more than "
                f"subjects_per_candidate ({self.subjects_per_candidate}) where "
                "replicate_above asks for others"
            )
        return self


class VerificationSection(Section):
    """Sessions that measure components at the end, beside their controls.

    So many for each component, for controls matched to each, and for labellings of
    the no-learner null, which all components share. By default none, and 6 where
    the search infers the subject.
    """

    sessions: Annotated[int, Field(ge=2, le=1000)] | Literal[0] | None = None


class StoppingSection(Section):
    """When a search that infers the subject may end before its budget is spent.

    Once the widest 90 % credible interval is at most ``width``: of the components'
    relative generalisation errors (``error``), or of the overlap of the space that
    they span with the one recovered (``space``).
    """

    width: Annotated[float, Field(gt=0, lt=10)] | None = None
    quantity: Literal["error", "space"] = "error"
    at_least: Annotated[int, Field(ge=1)] = 12


class ObjectiveSection(Section):
    """The meta-loss: which terms, and the weight of each.

    ``aim`` says how the errors of groups count together, and ``chosen`` names
    the group that a contrast favours; ``error = "raw"``, as in the paper, can be
    lowered by shrinking the labels.
    """

    generalisation_weight: Annotated[float, Field(gt=0)] = 1.0  # 0 is --null
    aim: str = "single"
    chosen: str | None = None
    error: Literal["relative", "raw"] = "relative"
    label_distribution: str = "standardised"
    label_distribution_weight: Annotated[float, Field(ge=0)] = 1.0
    orthogonality: Literal["exact", "penalty"] = "exact"
    orthogonality_weight: Annotated[float, Field(ge=0)] = 1.0

    @model_validator(mode="after")
    def _known_distribution(self) -> "ObjectiveSection":
        known = [*CONSTRUCTED, "none", *PENALTIES]
        if self.label_distribution not in known:
            raise ValueError(
                f"label_distribution is {self.label_distribution!r}, "
                f"expected one of {', '.join(known)}"
            )
        return self


class StudyFile(Section):
    """A study file's content; sections with a catalogue keep their options."""

    study: StudySection
    stimuli: dict[str, Any]
    labelling: dict[str, Any] = Field({"family": "mlp"})
    session: SessionSection = SessionSection()
    search: SearchSection = SearchSection()
    objective: ObjectiveSection = ObjectiveSection()
    verification: VerificationSection = VerificationSection()
    stopping: StoppingSection = StoppingSection()
    allocation: AllocationSection = AllocationSection()
    safety: SafetySection | None = None
    human: HumanSection = HumanSection()
    simulated_subject: dict[str, Any] | None = None
    simulated_responses: dict[str, Any] = Field({})
    groups: dict[GroupName, dict[str, Any]] = Field({})
    """Groups of subjects, each with the learner that stands in for it."""

    @model_validator(mode="after")
    def _carry_over_needs_fresh_stimuli(self) -> "StudyFile":
        if self.study.exposure == "carry_over" and self.session.shared_stimuli:
            raise ValueError(
                "carry_over needs shared_stimuli = false: a subject of several "
                "sessions must not meet a stimulus again under another label"
            )
        if self.study.exposure == "carry_over" and self.search.re_evaluate:
            raise ValueError(
                "search.re_evaluate needs naive subjects: under carry_over one could "
                "meet a labelling that it has learnt before"
            )
        return self

    @model_validator(mode="after")
    def _a_quorum_leaves_nobody_out(self) -> "StudyFile":
        if self.allocation.quorum == 1:
            return self
        if self.search.searched_by not in HELPED:
            raise ValueError(
                f"allocation.quorum is {self.allocation.quorum:g}, with which a "
                "generation takes over candidates of the one before: expected 1, or a "
                f"search that learns from any candidates: {', '.join(HELPED)}"
            )
        if self.search.method == HYBRID or self.search.re_evaluate:
            raise ValueError(
                f"allocation.quorum is {self.allocation.quorum:g}: expected 1 with "
                "method = 'hybrid' or with re_evaluate, which wait for a generation"
            )
        return self

    @model_validator(mode="after")
    def _a_model_takes_one_session_each(self) -> "StudyFile":
        modelled = self.search.method in (SUBJECT_MODEL, HYBRID)
        several = self.allocation.subjects_per_candidate > 1
        if modelled and (several or self.allocation.replicate_above):
            raise ValueError(
                f"search.method is {self.search.method}, which learns more from "
                "another labelling than from the same again: expected "
                "subjects_per_candidate = 1 and no replicate_above"
            )
        return self

    @model_validator(mode="after")
    def _groups_fit_the_aim(self) -> "StudyFile":
        aim, chosen, groups = self.objective.aim, self.objective.chosen, self.groups
        if aim not in AIMS:
            raise ValueError(
                f"objective.aim is {aim!r}, expected one of {', '.join(AIMS)}"
            )
        if (aim == "single") != (not groups):
            raise ValueError(
                f"objective.aim is {aim!r} with {len(groups)} groups: expected single "
                "without groups, and another aim with them"
            )
        if groups and (len(groups) < 2 or (aim in CONTRASTS and len(groups) > 2)):
            raise ValueError(
                f"groups: expected two{'' if aim in CONTRASTS else ' or more'} "
                f"with the aim {aim}, got {len(groups)}"
            )
        if (chosen in groups) != (aim in CONTRASTS) or (chosen and not groups):
            raise ValueError(
                f"objective.chosen is {chosen!r}, expected "
                f"{'one of ' + ', '.join(groups) if aim in CONTRASTS else 'none'} "
                f"with the aim {aim}"
            )
        if groups and self.simulated_subject is not None:
            raise ValueError(
                "simulated_subject: with groups each has its learner in its own "
                f"section, such as [groups.{next(iter(groups))}]"
            )
        return self
