"""The subject model on a journal: components, errors per order, how far to trust it.

Whatever search chose the labellings, every answer of every finished session tells
something about the subject's kernel.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd

from analysis.held_out import (
    Misses,
    Skill,
    cross_validated,
    misses_of,
    shuffled,
    skill_of,
)
from analysis.record import Record
from analysis.recovery import Floats
from meta_learner.assignment import Design, named_key
from meta_learner.bias import (
    CREDIBLE,
    bias_spectrum,
    components,
    expected_errors,
    space_overlap,
)
from meta_learner.posterior import posterior_draws
from meta_learner.subject_fit import COLD, Fit, fit_model, start
from meta_learner.subject_model import (
    NUISANCES,
    Evidence,
    SubjectModel,
    degree_for,
)
from server.evidence import Told, evidence_of, finished_sessions, told

COMPONENTS = 6
"""Components shown unless another number is asked for."""

FEWEST = 5
"""Finished sessions below which there is nothing to cross-validate."""

PERMUTATIONS = 19
"""Null fits, to shuffled answers: the smallest p-value is one in twenty."""

MOST_SESSIONS = 500
"""Sessions of a group that are fitted; of more, as many spread over the study."""

DRAWS = 100
"""Draws from the posterior, of which intervals are made."""

_NUISANCES: dict[str, tuple[tuple[str, Callable[[Any], Any]], ...]] = {
    "choice": (
        ("slope", np.exp),
        ("side bias", np.asarray),
        ("lapse", lambda u: 1 / (1 + np.exp(-u))),
    ),
    "graded": (("gain", np.exp), ("side bias", np.asarray), ("noise", np.exp)),
}
_OF_ALL: tuple[tuple[str, Callable[[Any], Any]], ...] = (
    ("individual differences", np.exp),
    ("private label noise", np.exp),
)
_NORMAL = 1.645
"""Standard deviations from the mean to the 5 % and 95 % quantiles."""


class Reanalysis(NamedTuple):
    """The subject model fitted to one group of a study.

    ``coefficients`` (components, functions - 1) are the leading eigenfunctions in
    the basis of the space without its constant, ``errors`` (draws, orders) the
    posterior draws of the spectrum.

    ``spectrum`` has a row per order: relative generalisation error at the study's
    design (median, 90 % credible interval), that of null fits, the one-sided
    p-value, and whether the order is ``easier`` or ``harder`` than in every null fit,
    or ``alike``. ``components`` has a row per component: share of the eigenvalues,
    error, and the overlap that the space of all components up to this one has with
    that of posterior draws (5 % quantile). ``power`` has a row per component and
    order, ``nuisance`` one per nuisance parameter beside its prior.
    """

    study: str
    group: str
    sessions: int
    left_out: int
    answers: int
    model: SubjectModel
    design: Design
    fit: Fit
    coefficients: Floats
    errors: Floats
    spectrum: pd.DataFrame
    components: pd.DataFrame
    power: pd.DataFrame
    nuisance: pd.DataFrame
    skill: Skill

    @property
    def title(self) -> str:
        """Study and group."""
        return f"{self.study}, {self.group}" if self.group else self.study


def reanalyse(
    record: Record,
    components: int = COMPONENTS,
    degree: int | None = None,
    permutations: int = PERMUTATIONS,
) -> list[Reanalysis]:
    """Fit the subject model to each group of a study, finished or not.

    ``degree`` is the highest order modelled. Raises ``ValueError`` for a study
    without sessions, and for a group of fewer than :data:`FEWEST` finished ones.
    """
    study = record.study
    space = study.labeller.space
    groups = _told_by_group(record)
    model = SubjectModel(space, degree or degree_for(space), study.design.response)
    model.check()
    # All groups filled up to one size: one compilation.
    size = max(min(len(sessions), MOST_SESSIONS) for sessions in groups.values())
    return [
        _reanalyse_group(record, model, group, sessions, size, components, permutations)
        for group, sessions in groups.items()
    ]


def contrast(chosen: Reanalysis, other: Reanalysis) -> pd.DataFrame:
    """Error of another group over that of the chosen one, per order, 90 % interval."""
    low, median, high = np.quantile(other.errors / chosen.errors, CREDIBLE, axis=0)
    return pd.DataFrame(
        {"order": chosen.spectrum["order"], "ratio": median, "low": low, "high": high}
    )


def _told_by_group(record: Record) -> dict[str, list[tuple[str, Told]]]:
    """Subject and content of the finished sessions of each group, in order."""
    study = record.study
    if study.null or study.by_gradient:
        kind = "a no-learner null" if study.null else "a study searched by gradient"
        raise ValueError(
            f"{study.name} is {kind}: it has no sessions, and so no answers to which "
            "the subject model could be fitted"
        )
    groups: dict[str, list[tuple[str, Told]]] = {group: [] for group in study.groups}
    for session in finished_sessions(event.fact for event in record.events):
        one = told(session)
        if np.isfinite(one.answers).any():
            groups[session.opened.group].append((session.opened.subject, one))
    for group, sessions in groups.items():
        if len(sessions) < FEWEST:
            of = f" of group {group}" if group else ""
            raise ValueError(
                f"{study.name} has {len(sessions)} finished sessions{of} with answers: "
                f"the subject model needs {FEWEST} or more"
            )
    return groups


def _reanalyse_group(
    record: Record,
    model: SubjectModel,
    group: str,
    sessions: Sequence[tuple[str, Told]],
    size: int,
    k: int,
    permutations: int,
) -> Reanalysis:
    study = record.study
    kept = np.linspace(0, len(sessions) - 1, min(len(sessions), MOST_SESSIONS))
    subjects, content = zip(*(sessions[int(i)] for i in kept), strict=True)
    evidence = evidence_of(model, content, (size, 1, 1))
    fit = fit_model(model, evidence, start(model), COLD)
    draw_key, error_key = jax.random.split(named_key(study.seed, "reanalysis"))
    draws = posterior_draws(model, evidence, fit, DRAWS, draw_key)
    modes, null = _null(model, evidence, content, permutations)
    every = jnp.concatenate([draws, fit.parameters[None], *modes])
    spectra = np.asarray(bias_spectrum(model, every, study.design, error_key), float)
    rows = components(model, fit.parameters, min(k, model.functions - 1))[1]
    tables = _component_tables(model, draws, rows, study.design, error_key)
    return Reanalysis(
        study.name,
        group,
        len(content),
        len(sessions) - len(content),
        int(evidence.answered.sum()),
        model,
        study.design,
        fit,
        np.asarray(rows, float),
        spectra[:DRAWS],
        _spectrum_table(spectra[:DRAWS], spectra[DRAWS], spectra[DRAWS + 1 :]),
        *tables,
        _nuisance_table(model, fit, np.asarray(draws)),
        skill_of(
            cross_validated(model, evidence, content, subjects),
            misses_of(model, jnp.asarray(model.centre), evidence, content),
            null,
            subjects,
        ),
    )


def _null(
    model: SubjectModel, evidence: Evidence, content: Sequence[Told], n: int
) -> tuple[list[jax.Array], list[Misses]]:
    """Fits to shuffled answers ``(1, parameters)``, and what they miss.

    Of answers shuffled anew: those they were fitted to are not held out.
    """
    draws = np.random.default_rng(0)
    modes, misses = [], []
    for _ in range(n):
        fit = fit_model(model, shuffled(evidence, draws), start(model), COLD)
        again = shuffled(evidence, draws)
        modes.append(fit.parameters[None])
        misses.append(misses_of(model, fit.parameters, again, content))
    return modes, misses


@partial(jax.jit, static_argnums=(0, 3))
def _of_draws(
    model: SubjectModel,
    draws: jax.Array,
    rows: jax.Array,
    design: Design,
    key: jax.Array,
) -> tuple[jax.Array, jax.Array, jax.Array, jax.Array]:
    """Of each draw: errors of the components ``rows`` (k, functions - 1), and its own
    eigenvalues' shares, power per order (k, orders) and overlap of leading spaces.
    """
    k = len(rows)
    orders = jnp.arange(1, int(model.order.max()) + 1)
    within = (model.order[1:, None] == orders[None]).astype(jnp.float32)

    def one(
        parameters: jax.Array,
    ) -> tuple[jax.Array, jax.Array, jax.Array, jax.Array]:
        errors = expected_errors(model, parameters, rows, design, key)
        # A sum with nothing orders the two: solvers must not run at once.
        nothing = 0 * jnp.nan_to_num(errors.sum())
        values, own = components(model, parameters + nothing, model.functions - 1)
        overlaps = [space_overlap(own[:i], rows[:i]) for i in range(1, k + 1)]
        shares = values / jnp.sum(values)
        return errors, shares[:k], own[:k] ** 2 @ within, jnp.stack(overlaps)

    each: tuple[jax.Array, jax.Array, jax.Array, jax.Array] = jax.lax.map(one, draws)
    return each


def _component_tables(
    model: SubjectModel,
    draws: jax.Array,
    rows: jax.Array,
    design: Design,
    key: jax.Array,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Tables of components and of their power per order."""
    errors, shares, powers, overlaps = (
        np.asarray(part, float) for part in _of_draws(model, draws, rows, design, key)
    )
    names = np.unique(model.order[1:]).tolist()
    k, orders = powers.shape[1:]
    own = np.asarray(rows, float) ** 2 @ (model.order[1:, None] == names)
    places = np.arange(1, k + 1)
    table = pd.DataFrame({"component": places})
    for name, values in (("share", shares), ("error", errors)):
        for quantile, column in zip(CREDIBLE, _columns(name), strict=True):
            table[column] = np.quantile(values, quantile, axis=0)
    table["space_overlap_low"] = np.quantile(overlaps, CREDIBLE[0], axis=0)
    low, _, high = np.quantile(powers, CREDIBLE, axis=0)
    power = pd.DataFrame(
        {
            "component": np.repeat(places, orders),
            "order": np.tile(names, k),
            "power": own.ravel(),
            "low": low.ravel(),
            "high": high.ravel(),
        }
    )
    return table, power


