"""Data that a learner finds easy, made from noise, with labels and without."""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import SubFigure
from numpy.typing import NDArray

from analysis.maps import PALETTE
from meta_learner.generator import (
    DataProblem,
    Generator,
    Supervised,
    Task,
    Unsupervised,
    descend,
)
from meta_learner.gradient import Gradient
from simulated_subjects.gains import Gains
from simulated_subjects.principal_components import PrincipalComponents
from simulated_subjects.ridge import Ridge

Floats = NDArray[np.float64]

_TEST_DRAWS = 4000
"""Fresh samples by which what was found is measured."""

NULL_SEEDS = range(1001, 1025)
"""Seeds of the searches without a learner: enough to speak of 5 %."""

_NULL = "0.6"
"""Grey for searches that listened to no learner."""

# Inputs as well as labels from noise.

_LOUD, _SOFT = 1.0, 0.3
_FAVOURED = {"first input loudest": 0, "third input loudest": 2}
_INPUTS = 4


def generated_inputs(seeds: Sequence[int]) -> dict[str, Any]:
    """Share of the inputs' variance that each input gets, when inputs are found too.

    The learner is ridge regression that hears one of four inputs louder; the
    diagnostics hear another, or all alike. Lists are of seeds; ``inputs`` are a
    few samples of the first seed.
    """
    generator = Generator(_INPUTS)
    found: dict[str, Any] = {}
    for name, favoured in _FAVOURED.items():
        gains = tuple(_LOUD if i == favoured else _SOFT for i in range(_INPUTS))
        task = Supervised(Gains(gains, Ridge(penalty=10.0)))
        found[name] = _made(DataProblem(generator, task), 0.03, 300, seeds)
    alike = Supervised(Gains((_LOUD,) * _INPUTS, Ridge(penalty=10.0)))
    found["all alike"] = _made(DataProblem(generator, alike), 0.03, 300, seeds)
    blind = DataProblem(generator, task, error_weight=0.0)
    found["no learner"] = _made(blind, 0.03, 300, NULL_SEEDS)
    favoured_share = {
        name: [row[i] for row in found[name]["shares"]] for name, i in _FAVOURED.items()
    }
    null = [max(row) for row in found["no learner"]["shares"]]
    other = [row[2] for row in found["first input loudest"]["shares"]]
    alike_share = [row[0] for row in found["all alike"]["shares"]]
    return {
        "favoured": favoured_share,
        "null": null,
        "diagnostic": {
            "third input for the learner of the first": other,
            "first input for the learner of all alike": alike_share,
        },
        "found": found,
    }


