"""Studies of the hybrid search, made for benchmarks."""

from dataclasses import asdict
from typing import Any

from meta_learner.assignment import Design
from reproduction.settings import to_toml
from server.study_file import Study
from simulated_subjects.learner import Learner
from simulated_subjects.responses import ResponseModel
from stimuli.catalogue import SPACES


def helped_study(
    space: Any,
    design: Design,
    search: dict[str, Any],
    degree: int,
    subject: tuple[Learner, ResponseModel],
    seed: int,
) -> Study:
    """First component, labels of the basis up to ``degree``, any learner.

    ``space`` is one of the catalogue; ``search`` are the fields of the search beside
    its method.
    """
    name = next(name for name, kind in SPACES.items() if kind is type(space))
    text = to_toml(
        {
            "study": {"name": "helped", "seed": seed},
            "stimuli": {"space": name, **asdict(space)},
            "session": asdict(design),
            "search": {"method": "hybrid", **search},
            "labelling": {"family": "basis", "degree": degree},
        }
    )
    study = Study(text)
    # Not all of them can be named in a study file.
    study.learners[""], study.responses = subject
    return study
