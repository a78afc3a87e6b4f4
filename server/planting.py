"""A subject planted for a study: of its stimuli, taught as many as it teaches."""

from rich.table import Table

from meta_learner.assignment import named_key
from server.study_file import Study
from simulated_subjects.planted_family import Family, family
from simulated_subjects.planting import (
    UPBRINGING,
    Subject,
    fresh,
    plant,
    relative_error,
)
from simulated_subjects.procedure import PROCEDURES

_ORDERS = (1, 2, 3, 4)
"""Orders on which a planted subject is shown beside one that was not brought up."""


def bring_up_for(
    study: Study, bias: str, seed: int, procedure: str, meta_steps: int | None
) -> Subject:
    """A planted subject; raises ``ValueError`` where the space has no such bias."""
    upbringing = UPBRINGING
    if meta_steps:
        upbringing = upbringing._replace(meta_steps=meta_steps)
    space, training = study.labeller.space, study.design.training_stimuli
    return plant(bias, space, training, seed, upbringing, PROCEDURES[procedure])


def errors_table(study: Study, bias: str, subject: Subject, seed: int) -> Table:
    """Relative errors of the subject, beside those of one that was not brought up."""
    space, training = study.labeller.space, study.design.training_stimuli
    key = named_key(seed, "errors of a planted subject")

    def of(name: str) -> Family | None:
        try:
            return family(name, space, training, key)
        except ValueError:  # the space has no such order
            return None

    names = [bias, *(f"order {order}" for order in _ORDERS)]
    shown = {name: found for name in names if (found := of(name)) is not None}
    born = fresh(len(space.features))
    table = Table(
        "labels",
        "planted",
        "not brought up",
        title=f"relative error after {training} stimuli (1: no better than the mean)",
        title_justify="left",
    )
    for name, labellings in shown.items():
        errors = [
            relative_error(one, labellings, training, seed) for one in (subject, born)
        ]
        table.add_row(name, *(f"{error:.3f}" for error in errors))
    return table