def _made(
    problem: DataProblem, step_size: float, steps: int, seeds: Sequence[int]
) -> dict[str, Any]:
    """What the descent of each seed ends at, measured on fresh draws."""
    search = Gradient("adam", 4, problem.generator.genes, step_size)

    def one(key: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
        start, course, test = jax.random.split(key, 3)
        begun = search.init(start)
        state, measured = descend(search, problem, begun, course, steps)
        x, y = problem.generator.draw(state.theta, test, _TEST_DRAWS)
        return x, y, measured.error[-50:].mean()

    x, y, error = jax.device_get(jax.jit(jax.vmap(one))(_keys(seeds)))
    variance = x.var(1)
    spectra = [np.linalg.eigvalsh(np.cov(rows.T))[::-1] for rows in x]
    return {
        "shares": _shares(variance),
        "spectra": _shares(spectra),
        "participation": [float(1 / np.square(s).sum()) for s in _shares(spectra)],
        "error": error.tolist() if problem.error_weight else None,
        "inputs": x[0, :300].round(4).tolist(),
        "labels": y[0, :300].round(4).tolist(),
    }


def _keys(seeds: Sequence[int]) -> jax.Array:
    return jax.vmap(jax.random.key)(jnp.asarray(list(seeds)))


def _shares(rows: Any) -> Any:
    """Each row divided by its sum, as lists."""
    numbers = np.asarray(rows, float)
    return (numbers / numbers.sum(1, keepdims=True)).tolist()


def draw_generated_inputs(numbers: dict[str, Any], figure: SubFigure) -> None:
    """Shares of variance of each seed; inputs and labels that one seed found."""
    shares, *clouds = figure.subplots(1, 3, width_ratios=(1.5, 1, 1))
    found = numbers["found"]
    colours = (*PALETTE[:3], _NULL)
    places = np.arange(_INPUTS)
    for i, (name, colour) in enumerate(zip(found, colours, strict=True)):
        _bars(shares, places + 0.2 * (i - 1.5), found[name]["shares"], 0.18, colour)
        shares.bar(0, 0, color=colour, label=name)
    shares.axhline(1 / _INPUTS, color="0.3", linewidth=0.8, linestyle=":")
    shares.set(xticks=places, xticklabels=[f"input {i + 1}" for i in places])
    shares.set(ylabel="share of variance found", ylim=(0, 1.02))
    shares.legend(
        frameon=False,
        fontsize="small",
        ncols=2,
        loc="lower left",
        bbox_to_anchor=(0, 1),
    )
    shown = next(iter(_FAVOURED)), "no learner"
    for axes, name in zip(clouds, shown, strict=True):
        x = np.asarray(found[name]["inputs"])
        dots = axes.scatter(
            x[:, 0],
            x[:, 1],
            c=found[name]["labels"],
            s=9,
            cmap="RdBu_r",
            vmin=-1,
            vmax=1,
            linewidths=0.2,
            edgecolors="0.3",
        )
        axes.set(xlabel="input 1", ylabel="input 2", aspect="equal")
        axes.set(xlim=(-4.5, 4.5), ylim=(-4.5, 4.5))
        axes.set_title(name, fontsize="medium")
    figure.colorbar(dots, ax=clouds, label="label", ticks=(-1, 0, 1), shrink=0.8)


def _bars(axes: Axes, places: Any, rows: Any, width: float, colour: str) -> None:
    """Means over seeds as bars, seeds as dots."""
    values = np.asarray(rows, float)
    axes.bar(places, values.mean(0), width, color=colour, alpha=0.75)
    for row in values:
        axes.plot(places, row, ".", color="0.15", markersize=3.5)


# No labels at all.

_COMPONENTS = (1, 2, 3)
_DIMENSIONS = 5


def unsupervised(seeds: Sequence[int]) -> dict[str, Any]:
    """Variance that the first k components explain of data found for PCA with k.

    Each k is the diagnostic of the others: the number of dimensions found
    should follow it. ``spectra`` are eigenvalue shares of each seed.
    """
    found = {}
    for k in _COMPONENTS:
        found[str(k)] = _made(
            _unlabelled(Unsupervised(PrincipalComponents(k))), 0.1, 1000, seeds
        )
    blind = _unlabelled(Unsupervised(PrincipalComponents(1)), error_weight=0.0)
    null = _made(blind, 0.1, 1000, NULL_SEEDS)
    explained = {str(k): _explained(found[str(k)], k) for k in _COMPONENTS}
    blind_explained = {str(k): _explained(null, k) for k in _COMPONENTS}
    return {
        "explained": explained,
        "null": blind_explained,
        "diagnostic": {
            "participation ratio": {k: row["participation"] for k, row in found.items()}
        },
        "found": {**found, "no learner": null},
    }


def _unlabelled(task: Task, error_weight: float = 1.0) -> DataProblem:
    # So little weight on filling all dimensions that those which the learner
    # loses keep a share of the variance of about that weight.
    return DataProblem(
        Generator(_DIMENSIONS),
        task,
        error_weight=error_weight,
        concentration_weight=0.005,
        clumping_weight=0.0,
    )


def _explained(found: dict[str, Any], k: int) -> list[float]:
    return [float(sum(row[:k])) for row in found["spectra"]]


def draw_unsupervised(numbers: dict[str, Any], figure: SubFigure) -> None:
    """Spectra of the data found for each k, of every seed, and the null's."""
    panels = figure.subplots(1, len(_COMPONENTS), sharey=True)
    places = np.arange(1, _DIMENSIONS + 1)
    null = np.asarray(numbers["found"]["no learner"]["spectra"])
    for k, axes, colour in zip(_COMPONENTS, panels, PALETTE, strict=False):
        _bars(axes, places, numbers["found"][str(k)]["spectra"], 0.7, colour)
        axes.plot(places, null.mean(0), "o--", color=_NULL, label="no learner")
        share = min(numbers["explained"][str(k)])
        axes.set_title(
            f"PCA with {k} component{'s' * (k > 1)}\n"
            f"first {k} explain ≥ {np.floor(1000 * share) / 10:.1f} %",
            fontsize="medium",
        )
        axes.set(xlabel="principal component of the data", xticks=places)
    panels[0].set(ylabel="share of variance found", ylim=(0, 1.02))
    panels[0].legend(frameon=False, fontsize="small")
