"""A journal as tidy pandas tables: trials, sessions, generations, components.

Assembled column by column: a study of a million trials takes seconds.
"""

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from itertools import chain
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from analysis.coherence import OUTCOMES
from analysis.record import Record
from analysis.recovery import Recovered, recover
from meta_learner.spectrum import orders_of
from server.events import (
    ClientSeen,
    GenerationAsked,
    GenerationTold,
    MetaSteps,
    Responded,
    SessionEnded,
    SessionOpened,
)

Ints = NDArray[np.int64]

_SLOT = ["component", "generation", "candidate", "attempt"]
_END = {
    "ended_at": np.nan,
    "status": "open",
    "reason": "",
    "error": np.nan,
    "standard_error": np.nan,
    "label_variance": np.nan,
    "test_trials": 0,
    "used": False,
    "late": False,
}
"""What is said of how a session ended, and of one that has not."""

_SUMMARY = ("best", "median", "mean", "lower_quartile", "upper_quartile")
"""What is said of the errors of a generation."""

_TENTH = 0.1


class Frames(NamedTuple):
    """The tables of one study; see the function that makes each."""

    trials: pd.DataFrame
    sessions: pd.DataFrame
    generations: pd.DataFrame
    components: pd.DataFrame


def frames(record: Record, recovered: Recovered | None = None) -> Frames:
    """All tables of a study, finished or not."""
    trials = trials_frame(record)
    sessions = sessions_frame(record, trials)
    generations = generations_frame(record, sessions)
    components = components_frame(record, generations, recovered or recover(record))
    return Frames(trials, sessions, generations, components)


def trials_frame(record: Record) -> pd.DataFrame:
    """One row per trial with a recorded response or omission.

    In-process dry runs record test trials only, runs over sockets all of them.
    Features are as the search sees them (those of a table as z-scores), each
    under its own name; ``stimulus`` counts within the session, training stimuli
    first. ``label`` is what the labelling says, whether or not the subject was
    told. Training trials with rewards as feedback have ``right_rewarded``. What
    clients said of their clocks follows as ``clock_`` columns, what was given to drink
    as ``reward_microlitre`` and ``reward_how``, if anything was.
    """
    opened = record.facts(SessionOpened)
    responded = record.facts(Responded)
    place = {fact.session: i for i, fact in enumerate(opened)}
    counts = [len(fact.trials) for fact in responded]
    session = np.repeat(_ints([place[fact.session] for fact in responded]), counts)
    trial = _ints(_flat(fact.trials for fact in responded))
    stimulus = _pick([fact.trials for fact in opened], session, trial).astype(int)
    names = _feature_names(record)
    x = _pick([fact.x for fact in opened], session, stimulus, len(names))
    training = trial < _ints([fact.training_trials for fact in opened])[session]
    columns: dict[str, Any] = {
        "session": pd.Categorical.from_codes(session, [f.session for f in opened]),
        **{name: _ints([getattr(f, name) for f in opened])[session] for name in _SLOT},
        "subject": pd.Categorical([f.subject for f in opened])[session],
        "group": pd.Categorical([f.group for f in opened])[session],
        "trial": trial,
        "phase": pd.Categorical.from_codes(1 - training, ["training", "test"]),
        "stimulus": stimulus,
        **dict(zip(names, x.T, strict=True)),
        "label": _pick([fact.y for fact in opened], session, stimulus),
        "outcome": pd.Categorical(
            _flat(fact.outcomes for fact in responded), categories=OUTCOMES
        ),
        "response": _floats(_flat(fact.values for fact in responded)),
        "reaction_time_s": _floats(_flat(fact.reaction_times_s for fact in responded)),
        "recorded_at": _time(np.repeat(record.times(Responded), counts)),
    }
    columns |= _right_rewarded(opened, session, trial, training)
    columns |= _clocks(_flat(fact.clocks for fact in responded))
    columns |= _rewards(responded)
    return pd.DataFrame(columns)


def sessions_frame(record: Record, trials: pd.DataFrame) -> pd.DataFrame:
    """One row per session, however it ended; ``status`` is open if it has not.

    ``error``, its standard error and ``label_variance`` are in squared label
    units; ``relative_error`` is their ratio. ``late``: it was given up as lost
    and came back; ``used`` says whether its error scored a candidate. One column
    per outcome counts trials.
    """
    opened, ends = record.facts(SessionOpened), _ends(record)
    columns = [*_SLOT, "subject", "group", "rig", "exposure"]
    table = pd.DataFrame(
        [[fact.session, *(getattr(fact, c) for c in columns)] for fact in opened],
        columns=["session", *columns],
    )
    table["client"] = [json.dumps(fact.client, sort_keys=True) for fact in opened]
    table["opened_at"] = _time(record.times(SessionOpened))
    for name, default in _END.items():
        values = [ends.get(f.session, {}).get(name, default) for f in opened]
        table[name] = pd.Series(values, dtype=type(default))
    table["used"] &= table["status"] == "finished"
    table["ended_at"] = _time(table["ended_at"])
    table["relative_error"] = table["error"] / table["label_variance"]
    counts = pd.crosstab(trials["session"], trials["outcome"])
    counts = counts.reindex(index=table["session"], columns=OUTCOMES, fill_value=0)
    table[list(OUTCOMES)] = counts.to_numpy()
    return table


