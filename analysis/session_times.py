"""When trials began and ended, in seconds since their session was opened."""

from typing import Any

import numpy as np
import pandas as pd

SERVER, ORDINAL = "server", "ordinal"
"""Whose clock times are of; ``ordinal``: there is none, trials are only counted."""

CLOCK = {
    SERVER: (
        "Seconds on the server's clock since the session was opened. A trial ends when "
        "the client had the answer, by its clock set to the server's by the last "
        "heartbeat; or, where the client did not tell, when the server recorded it."
    ),
    ORDINAL: (
        "Not measured: these sessions have no times, as in-process dry runs and "
        "imported tables. Trials are counted, one a second, to keep their order."
    ),
}
"""What is said of times, by whose they are."""

_SLACK_S = 1.0
"""A client's reading may be later than the server's record, by its error."""


def trial_times(trials: pd.DataFrame, sessions: pd.DataFrame) -> pd.DataFrame:
    """``start_s``, ``stop_s`` and ``clock`` of each trial, indexed as ``trials``.

    A trial begins when the one before ended, since the server sends the next one with
    the acknowledgement of the last; the first when the session was opened. Where the
    times of a session do not increase its trials are counted instead: ``ordinal``.
    """
    session = trials["session"].astype("category").cat
    codes = session.codes
    opened = sessions.set_index("session")["opened_at"].reindex(session.categories)
    began = pd.Series(opened.array[codes], trials.index)
    recorded = (trials["recorded_at"] - began).dt.total_seconds()
    stop = recorded
    if "clock_server_utc_s" in trials:
        told = _told(trials["clock_server_utc_s"], began, recorded)
        # All of a session by one clock: two would not be in order.
        stop = told.where(_in_order(told, codes), recorded)
    counted = ~_in_order(stop, codes)
    stop = stop.mask(counted, trials["trial"] + 1.0)
    start = stop.groupby(codes.to_numpy(), sort=False).shift(1).fillna(0.0)
    start = start.mask(counted, trials["trial"].astype(float))
    clock = np.where(counted, ORDINAL, SERVER)
    return pd.DataFrame({"start_s": start, "stop_s": stop, "clock": clock})


def _told(reading: Any, began: Any, recorded: Any) -> Any:
    """The client's readings of the server's clock, without those that cannot be."""
    epoch = pd.Timestamp(0, tz="UTC")
    seconds = reading - (began - epoch).dt.total_seconds()
    wrong = seconds.isna() | (seconds <= 0) | (seconds > recorded + _SLACK_S)
    return recorded.where(wrong, seconds)


def _in_order(stop: Any, codes: Any) -> Any:
    """Whether all times of a trial's session are above 0 and increase."""
    by = codes.to_numpy()
    step = stop.groupby(by, sort=False).diff().fillna(stop)
    return (step > 0).groupby(by, sort=False).transform("all")
