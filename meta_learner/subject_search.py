"""The search that infers the subject: it is told sessions, not only their errors."""

from dataclasses import dataclass

import jax

from meta_learner.adaptive_design import propose
from meta_learner.assignment import Design
from meta_learner.bias import components
from meta_learner.subject_fit import Fit, precision_of, refit, start
from meta_learner.subject_model import Evidence, SubjectModel


@dataclass(frozen=True)
class SubjectSearch:
    """Asks what tells most about the subject's kernel; finds all components at once.

    Pure, as every search. Its state is the fitted model; ``tell`` is given all
    evidence so far and can be given it late, in any order or in part.
    """

    model: SubjectModel
    design: Design
    population: int

    def init(self, key: jax.Array) -> Fit:
        """The model before any session; ``key`` is that of every search, not used."""
        del key
        return start(self.model)

    def ask(
        self, state: Fit, evidence: Evidence, batch: int, key: jax.Array
    ) -> tuple[jax.Array, jax.Array]:
        """Labellings ``(batch, genes)`` and training stimuli ``(batch,)`` of each.

        ``evidence`` has pending sessions too: what is asked next takes for granted
        that they will be answered.
        """
        precision = precision_of(self.model, evidence, state)
        asked: tuple[jax.Array, jax.Array]
        asked = propose(self.model, self.design, state, precision, batch, key)
        return asked

    def tell(self, state: Fit, evidence: Evidence) -> Fit:
        """The model fitted to all evidence, from where it stood."""
        return refit(self.model, evidence, state)

    def best(self, state: Fit, k: int) -> jax.Array:
        """The components, ``(k, genes)``."""
        rows: jax.Array = components(self.model, state.parameters, k)[1]
        return rows
