"""What choices measure, and what noise does to a ranking."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from small_study import hello, open_desk, send, small_study, study_text

from analysis.finding import Finding, find
from analysis.psychometric import fitted
from analysis.wording import methods
from meta_learner.generalisation import (
    GeneralisationError,
    generalisation_error,
    shortfall,
)
from meta_learner.objective import Floats
from meta_learner.psychometric import Psychometric, fit_psychometric
from meta_learner.shrinkage import shrunk
from meta_learner.verification import Measured, compare
from server.events import SessionEnded, SessionOpened
from server.journal import Journal
from simulated_subjects.responses import TwoChoice

MAXIMISER = Psychometric(slope=8.0, side_bias=0.3, lapse=0.1)
Answers = Callable[[Floats], Floats]


def perfect(labels: Floats) -> Floats:
    """Mean answers of a maximiser that has generalised perfectly."""
    answers: Floats = MAXIMISER.expected(labels)
    return answers


def half(labels: Floats) -> Floats:
    """Mean answers of one that has generalised something else."""
    answers: Floats = MAXIMISER.expected(0.8 * np.sin(3 * labels))
    return answers


def coin(labels: Floats) -> Floats:
    """Mean answers of one that has not learnt."""
    return np.zeros_like(labels)


def simulated(
    answers: Answers,
    psychometric: Psychometric | None = None,
    without_side: bool = False,
    stimuli: int = 50,
    sessions: int = 1000,
) -> list[GeneralisationError]:
    """Sessions of a subject with these mean answers, each stimulus shown twice."""
    rng = np.random.default_rng(1)
    trials = np.tile(np.arange(stimuli), 2)
    found = []
    for _ in range(sessions):
        labels = rng.uniform(-1, 1, stimuli)
        right = rng.random(len(trials)) < (1 + answers(labels)[trials]) / 2
        measured = generalisation_error(
            labels.tolist(),
            trials.tolist(),
            np.where(right, 1.0, -1.0).tolist(),
            psychometric,
            without_side,
        )
        assert measured is not None
        found.append(measured)
    return found


def relative(found: list[GeneralisationError]) -> float:
    """Mean error over mean label variance."""
    errors = sum(f.error for f in found)
    return errors / sum(f.label_variance for f in found)


def truth(answers: Answers, psychometric: Psychometric | None, side: bool) -> float:
    """The error over all labels, without any noise."""
    labels = np.linspace(-1, 1, 10_001)
    ideal = labels if psychometric is None else psychometric.expected(labels)
    missed = ideal - answers(labels)
    return float(missed.var() if side else (missed**2).mean())


# --- ideal answers -------------------------------------------------------------


def test_a_psychometric_function_is_the_mean_of_simulated_choices() -> None:
    labels = np.linspace(-1, 1, 5)
    keys = jax.random.split(jax.random.key(0), 20_000)
    responses = TwoChoice(slope=8.0, side_bias=0.3, lapse=0.1)
    choices, _ = jax.vmap(responses.respond, (0, None))(keys, jnp.array(labels))
    np.testing.assert_allclose(choices.mean(0), MAXIMISER.expected(labels), atol=0.03)


def test_a_maximiser_is_not_punished_for_being_one() -> None:
    assert relative(simulated(perfect, MAXIMISER)) == pytest.approx(0, abs=0.01)
    assert relative(simulated(perfect)) > 0.4
    shift = perfect(np.linspace(-1, 1, 10_001))
    chance = 1 + shift.mean() ** 2 / shift.var()
    assert relative(simulated(coin, MAXIMISER)) == pytest.approx(chance, abs=0.03)
    without_side = simulated(coin, MAXIMISER, without_side=True)
    assert relative(without_side) == pytest.approx(1, abs=0.03)


@pytest.mark.parametrize("answers", [perfect, half, coin])
@pytest.mark.parametrize("psychometric", [None, MAXIMISER])
def test_errors_of_choices_are_unbiased(
    answers: Answers, psychometric: Psychometric | None
) -> None:
    found = [f.error for f in simulated(answers, psychometric)]
    spread = np.std(found) / np.sqrt(len(found))
    expected = truth(answers, psychometric, side=False)
    assert abs(np.mean(found) - expected) < 4 * spread


def test_leaving_out_the_side_is_unbiased() -> None:
    """Stimuli being given, of which there are few."""
    labels = np.linspace(-1, 1, 8)
    missed = labels - half(labels)
    trials = np.tile(np.arange(8), 2)
    rng = np.random.default_rng(0)
    found = []
    for _ in range(4000):
        right = rng.random(16) < (1 + half(labels)[trials]) / 2
        choices = np.where(right, 1.0, -1.0).tolist()
        one = generalisation_error(
            labels.tolist(), trials.tolist(), choices, without_side=True
        )
        assert one is not None
        found.append(one.error)
    spread = np.std(found) / np.sqrt(len(found))
    assert abs(np.mean(found) - missed.var()) < 4 * spread
    assert missed.mean() ** 2 > 4 * spread


@pytest.mark.parametrize(
    ("stimuli", "least"), [(100, 0.84), (50, 0.82), (25, 0.77), (12, 0.67)]
)
def test_standard_errors_cover_nine_in_ten_only_of_many_stimuli(
    stimuli: int, least: float
) -> None:
    """Of few stimuli they are too small: errors are skewed."""
    for answers in (perfect, half, coin):
        found = simulated(answers, MAXIMISER, stimuli=stimuli)
        expected = truth(answers, MAXIMISER, side=False)
        covered = [abs(f.error - expected) < 1.645 * f.standard_error for f in found]
        assert least < np.mean(covered) < 0.93


# --- the function, from answers ------------------------------------------------


def choices(labels: Floats, known: Floats) -> list[float]:
    """A maximiser's choices."""
    rng = np.random.default_rng(2)
    right = rng.random(len(labels)) < (1 + MAXIMISER.expected(known)) / 2
    found: list[float] = np.where(right, 1.0, -1.0).tolist()
    return found


