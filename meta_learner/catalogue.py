"""Every search by its name in a study file."""

from collections.abc import Callable
from functools import partial

from meta_learner.evolution import Evolution, strategy_names
from meta_learner.gradient import OPTIMISERS, Gradient

SEARCHES: dict[str, Callable[..., Evolution | Gradient]] = {
    **{name: partial(Evolution, name) for name in strategy_names()},
    **{name: partial(Gradient, name) for name in OPTIMISERS},
}
"""Takes ``population``, ``genes`` and, if it is to differ, ``step_size``."""
