"""How subjects turned labels that they knew into choices."""

import pandas as pd

from analysis.record import Record
from meta_learner.psychometric import Psychometric, fit_psychometric


def fitted(record: Record, trials: pd.DataFrame) -> dict[str, Psychometric]:
    """The psychometric function of each group, all its sessions together.

    From answers to training stimuli in the second half of the passes over them, as
    :func:`analysis.frames.trials_frame` has them; a group is left out where there
    are fewer than 20, as where a client reports test trials only.
    """
    design = record.study.design
    if design.response != "choice" or design.training_repeats < 2:
        return {}
    found = {}
    for group in record.study.groups:
        own = known_labels(record, trials, group)
        function = fit_psychometric(own["label"].to_list(), own["response"].to_list())
        if function:
            found[group] = function
    return found


def known_labels(record: Record, trials: pd.DataFrame, group: str) -> pd.DataFrame:
    """A group's answers in the second half of the passes over training stimuli."""
    design = record.study.design
    passes = design.training_repeats
    late = trials["trial"] >= design.training_stimuli * (passes - passes // 2)
    late &= (trials["phase"] == "training") & trials["response"].notna()
    return trials[late & (trials["group"] == group)]