def _spectrum_table(draws: Floats, mode: Floats, null: Floats) -> pd.DataFrame:
    """Error per order beside that of null fits; modes are compared with modes."""
    table = pd.DataFrame({"order": np.arange(1, len(mode) + 1)})
    for quantile, column in zip(CREDIBLE, _columns("error"), strict=True):
        table[column] = np.quantile(draws, quantile, axis=0)
    table["at_mode"] = mode
    if len(null):
        for name, extreme in (("low", np.min), ("median", np.median), ("high", np.max)):
            table[f"null_{name}"] = extreme(null, axis=0)
        as_easy = (null <= mode).sum(0)
        table["p_easier"] = (1 + as_easy) / (1 + len(null))
        ranks = [as_easy == 0, as_easy == len(null)]
        table["beside_null"] = np.select(ranks, ["easier", "harder"], "alike")
    return table


def _nuisance_table(model: SubjectModel, fit: Fit, draws: Floats) -> pd.DataFrame:
    """What is not the kernel, with its prior: how a subject answers, and differs."""
    centre = model.centre[-NUISANCES:]
    prior_sd = 1 / np.sqrt(np.asarray(model.precision(fit.deviations)))[-NUISANCES:]
    rows = []
    for i, (name, scale) in enumerate((*_NUISANCES[model.response], *_OF_ALL)):
        low, median, high = np.quantile(draws[:, i - NUISANCES], CREDIBLE)
        spread = _NORMAL * prior_sd[i]
        ends = (low, median, high, centre[i] - spread, centre[i] + spread)
        rows.append((name, *(float(scale(u)) for u in ends)))
    columns = ["parameter", "low", "median", "high", "prior_low", "prior_high"]
    return pd.DataFrame(rows, columns=columns)


def _columns(name: str) -> tuple[str, str, str]:
    """Columns of an interval: its ends, and between them the median, by the name."""
    return f"{name}_low", name, f"{name}_high"