def generations_frame(record: Record, sessions: pd.DataFrame) -> pd.DataFrame:
    """One row per generation asked: errors of its candidates, losses, sessions.

    Relative errors are those of the sessions that scored a candidate, in columns
    of each group where the study has groups (:func:`error_column`);
    ``sessions_so_far`` counts every session begun up to and including this one.
    Where a model helps the search, ``trust`` is how far it had proved right and
    ``screened`` how many candidates are its choice.
    Of a gradient study a row is a meta-step: one candidate, whose error is the
    mean of its individuals, and ``sessions`` are these.
    """
    if record.study.by_gradient:
        return _meta_steps(record)
    keys = ["component", "generation"]
    asked = record.facts(GenerationAsked)
    table = pd.DataFrame(
        [(fact.component, fact.generation, len(fact.theta)) for fact in asked],
        columns=[*keys, "candidates"],
    )
    table["asked_at"] = _time(record.times(GenerationAsked))
    scored = sessions[sessions["used"] & sessions["relative_error"].notna()]
    begun = sessions.groupby(keys).size().rename("sessions")
    used = scored.groupby(keys).size().rename("scored")
    errors = [_errors(scored, keys, group) for group in record.study.groups]
    for more in (begun, used, *errors, _told(record).set_index(keys)):
        table = table.join(more, on=keys)
    if record.study.helper:
        table["screened"] = [len(fact.screened) for fact in asked]
    counts = ["sessions", "scored"]
    table[counts] = table[counts].fillna(0).astype(int)
    table["told_at"] = _time(table["told_at"])
    table["sessions_so_far"] = table["sessions"].cumsum()
    return table


def components_frame(
    record: Record, generations: pd.DataFrame, recovered: Recovered
) -> pd.DataFrame:
    """One row per component: what it cost, and its power per order.

    ``provisional`` says that it is not frozen yet. ``first_error`` and
    ``final_error`` are the relative error in the first and in the last tenth of
    its generations, medians of medians; of each group where there are groups.
    Descent is quick at first: of meta-steps the first are five at most.
    """
    names = [f"power_{name}" for name in orders_of(record.study.labeller.space).names]
    columns = ["component", "provisional", "generations", "sessions"]
    groups, most = record.study.groups, 5 if record.study.by_gradient else None
    for group in groups:
        columns += [error_column(name, group) for name in ("first", "final")]
    rows = []
    for i, power in enumerate(recovered.power):
        own = generations[generations["component"] == i]
        medians = [own[error_column("median", group)].dropna() for group in groups]
        rows.append(
            (
                i,
                recovered.provisional and i == len(recovered.power) - 1,
                recovered.generations[i],
                int(own["sessions"].sum()),
                *chain.from_iterable(_first_and_final(m, most) for m in medians),
                *power,
            )
        )
    return pd.DataFrame(rows, columns=[*columns, *names])


def error_column(name: str, group: str) -> str:
    """Column of an error: ``final_error``, or ``final_error_control`` of a group."""
    return f"{name}_error_{group}" if group else f"{name}_error"


def _errors(scored: pd.DataFrame, keys: list[str], group: str) -> pd.DataFrame:
    """Relative errors of a group in each generation."""
    error = scored[scored["group"] == group].groupby(keys)["relative_error"]
    summary = [
        error.min(),
        error.median(),
        error.mean(),
        error.quantile(0.25),
        error.quantile(0.75),
    ]
    names = [error_column(name, group) for name in _SUMMARY]
    return pd.DataFrame(dict(zip(names, summary, strict=True)))


def _first_and_final(
    errors: "pd.Series[float]", most: int | None
) -> tuple[float, float]:
    tenth = max(1, round(_TENTH * len(errors)))
    first = errors.head(min(tenth, most or tenth))
    return float(first.median()), float(errors.tail(tenth).median())


