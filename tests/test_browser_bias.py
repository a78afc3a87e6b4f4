"""A bias planted behind the screen comes back out of the journal.

Participants see the page's pixels only, in a real browser before a real server.
"""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from browser import Live, Visit, chromium, live, needs_browser
from browser_learner import Brain, Learner, Seen, guesses, prefers

from analysis.distance import null_power
from analysis.record import Record, read
from analysis.subject import Reanalysis, reanalyse
from analysis.subject_wording import trusted
from meta_learner.spectrum import orders_of
from server.events import Responded, SessionEnded, SessionOpened

pytestmark = [pytest.mark.slow, needs_browser]

SESSIONS = 8
TRAINING, TEST = 8, 10
DEGREE = 4

STUDY = f"""
[study]
name = "planted"
seed = {{seed}}
[stimuli]
space = "circle"
shown_as = "direction"
[session]
training_stimuli = {TRAINING}
test_stimuli = {TEST}
[search]
method = "CMA_ES"
population = {SESSIONS}
generations = 1
[labelling]
family = "basis"
degree = {DEGREE}
[human]
practice_trials = 0
fixation_s = 0.03
feedback_s = 0.7
"""


class Played(NamedTuple):
    """What a study of one kind of participant left."""

    record: Record
    result: Reanalysis
    opened: list[SessionOpened]
    seen: list[Seen]


Play = Callable[[Callable[[int], Brain], int], Played]


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with chromium() as started:
        yield started


@pytest.fixture
def play(browser: Any, tmp_path: Path) -> Play:
    """Runs all sessions of a study, each of a participant of its own."""

    def run(born: Callable[[int], Brain], seed: int) -> Played:
        with live(tmp_path, STUDY.format(seed=seed)) as served:
            seen = [
                _session(browser, served, f"p{number}", born(100 * seed + number))
                for number in range(SESSIONS)
            ]
            events = [*served.journal.read()]
        record = read(events)
        facts = [event.fact for event in events]
        ended = [fact for fact in facts if isinstance(fact, SessionEnded)]
        assert [fact.status for fact in ended] == ["finished"] * SESSIONS
        answered = [fact for fact in facts if isinstance(fact, Responded)]
        assert len(answered) == SESSIONS * (TRAINING + TEST)
        (result,) = reanalyse(record, DEGREE, DEGREE)
        opened = [fact for fact in facts if isinstance(fact, SessionOpened)]
        return Played(record, result, opened, seen)

    return run


def _session(browser: Any, served: Live, name: str, brain: Brain) -> Seen:
    context = browser.new_context(viewport={"width": 800, "height": 700})
    try:
        visit = Visit(context.new_page())
        visit.page.goto(served.link(name))
        seen = Learner(visit, brain).run(TRAINING, TEST)
        assert not visit.faults
        return seen
    finally:
        context.close()


@pytest.mark.parametrize(("order", "seed"), [(3, 1), (3, 2), (4, 1), (4, 2)])
def test_a_bias_behind_the_screen_is_found(play: Play, order: int, seed: int) -> None:
    played = play(lambda number: prefers(order, number), seed)
    spectrum = played.result.spectrum.set_index("order")
    leading = played.result.power[played.result.power["component"] == 1]
    power = leading.set_index("order")["power"][order]
    names = orders_of(played.record.study.labeller.space).names
    null = null_power(played.record, (1,), 200)[:, 0, names.index(str(order))]
    print(
        f"order {order}, seed {seed}: errors {spectrum['error'].round(3).to_dict()}, "
        f"power {power:.3f}, null median {np.median(null):.2f}, "
        f"95 % {np.quantile(null, 0.95):.2f}, skill {played.result.skill.skill:.2f}, "
        f"p {spectrum['p_easier'][order]:.2f}"
    )
    assert spectrum["error"].idxmin() == order
    others = spectrum.drop(order)
    assert spectrum["error_high"][order] < 0.5 * others["error"].min()
    assert spectrum["p_easier"][order] <= 0.1  # at most one of 19 fits to shuffled
    assert power > 0.95
    assert power > np.quantile(null, 0.95), "what is found without a learner"
    assert np.median(null) < 0.5
    assert trusted(played.result)
    _saw_rightly(played)


@pytest.mark.parametrize("seed", [1, 2])
def test_a_participant_who_guesses_has_no_bias(play: Play, seed: int) -> None:
    played = play(guesses, seed)
    skill = played.result.skill
    spectrum = played.result.spectrum.set_index("order")
    print(
        f"guesses, seed {seed}: errors {spectrum['error'].round(2).to_dict()}, "
        f"{spectrum['beside_null'].to_dict()}, skill {skill.skill:.2f}"
    )
    assert not trusted(played.result)
    assert skill.skill < 0.2
    _saw_rightly(played)


def _saw_rightly(played: Played) -> None:
    """The page showed what the server meant."""
    off_deg, off_label = [], []
    for opened, seen in zip(played.opened, played.seen, strict=True):
        x = np.array(opened.x)[opened.trials]
        meant_deg = np.degrees(np.arctan2(x[:, 1], x[:, 0]))
        off_deg.append((np.array(seen.angles_deg) - meant_deg + 180) % 360 - 180)
        labels = np.array(opened.y)[opened.trials[: opened.training_trials]]
        off_label.append(np.array(seen.labels) - labels)
    print(
        f"misread by {np.abs(off_deg).max():.2f} degrees and "
        f"{np.abs(off_label).max():.4f} of the scale at most"
    )
    assert np.abs(off_deg).max() < 1.5
    assert np.abs(off_label).max() < 0.02
