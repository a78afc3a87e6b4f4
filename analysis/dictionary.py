"""What every column of the tables is: description, unit, levels."""

import re
from typing import NamedTuple

import pandas as pd

from analysis.coherence import OUTCOMES
from analysis.frames import Frames
from analysis.record import Record
from stimuli.table import Table


class Column(NamedTuple):
    """What a column holds; ``unit`` is empty where there is none."""

    description: str
    unit: str = ""
    levels: dict[str, str] | None = None


PHASES = {
    "training": "The subject is told something of the label after it.",
    "test": "The subject is told nothing.",
}

OUTCOME_LEVELS = {
    "responded": "The subject responded; in training it may just have watched.",
    "omission": "No response.",
    "premature": "A response before it was allowed.",
    "aborted": "The trial was cut off.",
    "invalid": "What the apparatus reported cannot be used.",
}

STATUS_LEVELS = {
    "finished": "All trials were done and its error could be worked out.",
    "open": "Not ended yet.",
    "lost": "The client was silent for longer than its lease.",
    "abandoned": "Given up by the subject, by its client or by an operator.",
    "unusable": "All trials were done, but too few were answered.",
}

_SLOT = {
    "component": Column(
        "Number of the component that was searched: the k-th labelling of an "
        "orthogonal series, from 0"
    ),
    "generation": Column("Number of the generation within the component, from 0"),
    "candidate": Column("Number of the candidate labelling in its generation, from 0"),
    "attempt": Column("Number of the session on the same candidate, from 0"),
}

_RESPONSE = {
    "graded": "Graded answer: the label that the subject predicts, in [-1, 1]",
    "choice": "Choice: -1 is left, 1 is right",
}

_TRIALS = {
    "session": Column("Name of the session"),
    **_SLOT,
    "subject": Column("Pseudonym of the subject"),
    "group": Column("Group of the subject; empty in a study without groups"),
    "trial": Column("Number of the trial in its session, from 0"),
    "phase": Column("Phase of the session", levels=PHASES),
    "stimulus": Column(
        "Number of the stimulus in its session, from 0, training stimuli first"
    ),
    "label": Column("What the labelling says of the stimulus, in [-1, 1], told or not"),
    "outcome": Column("How the trial came out", levels=OUTCOME_LEVELS),
    "reaction_time_s": Column(
        "Reaction time, a difference on one clock of the client", "s"
    ),
    "recorded_at": Column("When the server stored the response, UTC"),
    "right_rewarded": Column(
        "Whether a response to the right was drawn to pay in this training trial, and "
        "one to the left not to; missing where no reward was drawn"
    ),
    "reward_microlitre": Column("Volume of liquid given in the trial", "uL"),
    "reward_how": Column(
        "Why it was given",
        levels={
            "earned": "For the response.",
            "automatic": "By the task, whatever the subject did.",
            "free": "Beside the task.",
        },
    ),
}

_CLOCKS = {
    "clock_host_monotonic_s": ("Monotonic clock of the client's computer", "s"),
    "clock_host_utc_s": ("UTC by the client's computer, since 1970", "s"),
    "clock_server_utc_s": (
        "UTC by the server, as the client's last heartbeat tells, since 1970",
        "s",
    ),
    "clock_round_trip_s": ("Round trip of that heartbeat", "s"),
    "clock_rig_s": ("Clock of the rig's hardware at the stimulus", "s"),
    "clock_response_time_s": ("Time of the response, from the client", "s"),
    "clock_reward_after_s": (
        "When the reward was given, since the trial was sent",
        "s",
    ),
    "clock_onset_s": ("First frame of the stimulus, on the client's clock", "s"),
    "clock_shown_s": ("How long the stimulus was shown", "s"),
    "clock_requested_s": ("How long the stimulus was to be shown", "s"),
    "clock_frames_dropped": ("Frames missed between onset and answer", "1"),
    "clock_hidden_s": ("For how long the page was hidden in the trial", "s"),
    "clock_full_screen": ("Whether the page filled the screen: 1 or 0", "1"),
    "clock_size_px": ("Diameter of the stimulus, in CSS pixels", "px"),
    "clock_interrupted": ("How often the trial began anew", "1"),
    "clock_audio_latency_s": ("Latency of sound, as the browser tells", "s"),
    "clock_reward_assumed": (
        "1: nobody saw whether the reward was given, so it counts as given",
        "1",
    ),
}

