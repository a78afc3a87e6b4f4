"""The study file: one scientific question, written down and checked."""

import contextlib
import dataclasses
import hashlib
import tomllib
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    model_validator,
)

from meta_learner.assignment import Design, named_key
from meta_learner.catalogue import SEARCHES
from meta_learner.evolution import Evolution
from meta_learner.families import FAMILIES, LabellingFamily
from meta_learner.gradient import Gradient
from meta_learner.label_distribution import PENALTIES
from meta_learner.labelling import CONSTRUCTED, Labeller
from meta_learner.objective import AIMS, CONTRASTS, Objective
from server.build import build, build_learner, faults_of
from server.fit import misfits
from simulated_subjects.learner import Learner
from simulated_subjects.responses import RESPONSE_MODELS, ResponseModel
from stimuli.catalogue import SPACES
from stimuli.space import FromFile, StimulusSpace

GroupName = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]{0,31}$")]

TEMPLATE = (Path(__file__).parent / "template.toml").read_text(encoding="utf-8")
"""A commented study file to start from."""


class StudyFileError(ValueError):
    """A study file that cannot be used, with every fault it has."""


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class StudySection(_Section):
    """What is asked: name of the study, seed, number of components."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$")]
    seed: Annotated[int, Field(ge=0, lt=2**31)] = 0
    components: Annotated[int, Field(ge=1, le=64)] = 1
    exposure: Literal["naive", "carry_over"] = "naive"


class SessionSection(_Section):
    """What one session is: stimuli, repeats, response, feedback, lease.

    By default ``feedback`` is the label for graded responses, and for choices
    a reward.
    """

    training_stimuli: Annotated[int, Field(ge=1, le=10_000)] = 30
    test_stimuli: Annotated[int, Field(ge=2, le=10_000)] = 50
    training_repeats: Annotated[int, Field(ge=1, le=1000)] = 1
    test_repeats: Annotated[int, Field(ge=1, le=1000)] = 1
    response: Literal["graded", "choice"] = "graded"
    feedback: Literal["label", "reward"] | None = None
    shared_stimuli: bool = True
    lease_s: Annotated[float, Field(gt=0)] = 30.0

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
        laid_out = self.model_dump(exclude={"lease_s"})
        return Design(**laid_out | {"feedback": self.feedback or usual})


class SearchSection(_Section):
    """How labellings are searched, and its budget.

    By an evosax strategy, or by gradient (``adam``, ``adagrad``): then each
    generation is a meta-step and ``population`` its simulated individuals.
    """

    method: str = "DES"
    population: Annotated[int, Field(ge=1, le=4096)] = 32
    generations: Annotated[int, Field(ge=1, le=100_000)] = 80
    step_size: Annotated[float, Field(gt=0)] | None = None

    @model_validator(mode="after")
    def _known_method(self) -> "SearchSection":
        if self.method not in SEARCHES:
            known = ", ".join(sorted(SEARCHES))
            raise ValueError(f"unknown method {self.method!r}; known: {known}")
        return self


class ObjectiveSection(_Section):
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


class StudyFile(_Section):
    """A study file's content; sections with a catalogue keep their options."""

    study: StudySection
    stimuli: dict[str, Any]
    labelling: dict[str, Any] = {"family": "mlp"}
    session: SessionSection = SessionSection()
    search: SearchSection = SearchSection()
    objective: ObjectiveSection = ObjectiveSection()
    simulated_subject: dict[str, Any] | None = None
    simulated_responses: dict[str, Any] = {}
    groups: dict[GroupName, dict[str, Any]] = {}
    """Groups of subjects, each with the learner that stands in for it."""

    @model_validator(mode="after")
    def _carry_over_needs_fresh_stimuli(self) -> "StudyFile":
        if self.study.exposure == "carry_over" and self.session.shared_stimuli:
            raise ValueError(
                "carry_over needs shared_stimuli = false: a subject of several "
                "sessions must not meet a stimulus again under another label"
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


class Study:
    """A study file with everything it names built: what the server works from.

    Immutable; ``text`` is the file as written and ``sha256`` the hash of
    it and of the stimulus table that it names. ``groups`` are the names of the
    groups of subjects, the chosen one of a contrast first, or one empty name;
    ``learners`` are those that stand in for them in a dry run.
    """

    def __init__(self, text: str, null: bool = False) -> None:
        """Check and build; raises :class:`StudyFileError` with every fault."""
        self.text = text
        self.sha256 = _hash(text.encode())
        self.null = null
        self.file = _parse(text)
        faults: list[str] = []
        space: StimulusSpace = build(
            SPACES, "stimuli", "space", self.file.stimuli, faults
        )
        family: LabellingFamily = build(
            FAMILIES, "labelling", "family", self.file.labelling, faults
        )
        self.groups = _groups(self.file)
        self.learners = _learners(self.file, faults)
        kind = self.file.session.response
        self.responses: ResponseModel = build(
            {kind: RESPONSE_MODELS[kind]},
            "simulated_responses",
            None,
            self.file.simulated_responses,
            faults,
        )
        _refuse(faults)
        _refuse(misfits(space, family, self.learners))
        if isinstance(space, FromFile):  # what that holds is part of the study
            self.sha256 = _hash(text.encode() + space.content())
        objective, search = self.file.objective, self.file.search
        self.labeller = Labeller(
            space, family, objective.label_distribution, objective.orthogonality
        )
        self.design = self.file.session.design()
        try:
            space.sample(
                named_key(0), self.design.training_stimuli + self.design.test_stimuli
            )
            sizes = [search.step_size] if search.step_size else []
            self.search: Evolution | Gradient = SEARCHES[search.method](
                search.population, family.genes(space), *sizes
            )
        except ValueError as error:
            raise StudyFileError(str(error)) from error
        if self.by_gradient:
            self._check_gradient()
        self.objective = Objective(
            0.0 if null else objective.generalisation_weight,
            objective.label_distribution_weight,
            objective.orthogonality_weight,
            objective.aim,
            objective.error == "relative",
        )

    @property
    def name(self) -> str:
        """Name of the study: that of its stream in the journal."""
        return self.file.study.name + ("-null" if self.null else "")

    @property
    def seed(self) -> int:
        """Seed of every draw."""
        return self.file.study.seed

    @property
    def sessions(self) -> int:
        """Sessions that the whole study takes when none is lost."""
        if self.objective.generalisation_weight == 0:
            return 0
        return self.generations * self.sessions_per_generation

    @property
    def sessions_per_generation(self) -> int:
        """Sessions that score one generation."""
        return self.file.search.population * len(self.groups)

    @property
    def by_gradient(self) -> bool:
        """Whether the search differentiates through its simulated subjects."""
        return isinstance(self.search, Gradient)

    def _check_gradient(self) -> None:
        """Refuse what a gradient would pass over in silence."""
        plain = Design(self.design.training_stimuli, self.design.test_stimuli)
        shared = dataclasses.replace(self.design, shared_stimuli=True)
        if shared != plain or self.responses != RESPONSE_MODELS["graded"]():
            raise StudyFileError(
                f"search.method {self.file.search.method} trains on the labels "
                "themselves, once each: expected graded responses, labels as "
                "feedback, repeats of 1, and no noise or omissions in "
                "[simulated_responses]"
            )

    def check_sessions(self) -> None:
        """Raise :class:`StudyFileError` where no subject could have a session."""
        if self.by_gradient:
            raise StudyFileError(
                f"search.method is {self.file.search.method}, a gradient through "
                "simulated subjects: it has no sessions. Use `penchant dry-run` "
                "in process, or an evosax strategy such as DES"
            )

    @property
    def generations(self) -> int:
        """Generations of the whole study."""
        return self.file.study.components * self.file.search.generations

    @property
    def learner(self) -> Learner | None:
        """The learner that stands in for the subject of a study without groups."""
        return self.learners.get("")

    def stand_ins(self) -> dict[str, Learner]:
        """A learner for every group; raises :class:`StudyFileError` if one has none."""
        for group in self.groups:
            if group not in self.learners:
                section = f"groups.{group}" if group else "simulated_subject"
                raise StudyFileError(
                    f"there is no [{section}] section with a learner: "
                    "nobody to simulate"
                )
        return self.learners


def load(path: Path, null: bool = False) -> Study:
    """Read and check a study file; raises :class:`StudyFileError`.

    A table's path is meant relative to the study file.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise StudyFileError(f"cannot read study file {path}: {error}") from error
    try:
        with contextlib.chdir(path.parent):
            return Study(text, null)
    except StudyFileError as error:
        raise StudyFileError(f"{path}: {error}") from error


def _parse(text: str) -> StudyFile:
    try:
        return StudyFile.model_validate(tomllib.loads(text))
    except tomllib.TOMLDecodeError as error:
        raise StudyFileError(f"not valid TOML: {error}") from error
    except ValidationError as error:
        raise StudyFileError("\n  ".join(["", *faults_of(error)])) from error


def _hash(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _refuse(faults: list[str]) -> None:
    if faults:
        raise StudyFileError("\n  ".join(["", *faults]))


def _groups(file: StudyFile) -> tuple[str, ...]:
    """Names of the groups, the chosen one first; one without name if there are none."""
    chosen = file.objective.chosen
    return tuple(sorted(file.groups, key=lambda name: name != chosen)) or ("",)


def _learners(file: StudyFile, faults: list[str]) -> dict[str, Learner]:
    """The learner that stands in for each group, of those that have one."""
    sections = {
        name: (f"groups.{name}", options)
        for name, options in file.groups.items()
        if options
    }
    if file.simulated_subject is not None:
        sections[""] = ("simulated_subject", file.simulated_subject)
    return {
        group: build_learner(section, options, faults)
        for group, (section, options) in sections.items()
    }
