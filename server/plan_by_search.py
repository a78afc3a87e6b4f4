"""Studies by their own search for a plan: an evolution strategy, as whole studies."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

from meta_learner.assignment import Design
from meta_learner.labelling import REFERENCE_STIMULI, Labeller, Series, labels_of_each
from meta_learner.subject_model import SubjectModel
from server.study_file import Study
from server.whole_studies import recipe_of, run_whole

Floats = NDArray[np.float64]


def generations_of(study: Study, most: int, lost: float = 0.0) -> list[int]:
    """Generations of each component after which a plan looks, within ``most`` sessions.

    1, 2, 3 and then ever more rarely. Raises ``ValueError`` where the sessions are too
    few for a generation of each component.
    """
    least = sessions_of(study, 1, lost)
    if most < least:
        raise ValueError(
            f"{most} sessions are fewer than a generation of each component takes: "
            f"expected {least} or more"
        )
    budget = int(most * (1 - lost) / sessions_of(study, 1) + 1e-9)
    looked = [1]
    while looked[-1] < budget:
        looked.append(min(looked[-1] + max(1, looked[-1] // 2), budget))
    return looked


def sessions_of(study: Study, generations: int, lost: float = 0.0) -> int:
    """Sessions that take so many generations of each component.

    A share ``lost`` of them is run once more.
    """
    each = study.sessions_per_generation * study.file.study.components
    return int(np.ceil(generations * each / (1 - lost) - 1e-9))


def recovered_by_search(
    study: Study,
    model: SubjectModel,
    design: Design,
    looked: Sequence[int],
    numbers: Sequence[int],
) -> Iterator[Floats]:
    """What studies have found after so many generations of each component.

    Arrays ``(studies, components, functions - 1)`` for each of ``looked``: labels in
    the model's basis, rows of unit length but for what it cannot represent. Seeds
    follow from the ``numbers`` of the studies.
    """
    seeds = [
        int(np.random.SeedSequence([study.seed, number]).generate_state(1)[0])
        for number in numbers
    ]
    recipe = replace(recipe_of(study), design=design)
    if recipe.components > 1:
        # Each budget is divided among the components: studies of their own.
        for generations in looked:
            run = run_whole(replace(recipe, generations=generations), seeds)
            yield _coefficients(recipe.labeller, model, run.series)
        return
    run = run_whole(replace(recipe, generations=looked[-1]), seeds)
    freeze = jax.jit(jax.vmap(partial(recipe.labeller.freeze, ())))
    for generations in looked:
        found = freeze(run.standing[:, 0, generations - 1])
        yield _coefficients(recipe.labeller, model, (found,))


def _coefficients(labeller: Labeller, model: SubjectModel, series: Series) -> Floats:
    x = jnp.asarray(labeller.space.grid(REFERENCE_STIMULI))
    labels = np.asarray(labels_of_each(labeller, series, x), np.float64)
    # Orthonormal on the grid, save for what it is coarse: by least squares.
    functions = np.asarray(model.basis(x), np.float64)
    rows, *_ = np.linalg.lstsq(functions, labels.reshape(-1, len(x)).T, rcond=None)
    rows = rows.T.reshape(*labels.shape[:2], -1)[..., 1:]
    spread: Floats = np.maximum(labels.std(-1), 1e-12)
    unit: Floats = rows / np.maximum(spread, np.linalg.norm(rows, axis=-1))[..., None]
    return unit