def test_a_psychometric_function_is_found_from_answers_to_known_labels() -> None:
    labels = np.random.default_rng(3).uniform(-1, 1, 4000)
    found = fit_psychometric(labels.tolist(), choices(labels, labels))
    assert found is not None
    assert found.slope == pytest.approx(8, rel=0.15)
    assert found.side_bias == pytest.approx(0.3, abs=0.03)
    assert found.lapse == pytest.approx(0.1, abs=0.03)


def test_what_is_known_badly_looks_like_a_shallow_slope() -> None:
    """Why slope and lapse are not fitted where labels are not known."""
    rng = np.random.default_rng(3)
    labels = rng.uniform(-1, 1, 4000)
    guessed = labels + 0.5 * rng.standard_normal(4000)
    found = fit_psychometric(labels.tolist(), choices(labels, guessed))
    assert found is not None
    assert found.slope < 5


def test_few_answers_fit_nothing() -> None:
    assert fit_psychometric([0.1] * 19, [1.0] * 19) is None
    alike = fit_psychometric([0.1] * 20, [1.0] * 20)
    assert alike is not None  # the priors keep it in bounds
    assert alike.slope < 10


@pytest.mark.parametrize(
    ("slope", "side_bias", "lapse", "expected"),
    [
        (0.0, 0.0, 0.0, "slope must be above 0"),
        (2.0, np.inf, 0.0, "side_bias must be finite"),
        (2.0, 0.0, 1.0, "lapse must be 0 or more and below 1"),
    ],
)
def test_a_function_that_says_nothing_of_labels_is_refused(
    slope: float, side_bias: float, lapse: float, expected: str
) -> None:
    with pytest.raises(ValueError, match=expected):
        Psychometric(slope, side_bias, lapse)


# --- in sessions ---------------------------------------------------------------

REPORTED = study_text(
    session='response = "choice"\ntest_repeats = 2\ntraining_repeats = 4\n'
    "psychometric = { slope = 8, side_bias = 0.3, lapse = 0.1 }"
)


@pytest.fixture(scope="module")
def reported() -> Finding:
    """Subjects that know every label, and answer in training too."""
    journal, rng = Journal(":memory:", "small"), np.random.default_rng(0)
    desk = open_desk(journal, study=small_study(REPORTED))
    for number in range(8):
        session = hello(desk, f"mouse-{number}").session
        opened = desk.state.sessions[session].opened
        for i, stimulus in enumerate(opened.trials):
            right = rng.random() < (1 + perfect(np.array(opened.y[stimulus]))) / 2
            uid, value = f"{session}/{i}", 2.0 * right - 1
            assert send(desk, "respond", session=session, uid=uid, value=value).uid
    assert desk.state.finished
    finding = find("choices", list(journal.read()), replicates=3)
    journal.close()
    return finding


def test_choices_in_training_are_recorded_and_fitted(reported: Finding) -> None:
    trials = reported.frames.trials
    training = trials[trials["phase"] == "training"]
    assert training["response"].notna().all()
    function = fitted(reported.record, trials)[""]
    assert 4 < function.slope < 16
    assert function.side_bias == pytest.approx(0.3, abs=0.15)
    late = trials[trials["phase"] == "test"]
    assert not fitted(reported.record, late)


def test_sessions_are_scored_by_the_function_of_the_study(reported: Finding) -> None:
    for end in reported.record.facts(SessionEnded):
        opened = next(
            fact
            for fact in reported.record.facts(SessionOpened)
            if fact.session == end.session
        )
        ideal = MAXIMISER.expected(np.array(opened.y[opened.training_stimuli :]))
        assert end.label_variance == pytest.approx(ideal.var())


def test_the_report_says_how_choices_were_compared(reported: Finding) -> None:
    told = methods(reported)
    assert "by a psychometric function of slope 8, side bias 0.3, lapse 0.1;" in told
    assert "Late in training, choices about known stimuli fit slope" in told


