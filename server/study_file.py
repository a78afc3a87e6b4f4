"""The study file: one scientific question, written down and checked."""

import contextlib
import dataclasses
import hashlib
import tomllib
from functools import partial
from pathlib import Path

import jax
from pydantic import ValidationError

from meta_learner.assignment import Design, named_key
from meta_learner.catalogue import SEARCHES
from meta_learner.evolution import Evolution
from meta_learner.families import FAMILIES, Basis, LabellingFamily
from meta_learner.gradient import Gradient
from meta_learner.labelling import Labeller
from meta_learner.objective import Objective
from meta_learner.psychometric import Psychometric
from meta_learner.subject_model import SubjectModel, degree_for
from meta_learner.subject_search import SubjectSearch
from server.build import build, build_learner, faults_of
from server.fit import misfits
from server.human_task import HumanStudy
from server.sections import HYBRID, SUBJECT_MODEL, StudyFile
from simulated_subjects.learner import Learner
from simulated_subjects.private_noise import PrivateNoise
from simulated_subjects.responses import RESPONSE_MODELS, ResponseModel
from stimuli.catalogue import SPACES
from stimuli.space import FromFile, StimulusSpace


class StudyFileError(ValueError):
    """A study file that cannot be used, with every fault it has."""


class Study:
    """A study file with everything it names built: what the server works from.

    Immutable; ``text`` is the file as written and ``sha256`` the hash of
    it and of the stimulus table and planted subjects that it names. ``groups`` are the
    names of the groups of subjects, the chosen one of a contrast first, or one empty
    name; ``learners`` are those that stand in for them in a dry run. ``helper`` is the
    model of the subject that helps an evolution strategy, if one does.
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
        # What files hold is part of the study.
        files = [space, *map(_itself, self.learners.values())]
        held = [each.content() for each in files if isinstance(each, FromFile)]
        self.sha256 = _hash(b"".join([text.encode(), *held]))
        objective = self.file.objective
        self.labeller = Labeller(
            space, family, objective.label_distribution, objective.orthogonality
        )
        self.design = self.file.session.design()
        try:
            number = self.design.training_stimuli + self.design.test_stimuli
            # Whether there are so many; nothing is drawn.
            jax.eval_shape(partial(space.sample, n=number), named_key(0))
            self.search = self._search()
            self.helper = self._helper()
        except ValueError as error:
            raise StudyFileError(str(error)) from error
        if self.by_gradient:
            self._check_gradient()
        if self.file.stopping.width is not None and not self.by_model:
            raise StudyFileError(
                "stopping.width: only with search.method subject_model"
            )
        self.objective = Objective(
            0.0 if null else objective.generalisation_weight,
            objective.label_distribution_weight,
            objective.orthogonality_weight,
            objective.aim,
            objective.error == "relative",
        )

    def _search(self) -> Evolution | Gradient | SubjectSearch:
        search = self.file.search
        space, family = self.labeller.space, self.labeller.family
        if search.method != SUBJECT_MODEL:
            sizes = [search.step_size] if search.step_size else []
            return SEARCHES[search.searched_by](
                search.population, family.genes(space), *sizes
            )
        constructed = ("standardised", "exact")
        if not isinstance(family, Basis) or constructed != (
            self.labeller.label_distribution,
            self.labeller.orthogonality,
        ):
            raise ValueError(
                "search.method is subject_model, which proposes functions of the "
                'space\'s basis: expected labelling.family = "basis", with '
                "standardised labels, orthogonal by construction"
            )
        if self.file.groups or search.re_evaluate or search.step_size:
            raise ValueError(
                "search.method is subject_model, which infers one subject from every "
                "answer: expected no groups, re_evaluate = 0 and no step_size. "
                "`penchant reanalyse` infers the subject of each group"
            )
        model = SubjectModel(space, family.degree, self.design.response)
        model.check()
        return SubjectSearch(model, self.design, search.population)

    def _helper(self) -> SubjectModel | None:
        """The model that helps the search; a null has nobody to model."""
        if self.file.search.method != HYBRID:
            return None
        session = self.file.session
        if self.file.groups or self.file.search.re_evaluate:
            raise ValueError(
                "search.method is hybrid, whose model is of one subject, and of one "
                "session on each candidate: expected no groups and re_evaluate = 0. "
                "An evosax strategy on its own, such as DES, takes both"
            )
        if self.file.objective.error != "relative" or session.psychometric:
            raise ValueError(
                "search.method is hybrid, whose model predicts errors relative to the "
                'variance of labels: expected objective.error = "relative" and no '
                "session.psychometric"
            )
        if self.null:
            return None
        space, family = self.labeller.space, self.labeller.family
        degree = degree_for(space)
        if isinstance(family, Basis):
            # An order more than labellings have: answers have it, and the model
            # proves right sooner.
            degree = min(family.degree + 1, max(family.degree, degree))
        return SubjectModel(space, degree, session.response)

    @property
    def name(self) -> str:
        """Name of the study: that of its stream in the journal."""
        return self.file.study.name + ("-null" if self.null else "")

    @property
    def seed(self) -> int:
        """Seed of every draw."""
        return self.file.study.seed

    @property
    def psychometric(self) -> Psychometric | None:
        """How subjects turn labels into choices, where the study file says so."""
        section = self.file.session.psychometric
        return Psychometric(**section.model_dump()) if section else None

    @property
    def sessions(self) -> int:
        """Sessions that the whole study takes when none is lost."""
        if self.objective.generalisation_weight == 0:
            return 0
        return self.exploring_sessions + self.verifying_sessions

    def human(self) -> HumanStudy:
        """What a human is told and shown in a session of this study."""
        design = self.design
        return HumanStudy(
            study=self.name,
            response=design.response,
            training_trials=design.training_trials,
            test_trials=design.test_trials,
            task=self.file.human.task(),
        )

    @property
    def exploring_sessions(self) -> int:
        """Sessions of the search, before components are verified."""
        return self.generations * self.sessions_per_generation

    @property
    def verified(self) -> int:
        """Sessions in which each component is measured in the end."""
        asked = self.file.verification.sessions
        return asked if asked is not None else 6 * self.by_model

    @property
    def verifying_sessions(self) -> int:
        """Sessions that measure components and their controls."""
        labellings = 2 * self.file.study.components + 1
        return self.verified * labellings * len(self.groups)

    @property
    def sessions_per_generation(self) -> int:
        """Sessions that score one generation."""
        search, allocation = self.file.search, self.file.allocation
        each = search.population * allocation.subjects_per_candidate
        return (each + search.re_evaluate) * len(self.groups)

    @property
    def by_gradient(self) -> bool:
        """Whether the search differentiates through its simulated subjects."""
        return isinstance(self.search, Gradient)

    @property
    def by_model(self) -> bool:
        """Whether the search infers the subject from every answer."""
        return isinstance(self.search, SubjectSearch)

    @property
    def infers(self) -> bool:
        """Whether a model of the subject is fitted, to search by or to help."""
        return self.by_model or self.helper is not None

    @property
    def carries(self) -> bool:
        """Whether a generation takes over candidates whose sessions still run."""
        return self.file.allocation.quorum < 1 and isinstance(self.search, Evolution)

    def _check_gradient(self) -> None:
        """Refuse what a gradient would pass over in silence."""
        if self.verified:
            raise StudyFileError(
                "verification.sessions: a gradient search has no sessions, expected 0"
            )
        if self.file.search.re_evaluate:
            raise StudyFileError(
                "search.re_evaluate is of an evolution strategy: a gradient has no "
                "candidates to choose from, expected 0"
            )
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
        """Generations of the whole study; a model's serve all components."""
        series = 1 if self.by_model else self.file.study.components
        return series * self.file.search.generations

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

    Paths in it are meant relative to the study file.
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


def _itself(learner: Learner) -> Learner:
    """A learner without the noise with which it hears."""
    return learner.learner if isinstance(learner, PrivateNoise) else learner


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