def _meta_steps(record: Record) -> pd.DataFrame:
    """The generations of a gradient study, in the columns of any other."""
    study, facts = record.study, record.facts(MetaSteps)
    counts = [len(fact.errors) for fact in facts]
    steps = _flat(range(f.generation, f.generation + len(f.errors)) for f in facts)
    individuals = 0 if study.null else study.sessions_per_generation
    begun = np.array([individuals] * len(steps), np.int64)
    at = _time(np.repeat(record.times(MetaSteps), counts))
    errors = _floats(_flat(fact.errors for fact in facts))
    errors = errors.reshape(len(steps), 0 if study.null else len(study.groups))
    penalties = _floats(_flat(fact.penalties for fact in facts)).reshape(-1, 2)
    # Of raw errors the loss cannot be told from the relative ones recorded.
    known = study.null or study.objective.relative
    losses = study.objective.meta_losses(errors, penalties) if known else np.nan
    columns: dict[str, Any] = {
        "component": np.repeat(_ints([fact.component for fact in facts]), counts),
        "generation": _ints(steps),
        "candidates": np.ones(len(steps), np.int64),
        "asked_at": at,
        "sessions": begun,
        "scored": begun,
    }
    for i, group in enumerate(study.groups):
        error = np.nan if study.null else errors[:, i]
        columns |= {error_column(name, group): error for name in _SUMMARY}
    columns |= {"told_at": at, "best_loss": losses, "median_loss": losses}
    return pd.DataFrame(columns | {"sessions_so_far": begun.cumsum()})


def _ends(record: Record) -> dict[str, dict[str, Any]]:
    """How each session ended, by name; one that came back is open again."""
    ends: dict[str, dict[str, Any]] = {}
    for event in record.events:
        fact = event.fact
        if isinstance(fact, SessionEnded):
            late = fact.session in ends
            ends[fact.session] = asdict(fact) | {"ended_at": event.at, "late": late}
        elif isinstance(fact, ClientSeen) and fact.what == "returned":
            lost = ends.get(fact.session, {}).get("status") == "lost"
            ends |= {fact.session: {"status": "open", "late": True}} if lost else {}
    return ends


def _told(record: Record) -> pd.DataFrame:
    """When each generation was told, its best and median meta-loss."""
    rows = []
    for fact, at in zip(
        record.facts(GenerationTold), record.times(GenerationTold), strict=True
    ):
        losses = pd.Series(fact.losses, dtype=float)
        row = (fact.component, fact.generation, at, losses.min(), losses.median())
        rows.append((*row, *fact.judgement[:1]))
    columns = ["component", "generation", "told_at", "best_loss", "median_loss"]
    helped = ["trust"] if record.study.helper else []
    return pd.DataFrame(rows, columns=[*columns, *helped])


def _feature_names(record: Record) -> list[str]:
    """Names of features, told apart from the tables' own columns."""
    taken = {*_SLOT, "session", "subject", "group", "trial", "phase", "stimulus"}
    taken |= {"label", "outcome", "response", "reaction_time_s", "recorded_at"}
    names = [feature.name for feature in record.study.labeller.space.features]
    return [f"{name}_feature" if name in taken else name for name in names]


def _right_rewarded(
    opened: Sequence[SessionOpened], session: Ints, trial: Ints, training: Any
) -> dict[str, Any]:
    """Rewards that were the feedback of training trials, missing elsewhere."""
    rewarded = [fact.right_rewarded for fact in opened]
    told = training & _ints([len(row) for row in rewarded])[session].astype(bool)
    if not any(rewarded):
        return {}
    column = pd.array([pd.NA] * len(session), dtype="boolean")
    column[told] = _pick(rewarded, session[told], trial[told]).astype(bool)
    return {"right_rewarded": column}


def _rewards(responded: Sequence[Responded]) -> dict[str, Any]:
    each = [
        one for fact in responded for one in (fact.rewards or [None] * len(fact.trials))
    ]
    if not any(each):
        return {}
    return {
        "reward_microlitre": _floats([o["microlitre"] if o else None for o in each]),
        "reward_how": pd.Categorical([o["how"] if o else None for o in each]),
    }


def _clocks(clocks: Sequence[dict[str, float] | None]) -> dict[str, Any]:
    """What clients said of their clocks, a column each."""
    names = sorted({name for clock in clocks if clock for name in clock})
    return {
        f"clock_{name}": _floats([(clock or {}).get(name) for clock in clocks])
        for name in names
    }


def _pick(
    rows: Sequence[Sequence[Any]], row: Ints, index: Ints, width: int = 0
) -> NDArray[np.float64]:
    """``rows[row[i]][index[i]]`` for all i, numbers or ``width`` of them."""
    shape = (-1, width) if width else (-1,)
    flat = np.array(_flat(rows), float).reshape(shape)
    start = np.concatenate([[0], np.cumsum(_ints([len(r) for r in rows]))])
    picked: NDArray[np.float64] = flat[start[row] + index]
    return picked


def _flat(rows: Iterable[Sequence[Any]]) -> list[Any]:
    return list(chain.from_iterable(rows))


def _ints(values: Sequence[int]) -> Ints:
    return np.array(values, np.int64)


def _floats(values: Sequence[float | None]) -> NDArray[np.float64]:
    return np.array(values, np.float64)


def _time(seconds: Any) -> Any:
    return pd.to_datetime(seconds, unit="s", utc=True)
