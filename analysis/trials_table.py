"""A foreign table of trials as numbers that are what they should be, row by row."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from analysis.coherence import OUTCOMES
from analysis.foreign_table import Foreign
from analysis.problem import Problem
from analysis.trial_columns import columns_of

Floats = NDArray[np.float64]

_MISSING = {"", "nan", "na", "n/a", "none", "null", "[]", "."}
_WORDS = {"left": -1.0, "right": 1.0, "l": -1.0, "r": 1.0}
_WORDS |= {"arrowleft": -1.0, "arrowright": 1.0, "leftarrow": -1.0, "rightarrow": 1.0}
_TRUE = {"true": 1.0, "false": 0.0, "yes": 1.0, "no": 0.0}
_TRAINING = {"training", "train", "learning", "learn", "feedback", "study"}
_TEST = {"test", "testing", "transfer", "generalisation", "generalization", "probe"}
_COMMA = re.compile(r"[+-]?\d*,\d+([eE][+-]?\d+)?")
_IBL = {"choice", "contrastLeft", "contrastRight", "feedbackType"}
_LONG_S = 30.0
"""Median reaction time above which times are in milliseconds."""


@dataclass(frozen=True)
class TrialsTable:
    """Trials in the order of the table, indexed by line.

    ``trials`` has the columns subject, session, group, phase, label, outcome,
    response, reaction_time_s, at (seconds since 1970 or NaN) and ``stimulus`` (text);
    ``features`` (trials, features) are numbers, or of no column where stimuli are only
    named. ``columns`` says which column each role was read from.
    """

    source: Foreign
    trials: pd.DataFrame
    features: pd.DataFrame
    columns: dict[str, list[str]]
    choice: bool
    notes: list[str]
    problems: list[Problem]


def trials_table(
    source: Foreign,
    said: Mapping[str, Sequence[str]],
    values: Mapping[str, Mapping[str, float]] | None = None,
    ranges: Mapping[str, tuple[float, float]] | None = None,
) -> TrialsTable:
    """The trials of a table, without the rows that cannot be read.

    ``said`` names columns by role, ``values`` what words of a role mean, as
    ``{"response": {"A": -1, "B": 1}}``, ``ranges`` which numbers of a role are -1 and
    1. Each row left out is a problem. Raises ``ValueError`` where no row is sound.
    """
    source = _with_ibl(source)
    columns, guessed = columns_of(list(source.cells.columns), said)
    reader = _Reader(source, columns, values or {}, ranges or {})
    reader.notes += [f"taken by its name: {guess}" for guess in guessed]
    features = reader.features()
    response = reader.side("response")
    label = reader.side("label") if "label" in columns else reader.label_of(response)
    trials = pd.DataFrame(
        {
            "subject": reader.text("subject", "s1"),
            "session": reader.text("session", ""),
            "group": reader.text("group", ""),
            "phase": reader.phase(),
            "label": label,
            "outcome": reader.outcome(response),
            "response": response,
            "reaction_time_s": reader.seconds(),
            "order": reader.number("trial"),
            "at": reader.time(),
            "stimulus": reader.stimulus(),
        },
        index=source.cells.index,
    )
    reader.refuse(~np.isfinite(label), "there is no label")
    sound = ~reader.refused
    if not sound.any():
        first = f": {reader.problems[0]}" if reader.problems else ""
        raise ValueError(f"no row of {source.name} can be read{first}")
    answers = trials["response"][sound].dropna()
    return TrialsTable(
        source,
        trials[sound],
        features[sound],
        columns,
        bool(len(answers) and answers.isin([-1.0, 1.0]).all()),
        [*source.notes, *reader.notes],
        [*source.problems, *sorted(reader.problems, key=lambda p: p.row or 0)],
    )


class _Reader:
    """Columns of a table by role; ``refused`` are rows that cannot be used."""

    def __init__(
        self,
        source: Foreign,
        columns: Mapping[str, Sequence[str]],
        values: Mapping[str, Mapping[str, float]],
        ranges: Mapping[str, tuple[float, float]],
    ) -> None:
        self._cells, self._name = source.cells, source.name
        self._columns, self._values, self._ranges = columns, values, ranges
        self.refused = np.zeros(len(self._cells), bool)
        self.problems: list[Problem] = []
        self.notes: list[str] = []

    def refuse(self, which: Any, reason: str, cells: Any = None) -> None:
        """Leave out rows, each with its reason, if they are not out already."""
        for i in np.flatnonzero(np.asarray(which) & ~self.refused):
            said = reason if cells is None else reason.format(repr(str(cells[i])))
            line = int(self._cells.index[i])
            self.problems.append(Problem(self._name, line, said, "it is left out"))
        self.refused |= np.asarray(which)

    def features(self) -> pd.DataFrame:
        """Stimuli as numbers; no column where they are named only."""
        names = list(self._columns["stimulus"])
        if len(names) == 1 and np.isnan(self._numbers(names[0], note=False)).all():
            return pd.DataFrame(index=self._cells.index)
        table = {}
        for name in names:
            table[name] = numbers = self._numbers(name)
            self._refuse_text(name, numbers)
            self.refuse(np.isnan(numbers), f"there is no {name}")
        return pd.DataFrame(table, index=self._cells.index)

    def stimulus(self) -> Any:
        """Stimuli as they are written."""
        first = self._columns["stimulus"][0]
        cells = self._cells[first].to_numpy(str)
        self.refuse(_missing(cells), f"there is no {first}")
        return cells

    def side(self, role: str) -> Floats:
        """Numbers from -1 (left) to 1 (right); NaN for empty cells."""
        (name,) = self._columns[role]
        cells = self._cells[name].to_numpy(str)
        if role in self._values:
            known = {word.lower(): value for word, value in self._values[role].items()}
            numbers = np.array([known.get(cell.lower(), np.nan) for cell in cells])
            words = ", ".join(self._values[role])
            unknown = np.isnan(numbers) & ~_missing(cells)
            self.refuse(unknown, f"{name} is {{}}, expected one of {words}", cells)
            return numbers
        numbers = self._numbers(name)
        said = np.array([_WORDS.get(cell.lower(), np.nan) for cell in cells])
        numbers = np.where(np.isnan(numbers), said, numbers)
        self._refuse_text(name, numbers)
        numbers = self._scaled(role, name, numbers)
        outside = np.abs(numbers) > 1
        hint = f"; --range {role}=LOW:HIGH tells what -1 and 1 are"
        self.refuse(outside, f"{name} is {{}}, outside -1 to 1{hint}", cells)
        return np.where(outside, np.nan, np.round(numbers, 6))

    def label_of(self, response: Floats) -> Floats:
        """Labels of choices, by whether each was right."""
        (name,) = self._columns["correct"]
        cells = self._cells[name].to_numpy(str)
        numbers = self._numbers(name)
        said = np.array([_TRUE.get(cell.lower(), np.nan) for cell in cells])
        right = np.where(np.isnan(numbers), said, numbers)
        self._refuse_text(name, right)
        self.notes.append(f"labels are what {name} makes of the responses")
        sides = np.where(np.isin(response, (-1.0, 1.0)), response, np.nan)
        return np.where(np.isnan(right), np.nan, np.where(right > 0, sides, -sides))

    def outcome(self, response: Floats) -> Any:
        """How each trial came out."""
        plain = np.where(np.isfinite(response), "responded", "omission").astype(object)
        if "outcome" not in self._columns:
            return plain
        (name,) = self._columns["outcome"]
        cells = self._cells[name].to_numpy(str)
        known = np.isin(cells, OUTCOMES)
        reason = f"{name} is {{}}, expected one of {', '.join(OUTCOMES)}"
        self.refuse(~known & ~_missing(cells), reason, cells)
        return np.where(known, cells, plain)

    def phase(self) -> Any:
        """Training or test; without a column all are test trials."""
        if "phase" not in self._columns:
            self.notes.append("there is no phase: every trial counts as a test trial")
            return np.full(len(self._cells), "test", object)
        (name,) = self._columns["phase"]
        cells = self._cells[name].to_numpy(str)
        lower = np.char.lower(cells)
        training, test = (np.isin(lower, [*words]) for words in (_TRAINING, _TEST))
        reason = f"{name} is {{}}, expected training or test"
        self.refuse(~training & ~test, reason, cells)
        return np.where(training, "training", "test").astype(object)

    def seconds(self) -> Floats:
        """Reaction times in seconds."""
        if "reaction_time" not in self._columns:
            return np.full(len(self._cells), np.nan)
        (name,) = self._columns["reaction_time"]
        numbers = self._numbers(name)
        self._refuse_text(name, numbers)
        wrong = ~(np.isnan(numbers) | ((numbers >= 0) & np.isfinite(numbers)))
        self.refuse(wrong, f"{name} is {{}}, expected a time", self._cells[name].array)
        known = numbers[np.isfinite(numbers)]
        if len(known) and (name.lower().endswith("ms") or np.median(known) > _LONG_S):
            self.notes.append(f"{name} is in milliseconds")
            numbers = numbers / 1000
        return np.where(wrong, np.nan, np.round(numbers, 6))

    def number(self, role: str) -> Floats:
        """Any number of a role; NaN where there is none."""
        if role not in self._columns:
            return np.full(len(self._cells), np.nan)
        return self._numbers(self._columns[role][0])

    def time(self) -> Floats:
        """Seconds since 1970."""
        if "time" not in self._columns:
            return np.full(len(self._cells), np.nan)
        cells = self._cells[self._columns["time"][0]]
        times = pd.to_datetime(cells, utc=True, format="ISO8601", errors="coerce")
        plain = times.dt.tz_localize(None).to_numpy("datetime64[ns]")
        return np.where(times.isna(), np.nan, plain.astype(np.int64) / 1e9)

    def text(self, role: str, default: str) -> Any:
        """Names of a role."""
        if role not in self._columns:
            return np.full(len(self._cells), default, object)
        (name,) = self._columns[role]
        cells = self._cells[name].to_numpy(object)
        if role != "group":
            self.refuse(_missing(cells.astype(str)), f"there is no {name}")
        return cells

    def _numbers(self, name: str, note: bool = True) -> Floats:
        """A column as numbers, NaN for what is none; a decimal comma is one too."""
        cells = self._cells[name]
        if cells.map(lambda cell: bool(_COMMA.fullmatch(cell))).any():
            cells = cells.str.replace(",", ".", regex=False)
            if note:
                self.notes.append(f"{name} has decimal commas")
        numbers: Floats = pd.to_numeric(cells, errors="coerce").to_numpy(float)
        return np.where(np.isinf(numbers), np.nan, numbers)

    def _refuse_text(self, name: str, numbers: Floats) -> None:
        cells = self._cells[name].to_numpy(str)
        text = np.isnan(numbers) & ~_missing(cells)
        self.refuse(text, f"{name} is {{}}, expected a number", cells)

    def _scaled(self, role: str, name: str, numbers: Floats) -> Floats:
        if role in self._ranges:
            low, high = self._ranges[role]
            return 2 * (numbers - low) / (high - low) - 1
        known = numbers[np.isfinite(numbers)]
        for low, high in ((0.0, 1.0), (1.0, 2.0)):
            both = len(known) and set(known) == {low, high}
            if both:
                self.notes.append(f"{name} {low:g} is -1 (left), {high:g} is 1 (right)")
                return 2 * (numbers - low) - 1
        return numbers


def _with_ibl(source: Foreign) -> Foreign:
    """With signed contrast, label and response where a table has IBL's columns.

    There a choice of -1 is one of the right side; a stimulus of no contrast is on the
    side that was right to choose.
    """
    cells = source.cells
    if not _IBL.issubset(cells.columns):
        return source
    number = {
        name: pd.to_numeric(cells[name], errors="coerce").to_numpy(float)
        for name in _IBL
    }
    right, left = (
        np.nan_to_num(number[f"contrast{side}"]) for side in ("Right", "Left")
    )
    response = np.where(number["choice"] == 0, np.nan, -number["choice"])
    said = response * np.sign(number["feedbackType"])
    label = np.where(right == left, said, np.sign(right - left))
    new = {"signed_contrast": right - left, "label": label, "response": response}
    if {"response_times", "stimOn_times"}.issubset(cells.columns):
        times = [
            pd.to_numeric(cells[name], errors="coerce").to_numpy(float)
            for name in ("response_times", "stimOn_times")
        ]
        new["reaction_time"] = np.round(times[0] - times[1], 6)
    made = {
        name: np.where(np.isnan(values), "", np.char.mod("%.10g", values))
        for name, values in new.items()
    }
    named = cells.drop(columns=["choice", *_IBL - {"choice"}])
    note = "columns are IBL's: signed contrast, side and label were made of them"
    return Foreign(
        source.name,
        source.sha256,
        named.assign(**made),
        [*source.notes, note],
        source.problems,
    )


def _missing(cells: Any) -> Any:
    return np.isin(np.char.lower(cells.astype(str)), [*_MISSING])
