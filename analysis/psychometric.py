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
    passes = design.training_repeats
    if design.response != "choice" or passes < 2:
        return {}
    known = trials["trial"] >= design.training_stimuli * (passes - passes // 2)
    known &= (trials["phase"] == "training") & trials["response"].notna()
    found = {}
    for group in record.study.groups:
        own = trials[known & (trials["group"] == group)]
        function = fit_psychometric(own["label"].to_list(), own["response"].to_list())
        if function:
            found[group] = function
    return found
