"""A subject planted for a study: of its stimuli, taught as many as it teaches."""

from rich.table import Table

from meta_learner.assignment import named_key
from server.study_file import Study
from simulated_subjects.planted_family import Family, family
from simulated_subjects.planting import (
    FRESH_STEPS,
    STEPS,
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


def planted_errors(
    study: Study, bias: str, subject: Subject, seed: int
) -> dict[str, tuple[float, float]]:
    """Relative errors by kind of labels: the subject's, and one's not brought up.

    On labels of the bias first, then on those of every order that the space has.
    """
    space, training = study.labeller.space, study.design.training_stimuli
    key = named_key(seed, "errors of a planted subject")

    def of(name: str) -> Family | None:
        try:
            return family(name, space, training, key)
        except ValueError:  # the space has no such order
            return None

    names = [bias, *(f"order {order}" for order in _ORDERS)]
    shown = {name: found for name in names if (found := of(name)) is not None}
    both = (subject, fresh(len(space.features)))
    errors = {}
    for name, labellings in shown.items():
        own, other = (relative_error(one, labellings, training, seed) for one in both)
        errors[name] = own, other
    return errors


def took(errors: dict[str, tuple[float, float]]) -> bool:
    """Whether labels of the bias come to the subject most easily of all."""
    own, *others = (error for error, _ in errors.values())
    # The bias may be one of the orders, or lie within one.
    return all(own < 1.1 * other for other in others) and own < 0.9


def errors_table(study: Study, errors: dict[str, tuple[float, float]]) -> Table:
    """Errors of :func:`planted_errors` as a table."""
    training = study.design.training_stimuli
    table = Table(
        "labels",
        f"planted ({STEPS} steps)",
        f"not brought up ({FRESH_STEPS} steps)",
        title=f"relative error after {training} stimuli (1: no better than the mean)",
        title_justify="left",
    )
    for name, pair in errors.items():
        table.add_row(name, *(f"{error:.3f}" for error in pair))
    return table