def test_of_graded_answers_a_side_counts(journal: Journal) -> None:
    desk = open_desk(journal)
    session = hello(desk, "mouse").session
    for i in range(12):
        send(desk, "respond", session=session, uid=f"{session}/{i}", value=0.9)
    opened = desk.state.sessions[session].opened
    labels = np.array(opened.y[opened.training_stimuli :])
    (end,) = (e.fact for e in journal.read() if isinstance(e.fact, SessionEnded))
    assert end.error == pytest.approx(((labels - 0.9) ** 2).mean())


# --- shrinkage -----------------------------------------------------------------

ERRORS = arrays(float, (6, 2), elements=st.floats(-1, 3, width=16))


@given(ERRORS, st.floats(0.01, 2))
def test_equal_noise_leaves_the_order(errors: Floats, noise: float) -> None:
    found = shrunk(errors, np.full(errors.shape, noise))
    for column in range(2):
        before, after = errors[:, column], found[:, column]
        np.testing.assert_array_equal(np.argsort(before), np.argsort(after))
        assert np.ptp(after) <= np.ptp(before) + 1e-12
        assert after.mean() == pytest.approx(before.mean(), abs=1e-9)


@given(ERRORS)
def test_errors_without_noise_stay(errors: Floats) -> None:
    np.testing.assert_allclose(shrunk(errors, np.zeros(errors.shape)), errors)


def test_what_is_missing_stays_missing_and_one_error_stays() -> None:
    nothing = np.full((3, 1), np.nan)
    np.testing.assert_array_equal(shrunk(nothing, nothing), nothing)
    one = np.array([[np.nan], [0.4], [np.nan]])
    np.testing.assert_array_equal(shrunk(one, one), one)
    some = np.array([[np.nan], [0.4], [0.8]])
    found = shrunk(some, some / 4)
    assert np.isnan(found[0, 0])
    assert 0.4 < found[1, 0] < found[2, 0] < 0.8


def test_a_noisy_error_is_drawn_further() -> None:
    errors = np.array([[0.1], [0.1], [1.0], [1.2]])
    noise = np.array([[0.1], [0.5], [0.1], [0.1]])
    found = shrunk(errors, noise)[:, 0]
    assert found[1] > found[0] + 0.1


def test_shrunken_errors_are_nearer_to_the_truth() -> None:
    rng = np.random.default_rng(0)
    true = rng.normal(0.7, 0.2, (2000, 1))
    noise = rng.uniform(0.05, 0.6, true.shape)
    errors = true + noise * rng.standard_normal(true.shape)
    found = shrunk(errors, noise)
    assert ((found - true) ** 2).mean() < 0.4 * ((errors - true) ** 2).mean()


def test_a_comparison_confirms_what_differs_and_hardly_ever_what_does_not() -> None:
    rng = np.random.default_rng(0)

    def measured(mean: float) -> list[Measured]:
        each = rng.normal(mean, 0.3, (1000, 8))
        return [Measured(values, values) for values in each]

    def share(a: float, b: float, components: int) -> float:
        pairs = zip(measured(a), measured(b), strict=True)
        return float(np.mean([compare(x, y, components).easier for x, y in pairs]))

    assert share(0.1, 1.0, 1) > 0.95
    assert share(1.0, 1.0, 1) < 0.075
    assert share(1.0, 1.0, 3) < 0.03
    one, two = (Measured(*[np.arange(n) / 10] * 2) for n in (1, 2))
    assert np.isnan(compare(one, two).low)
    assert compare(one, two).difference == pytest.approx(0.05)
    nothing = Measured(np.array([np.nan]), np.array([np.nan]))
    assert np.isnan(compare(nothing, two).difference)


@settings(deadline=None)
@given(st.integers(0, 2**20), st.floats(0, 1), st.floats(-1, 1))
def test_a_shortfall_is_what_does_not_come_back(
    seed: int, share: float, side: float
) -> None:
    y = np.random.default_rng(seed).uniform(-1, 1, 20)
    assert shortfall(y, share * y + side) == pytest.approx(1 - share, abs=1e-9)
    assert np.isnan(shortfall(np.full(4, 0.3), y[:4]))


def test_eight_sessions_of_choices_confirm_what_is_half_learnt() -> None:
    rng = np.random.default_rng(1)

    def measured(share: float) -> Measured:
        errors, shortfalls = [], []
        for _ in range(8):
            y = np.repeat(rng.uniform(-0.87, 0.87, 25), 2)
            answers = np.where(rng.uniform(-1, 1, 50) < share * y, 1.0, -1.0)
            stimuli = np.repeat(np.arange(25), 2)
            error = generalisation_error(
                y[::2].tolist(), stimuli.tolist(), answers.tolist()
            )
            assert error is not None
            errors.append(error.error / error.label_variance)
            shortfalls.append(shortfall(y, answers))
        return Measured(np.array(errors), np.array(shortfalls))

    def by_errors(m: Measured) -> Measured:
        return Measured(m.errors, m.errors)

    pairs = [(measured(0.7), measured(0.0)) for _ in range(100)]
    confirmed = np.mean([compare(a, b, 3).easier for a, b in pairs])
    squares = [compare(by_errors(a), by_errors(b), 3).easier for a, b in pairs]
    assert confirmed > 0.95 > np.mean(squares) + 0.3