_SESSIONS = {
    "session": Column("Name of the session"),
    **_SLOT,
    "subject": Column("Pseudonym of the subject"),
    "group": Column("Group of the subject; empty in a study without groups"),
    "rig": Column("Apparatus; empty if none was named"),
    "exposure": Column("Sessions that the subject had begun before"),
    "client": Column("What the client said of itself, as JSON"),
    "opened_at": Column("When the session was opened, UTC"),
    "ended_at": Column("When the session ended, UTC; missing if it has not"),
    "status": Column("How the session ended", levels=STATUS_LEVELS),
    "reason": Column("Why it ended so, if anything was said"),
    "error": Column(
        "Generalisation error: mean squared difference of answer and label"
    ),
    "standard_error": Column("Standard error of the generalisation error"),
    "label_variance": Column("Variance of the ideal answers of the test trials"),
    "test_trials": Column("Test trials that the error was worked out from"),
    "used": Column("Whether the error scored a candidate"),
    "late": Column("Whether the session was given up as lost and came back"),
    "relative_error": Column("Generalisation error over the variance of labels"),
    **{name: Column(f"Trials with outcome {name}") for name in OUTCOMES},
}

_GENERATIONS = {
    "component": _SLOT["component"],
    "generation": _SLOT["generation"],
    "candidates": Column("Candidates asked together"),
    "asked_at": Column("When they were asked, UTC"),
    "sessions": Column("Sessions begun on them"),
    "scored": Column("Sessions whose error scored a candidate"),
    "told_at": Column("When the search was told, UTC"),
    "best_loss": Column("Lowest meta-loss of the candidates"),
    "median_loss": Column("Median meta-loss of the candidates"),
    "trust": Column("How far the model that helps the search had proved right"),
    "screened": Column("Candidates that the model put in place of others"),
    "sessions_so_far": Column("Sessions begun up to and including this generation"),
}

_COMPONENTS = {
    "component": _SLOT["component"],
    "provisional": Column("Whether the component is not frozen yet"),
    "generations": Column("Generations that it took"),
    "sessions": Column("Sessions that it took"),
}

_TABLES = {
    "trials": _TRIALS,
    "sessions": _SESSIONS,
    "generations": _GENERATIONS,
    "components": _COMPONENTS,
}

_ERROR = re.compile(
    r"(best|median|mean|lower_quartile|upper_quartile|first|final)_error(?:_(.+))?"
)
_OF_ERRORS = {
    "best": "Lowest relative error of the generation",
    "median": "Median relative error of the generation",
    "mean": "Mean relative error of the generation",
    "lower_quartile": "Lower quartile of relative errors of the generation",
    "upper_quartile": "Upper quartile of relative errors of the generation",
    "first": "Relative error in the first tenth of the generations",
    "final": "Relative error in the last tenth of the generations",
}


def describe(record: Record, tables: Frames) -> dict[str, dict[str, Column]]:
    """What each column of each table is, in the order of the table."""
    features = feature_columns(record, tables.trials)
    return {
        name: {column: _column(record, name, column, features) for column in table}
        for name, table in tables._asdict().items()
    }


def describe_trials(record: Record, trials: pd.DataFrame) -> dict[str, Column]:
    """The same of the trials alone."""
    features = feature_columns(record, trials)
    return {name: _column(record, "trials", name, features) for name in trials}


def describe_sessions(record: Record, sessions: pd.DataFrame) -> dict[str, Column]:
    """The same of the sessions alone."""
    return {name: _column(record, "sessions", name, {}) for name in sessions}


def feature_columns(record: Record, trials: pd.DataFrame) -> dict[str, Column]:
    """The columns of trials that are features of the stimulus."""
    space = record.study.labeller.space
    names = list(trials)
    first = names.index("stimulus") + 1
    scored = isinstance(space, Table)
    columns = {}
    for name, feature in zip(names[first:], space.features, strict=False):
        said = f"Feature {feature.name!r} of the stimulus"
        if scored:
            unit = f", of values in {feature.unit}" if feature.unit else ""
            said += f", as z-score over the study's table of stimuli{unit}"
        columns[name] = Column(said, "" if scored else feature.unit)
    return columns


def _column(
    record: Record, table: str, name: str, features: dict[str, Column]
) -> Column:
    if table == "trials":
        if name == "response":
            return Column(_RESPONSE[record.study.design.response])
        if name in features:
            return features[name]
        if name.startswith("clock_"):
            return Column(*_CLOCKS.get(name, (_said_by_client(name), "")))
    if name in _TABLES[table]:
        return _TABLES[table][name]
    if found := _ERROR.fullmatch(name):
        group = f", group {found[2]}" if found[2] else ""
        return Column(f"{_OF_ERRORS[found[1]]}{group}")
    if name.startswith("power_"):
        order = name.removeprefix("power_")
        return Column(f"Share of the variance of labels in order {order} of the basis")
    return Column(name.replace("_", " ").capitalize())


def _said_by_client(name: str) -> str:
    return f"Reading {name.removeprefix('clock_')!r} of the client, as it came"
