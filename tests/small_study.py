"""A study small enough for a test, a clock to set, and subjects without waiting."""

from collections.abc import Callable
from copy import copy
from functools import cache
from itertools import count
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from server.desk import Desk
from server.dry_run import dry_run
from server.events import Event, Fact
from server.journal import Journal
from server.protocol import Done, Reply
from server.study import StudyState
from server.study_file import Study
from subject_clients.loop import Subject
from subject_clients.simulated import Simulated
from subject_clients.transport import InMemory

STUDY = """
[study]
name = "small"
seed = 3
{study}
[stimuli]
space = "sphere"

[session]
training_stimuli = 6
test_stimuli = 6
lease_s = 30.0
{session}
[search]
population = 4
generations = 2

[labelling]
family = "linear"

[simulated_subject]
learner = "kernel_ridge"
features = 20

[simulated_responses]
{responses}
"""


def study_text(study: str = "", session: str = "", responses: str = "") -> str:
    """The study file, with more lines in some sections."""
    return STUDY.format(study=study, session=session, responses=responses)


CHOICE = study_text(session='response = "choice"\ntest_repeats = 2')


@cache
def small_study(text: str = study_text(), null: bool = False) -> Study:
    """One study object for all tests, since each compiles anew."""
    return Study(text, null)


def renamed(name: str) -> Study:
    """The small study under another name; what is compiled for one serves both."""
    study = copy(small_study())
    section = study.file.study.model_copy(update={"name": name})
    study.file = study.file.model_copy(update={"study": section})
    return study


class Clock:
    """A clock that a test sets."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def open_desk(journal: Journal, clock: Clock | None = None, **options: Any) -> Desk:
    """A desk for the small study, or for the one in ``options``."""
    options = dict[str, Any](study=small_study(), mode="dry-run") | options
    clock = clock or Clock()
    return Desk(journal=journal, wall=clock, monotonic=clock, **options)


def send(desk: Desk, kind: str, **message: Any) -> Any:
    """One message to a desk; ``Any`` spares the tests a cast for each reply."""
    return desk.handle(kind, message)


def hello(desk: Desk, subject: str, **more: Any) -> Any:
    """A subject says hello."""
    return send(desk, "hello", protocol=1, subject=subject, **more)


def be_born(study: Study, group: str = "") -> Simulated:
    """A simulated subject of a study."""
    return Simulated(study.stand_ins()[group], study.responses, study.seed)


def run_one(
    handle: Callable[[str, Any], Reply],
    name: str,
    study: Study | None = None,
    sleep: Callable[[float], object] | None = None,
    group: str = "",
) -> Done:
    """One simulated subject runs one session through a handler.

    Told to wait it calls ``sleep``; without one that is a fault of the test.
    """

    def never(_: float) -> None:
        raise AssertionError("a subject alone at its desk was told to wait")

    subject = Subject(
        name,
        be_born(study or small_study(), group),
        InMemory(handle),
        sleep=sleep or never,
        group=group,
    )
    return subject.run_session()


def run_all(desk: Desk) -> None:
    """Simulated subjects come one after the other until the study is over."""
    study = desk.state.study
    for number in count():
        group = next((g for g in study.groups if desk.state.free(g)), study.groups[0])
        if run_one(desk.handle, f"sim-{number}", study, group=group).study:
            return


def played(folder: Path, text: str, null: bool = False) -> list[Event]:
    """The journal of a dry run in process, ``journal.db`` in a folder."""
    study = small_study(text, null)
    journal = Journal(folder / "journal.db", study.name)
    dry_run(study, journal)
    events = list(journal.read())
    journal.close()
    return events


def facts(journal: Journal, *kinds: type[Fact]) -> list[Any]:
    """The facts of a journal, or those of some kinds."""
    every = [event.fact for event in journal.read()]
    return [fact for fact in every if not kinds or isinstance(fact, kinds)]


def write_study(folder: Path, text: str = study_text()) -> Path:
    """The study file in a folder."""
    path = folder / "small.toml"
    path.write_text(text, encoding="utf-8")
    return path


def snapshot(state: StudyState) -> dict[str, Any]:
    """All of a state that must come back by replay, in comparable values."""
    arrays = (state.search, state.series, state.theta)
    plain = [
        "component",
        "generation",
        "finished",
        "sessions_ended",
        "best_error",
        "opened",
        "carried",
    ]
    return {
        "arrays": [_comparable(leaf) for leaf in jax.tree.leaves(arrays)],
        **{
            name: _comparable(value)
            for name, value in vars(state.scores).items()
            if name not in ("elites", "_allocation")
        },
        **vars(state.attendance),
        "penalties": _comparable(state.penalties),
        "elites": state.scores.elites,
        **{name: getattr(state, name) for name in plain},
    }


def _comparable(array: Any) -> tuple[Any, bytes]:
    if isinstance(array, jax.Array) and jnp.issubdtype(
        array.dtype, jax.dtypes.prng_key
    ):
        array = jax.random.key_data(array)
    plain = np.asarray(array)
    return plain.shape, plain.tobytes()
