"""Evolution helped by the subject model: exact without skill, better with it."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from meta_learner import hybrid
from meta_learner.assignment import Design
from meta_learner.evolution import Evolution
from meta_learner.families import Basis
from meta_learner.hybrid import HELPED, UNTRIED, Predictions, judge, reduced, screen
from meta_learner.labelling import Labeller
from meta_learner.objective import Floats
from meta_learner.subject_fit import start
from meta_learner.subject_model import SubjectModel
from stimuli.sphere import Sphere

POPULATION = 16
SPHERE = Sphere()
SEARCH = Evolution("CMA_ES", POPULATION, 15)
LABELLER, DESIGN = Labeller(SPHERE, Basis(3)), Design(12, 12)
MODEL = SubjectModel(SPHERE, 3, "graded")


def generations(
    rng: np.random.Generator, count: int, skill: float, noise: float = 0.3
) -> tuple[list[Predictions], Floats]:
    """Past generations, and the true errors of each ``(count, POPULATION)``.

    ``skill`` is the correlation of predicted and true errors, and the part of the
    stimuli's effect that the model ascribes to them.
    """
    shape = (count, POPULATION)
    true, other = rng.normal(0.6, 0.2, (2, *shape))
    expected = skill * true + (1 - skill**2) ** 0.5 * other
    stimuli, else_ = rng.normal(0, 0.2, (2, *shape))
    given = expected + skill * stimuli + (1 - skill**2) ** 0.5 * else_
    measured = true + stimuli
    # Errors are noisier than gains, which fall where errors rise.
    noises = rng.normal(0, noise, (2, *shape)) * np.array([3, 1])[:, None, None]
    rows = [np.stack([one, -one], 1) for one in (expected, given)]
    error = np.tile([[3 * noise], [noise]], (count, 1, POPULATION))
    both = np.stack([measured + noises[0], noises[1] - measured], 1)
    each = zip(both, error, *rows, strict=True)
    return [Predictions(*one) for one in each], true


def test_without_trust_evolution_proposes_what_is_shown() -> None:
    state = SEARCH.init(jax.random.key(0))
    asked, after = SEARCH.ask(state, jax.random.key(1))
    theta, also = hybrid.proposals(SEARCH, state, jax.random.key(1), 3)
    assert theta.shape == (3 * POPULATION, 15)
    for one, other in zip(jax.tree.leaves(after), jax.tree.leaves(also), strict=True):
        if one.dtype == jnp.float32:
            np.testing.assert_array_equal(one, other)
    predicted = jax.random.normal(jax.random.key(2), (len(theta),))
    shown = screen(predicted, POPULATION, 0.0, jax.random.key(3))
    np.testing.assert_array_equal(theta[shown], asked)


def test_screening_keeps_a_share_in_place_and_takes_the_best_of_the_rest() -> None:
    predicted = jax.random.normal(jax.random.key(0), (4 * POPULATION,))
    predicted = predicted.at[5].set(jnp.nan)
    best = np.argsort(predicted)[:POPULATION]
    whole = screen(predicted, POPULATION, 1.0, jax.random.key(1))
    assert set(whole.tolist()) == set(best.tolist())
    half = np.asarray(screen(predicted, POPULATION, 0.5, jax.random.key(1)))
    kept = half == np.arange(POPULATION)
    assert kept.sum() >= POPULATION // 2
    assert len(set(half.tolist())) == POPULATION
    left = np.setdiff1d(np.arange(len(predicted)), np.flatnonzero(kept))
    taken = half[~kept]
    assert np.nanmax(predicted[taken]) <= np.nanmin(
        predicted[np.setdiff1d(left, taken)]
    )


@pytest.mark.parametrize("skill", [0.0, -0.9])
def test_without_skill_all_weights_are_zero(skill: float) -> None:
    rng = np.random.default_rng(0)
    judged = [judge(generations(rng, 8, skill)[0]) for _ in range(100)]
    # Two standard errors: chance alone passes in one of forty, and then by little.
    assert np.mean([one.slope == 0 for one in judged]) > 0.94
    assert np.mean([one.beta == 0 for one in judged]) > 0.94
    assert max(one.trust for one in judged) < 0.1
    assert all((one.trust == 0) == (one.slope == 0) for one in judged)


def test_trust_grows_with_skill_and_with_sessions() -> None:
    rng = np.random.default_rng(1)
    trust = [
        np.mean([judge(generations(rng, 12, skill)[0]).trust for _ in range(20)])
        for skill in (0.3, 0.6, 0.95)
    ]
    assert trust[0] < 0.1 < trust[1] < 0.5 < trust[2]
    past = generations(rng, 12, 0.7)[0]
    assert judge([]) == UNTRIED
    assert judge(past[:1]).trust < judge(past).trust


def test_one_generation_of_two_sessions_earns_nothing() -> None:
    past, _ = generations(np.random.default_rng(2), 1, 1.0)
    two = Predictions(
        *(np.where(np.arange(POPULATION) < 2, part, np.nan) for part in past[0])
    )
    assert judge([two]) == UNTRIED


def test_what_is_told_is_nearer_to_the_truth_with_skill_and_untouched_without() -> None:
    rng = np.random.default_rng(3)
    past, true = generations(rng, 13, 0.9)
    now = past.pop()
    told = reduced(judge(past), now)
    assert _missed(told, true[-1]) < 0.5 * _missed(now.measured[0], true[-1])
    np.testing.assert_array_equal(reduced(UNTRIED, now), now.measured[0])


def test_a_missing_result_stays_missing_and_a_missing_prediction_does_no_harm() -> None:
    past, _ = generations(np.random.default_rng(4), 13, 0.9)
    judgement = judge([*past, Predictions(*np.full((4, 2, POPULATION), np.nan))])
    assert judgement.trust > 0
    now = past[-1]
    gone = now._replace(
        measured=np.where(np.arange(POPULATION) == 3, np.nan, now.measured),
        expected=np.where(np.arange(POPULATION) == 5, np.nan, now.expected),
    )
    told = reduced(judgement, gone)
    assert np.flatnonzero(np.isnan(told)).tolist() == [3]
    assert told[5] == gone.measured[0, 5]
    unseen = now._replace(measured=np.full((2, POPULATION), np.nan))
    assert np.isnan(reduced(judgement, unseen)).all()


def test_the_order_of_candidates_means_nothing() -> None:
    rng = np.random.default_rng(5)
    past, _ = generations(rng, 12, 0.8)
    order = rng.permutation(POPULATION)
    mixed = [Predictions(*(part[:, order] for part in one)) for one in past]
    np.testing.assert_allclose(judge(past), judge(mixed))
    judgement = judge(past)
    np.testing.assert_allclose(
        reduced(judgement, past[0])[order], reduced(judgement, mixed[0])
    )
    theta = jax.random.normal(jax.random.key(0), (POPULATION, 15))
    np.testing.assert_allclose(
        predicted(theta)[:, order], predicted(theta[order]), rtol=1e-4
    )


def test_a_labelling_that_the_subject_finds_easy_is_predicted_to_be() -> None:
    """Amplitude of order 2 raised, the others lowered: order 2 is the easy one."""
    parameters = start(MODEL).parameters
    parameters = parameters.at[:4].set(jnp.array([0.0, -3.0, 2.0, -3.0]))
    easy, hard = jnp.zeros((2, 15)).at[0, 5].set(1.0).at[1, 1].set(1.0)
    errors, gains = predicted(jnp.stack([easy, hard]), parameters)
    assert errors[0] < 0.6 < errors[1]
    assert gains[0] > 0.5 > gains[1]


@pytest.mark.parametrize("strategy", HELPED)
def test_strategies_that_are_helped_learn_from_whichever_candidates(
    strategy: str,
) -> None:
    """They do not remember what they drew, nor does the order of candidates matter."""
    search = Evolution(strategy, POPULATION, 15)
    begun = search.init(jax.random.key(0))
    losses = jax.random.normal(jax.random.key(2), (POPULATION,))
    theta, asked = search.ask(begun, jax.random.key(1))
    _, other = search.ask(begun, jax.random.key(3))
    order = np.random.default_rng(0).permutation(POPULATION)
    told = search.best(search.tell(asked, theta, losses))
    for state, order_ in ((other, np.arange(POPULATION)), (asked, order)):
        again = search.best(search.tell(state, theta[order_], losses[order_]))
        np.testing.assert_allclose(told, again, atol=1e-5)


def test_rewards_are_predicted_to_teach_less_than_labels() -> None:
    theta = jax.random.normal(jax.random.key(1), (4, MODEL.functions - 1))
    label, reward = (
        predicted(theta, design=replace(DESIGN, feedback=feedback))
        for feedback in ("label", "reward")
    )
    assert reward[0].mean() > label[0].mean() + 0.02


def predicted(
    theta: jax.Array, parameters: jax.Array | None = None, design: Design = DESIGN
) -> Floats:
    """Errors and gains expected of labellings, by default before any session."""
    if parameters is None:
        parameters = start(MODEL).parameters
    both = hybrid.predicted_errors(
        MODEL,
        LABELLER,
        design,
        parameters,
        (),
        theta,
        jax.random.key(0),
    )
    return np.asarray(both, float)


def _missed(told: Floats, true: Floats) -> float:
    """Squared difference of errors, less their means."""
    return float(np.var(told - true))
