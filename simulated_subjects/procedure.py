"""A learning procedure that was itself learnt: how a network takes in a few examples.

Raymond, Chen, Xue & Zhang 2024 (NPBML, arXiv 2406.07983) learn over many tasks where a
learner starts, what it descends and along which metric, and let all that bend to the
task. Each part can be left out: what remains is MAML (Finn et al. 2017), Meta-SGD (Li
et al. 2017) or a T-Net (Lee & Choi 2018). At birth every procedure is plain gradient
descent on the task's own loss.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, Protocol, get_args

import jax
import jax.numpy as jnp
import optax

from simulated_subjects.descent import descend
from simulated_subjects.layers import Layer, check_descent, uniform_layer

CONTEXT = 16
"""Numbers that sum up a task for what is modulated by it."""

_HIDDEN = 20
"""Units of each hidden layer of a meta-learned loss."""

LossTerm = Literal["inductive", "transductive", "regulariser"]
LOSS_TERMS: tuple[LossTerm, ...] = get_args(LossTerm)

Modulation = tuple[jax.Array, jax.Array]
"""Gain less 1 and shift of each unit of a layer, ``(units,)``."""

Procedure = dict[str, Any]
"""What was learnt: a tree of arrays for each part that is there."""


class Network(Protocol):
    """A network that can be warped and modulated; a frozen dataclass.

    ``widths`` are the units, or channels, of each hidden layer.
    """

    @property
    def widths(self) -> tuple[int, ...]:
        """Units of each hidden layer."""
        ...

    @property
    def outputs(self) -> int:
        """Numbers that it says of a stimulus."""
        ...

    def born(self, key: jax.Array) -> Any:
        """Weights before any learning."""
        ...

    def apply(
        self,
        weights: Any,
        warps: list[jax.Array] | None,
        modulations: list[Modulation] | None,
        x: jax.Array,
    ) -> tuple[jax.Array, jax.Array]:
        """Outputs ``(n, outputs)``, and the last hidden layer ``(n, units)``.

        ``warps`` (units, units) act on the drive of each hidden layer,
        ``modulations`` on its activity.
        """
        ...


@dataclass(frozen=True)
class Parts:
    """What of a procedure is learnt over tasks; what is not, is as at birth.

    ``initialisation``: where the descent starts; ``preconditioning``: a linear map
    behind each layer's weights, which stays as it is while they descend, so that they
    do so along another, block-diagonal metric; ``loss``: terms that are added to the
    task's own loss; ``modulation``: gain and shift (FiLM) of each unit of network and
    loss, by the task; ``rates``: a step size for each weight.
    """

    initialisation: bool = True
    preconditioning: bool = False
    loss: tuple[LossTerm, ...] = ()
    modulation: bool = False
    rates: bool = False


PROCEDURES: dict[str, Parts] = {
    "maml": Parts(),
    "meta_sgd": Parts(rates=True),
    "t_net": Parts(preconditioning=True),
    "npbml": Parts(preconditioning=True, loss=LOSS_TERMS, modulation=True),
}
"""Procedures by the names that they were published under."""


@dataclass(frozen=True)
class Rule:
    """How a network adapts: by which parts, in how many steps of what size.

    ``error`` is the task's own loss: ``squared``, or the cross-entropy of ``classes``.
    ``limit`` is the norm at which a step's gradient is cut off, so that no descent of a
    loss that was learnt can diverge.
    """

    parts: Parts
    steps: int = 5
    learning_rate: float = 0.01
    error: Literal["squared", "classes"] = "squared"
    limit: float | None = None

    def __post_init__(self) -> None:
        """Refuse what is no gradient descent."""
        check_descent(self.learning_rate, self.steps)
        if self.limit is not None and not self.limit > 0:
            raise ValueError(f"limit must be above 0, got {self.limit}")

    def errors(self, outputs: jax.Array, y: jax.Array) -> jax.Array:
        """Loss of each stimulus ``(n,)``: ``y`` are labels, or numbers of classes."""
        if self.error == "squared":
            return (outputs[:, 0] - y) ** 2
        entropy: jax.Array
        entropy = optax.losses.softmax_cross_entropy_with_integer_labels(outputs, y)
        return entropy

    def said(self, network: Network, y: jax.Array) -> jax.Array:
        """Labels in the form of outputs, ``(n, outputs)``."""
        if self.error == "squared":
            return y[:, None]
        return jax.nn.one_hot(y, network.outputs)


class Adapted(NamedTuple):
    """A network that has learnt a task: all that it takes to answer."""

    weights: Any
    warps: list[jax.Array] | None
    modulations: list[Modulation] | None


def born(rule: Rule, network: Network, key: jax.Array) -> Procedure:
    """A procedure before any upbringing: plain gradient descent."""
    parts, out = rule.parts, network.outputs
    keys = iter(jax.random.split(key, 8))
    procedure: Procedure = {}
    weights = network.born(next(keys))
    if parts.initialisation:
        procedure["weights"] = weights
    if parts.rates:
        procedure["rates"] = jax.tree.map(
            lambda w: jnp.full_like(w, rule.learning_rate), weights
        )
    if parts.preconditioning:
        procedure["warps"] = [jnp.eye(width) for width in network.widths]
    inputs = {"inductive": 2 * out + 1, "transductive": 2 * out + 1, "regulariser": 4}
    for term in parts.loss:
        procedure[term] = _born_loss(next(keys), inputs[term])
    if parts.modulation:
        procedure["context"] = [
            uniform_layer(next(keys), network.widths[-1] + out, CONTEXT),
            uniform_layer(next(keys), CONTEXT, CONTEXT),
        ]
        procedure["films"] = [_neutral(width) for width in network.widths]
    return procedure


def adapt(
    rule: Rule,
    network: Network,
    procedure: Procedure,
    key: jax.Array,
    x: jax.Array,
    y: jax.Array,
    query: jax.Array,
) -> Adapted:
    """The network after it has learnt stimuli ``(n, features)`` with labels ``(n,)``.

    ``query`` ``(m, features)`` are stimuli without labels that the transductive term
    looks at; ``key`` draws the weights where no start was learnt.
    """
    start = procedure.get("weights")
    start = network.born(key) if start is None else start
    warps = procedure.get("warps")
    context = None
    if rule.parts.modulation:
        context = _context(rule, network, procedure, start, x, y)
    modulations = None
    if context is not None:
        modulations = [_modulation(film, context) for film in procedure["films"]]
    loss = _loss(rule, network, procedure, start, context, x, y, query)

    def of_weights(weights: Any, step: jax.Array) -> jax.Array:
        del step  # all stimuli at every step
        return loss(Adapted(weights, warps, modulations))

    if rule.parts.rates:
        rates = procedure["rates"]
        sized = optax.stateless(
            lambda slope, _: jax.tree.map(lambda g, r: -g * r, slope, rates)
        )
    else:
        sized = optax.sgd(rule.learning_rate)
    if rule.limit is not None:
        sized = optax.chain(optax.clip_by_global_norm(rule.limit), sized)
    weights = descend(of_weights, start, sized, rule.steps)
    return Adapted(weights, warps, modulations)


def outputs(network: Network, adapted: Adapted, x: jax.Array) -> jax.Array:
    """What an adapted network says of stimuli ``(m, features)``, ``(m, outputs)``."""
    return network.apply(*adapted, x)[0]


def _loss(
    rule: Rule,
    network: Network,
    procedure: Procedure,
    start: Any,
    context: jax.Array | None,
    x: jax.Array,
    y: jax.Array,
    query: jax.Array,
) -> Callable[[Adapted], jax.Array]:
    """What is descended: the task's own loss, and the terms that were learnt."""
    warps = procedure.get("warps")
    said = rule.said(network, y)
    if "transductive" in rule.parts.loss:
        # What the labelled stimuli say of those without, by likeness at the start.
        seen = network.apply(start, warps, None, x)[1]
        asked = network.apply(start, warps, None, query)[1]
        expected = _likeness(asked, seen) @ said

    def loss(adapted: Adapted) -> jax.Array:
        guess = network.apply(*adapted, x)[0]
        each = rule.errors(guess, y)
        total = jnp.mean(each)
        if "inductive" in rule.parts.loss:
            told = jnp.concatenate([guess, said, each[:, None]], 1)
            total += _term(procedure["inductive"], told, context)
        if "transductive" in rule.parts.loss:
            guesses = network.apply(*adapted, query)[0]
            gap = jnp.mean((guesses - expected) ** 2, 1, keepdims=True)
            told = jnp.concatenate([guesses, expected, gap], 1)
            total += _term(procedure["transductive"], told, context)
        if "regulariser" in rule.parts.loss:
            told = jnp.stack([_size(w) for w in jax.tree.leaves(adapted.weights)])
            total += _term(procedure["regulariser"], told, context)
        return total

    return loss


def _likeness(asked: jax.Array, seen: jax.Array) -> jax.Array:
    """How much each asked stimulus is like each seen one, ``(m, n)``, rows sum to 1."""
    apart = jnp.sum((asked[:, None] - seen[None]) ** 2, -1)
    # In units of the distance that is usual here.
    return jax.nn.softmax(-4 * apart / (jnp.mean(apart) + 1e-6), axis=1)


def _size(weights: jax.Array) -> jax.Array:
    """Mean, standard deviation, mean size and mean square of weights."""
    spread = jnp.sqrt(jnp.var(weights) + 1e-12)
    size = jnp.mean(jnp.abs(weights))
    return jnp.stack([jnp.mean(weights), spread, size, jnp.mean(weights**2)])


def _context(
    rule: Rule,
    network: Network,
    procedure: Procedure,
    start: Any,
    x: jax.Array,
    y: jax.Array,
) -> jax.Array:
    """A task in :data:`CONTEXT` numbers: a mean over its labelled stimuli."""
    seen = network.apply(start, procedure.get("warps"), None, x)[1]
    value = jnp.concatenate([seen, rule.said(network, y)], 1)
    first, second = procedure["context"]
    return jnp.tanh(second(jnp.mean(jax.nn.silu(first(value)), 0)))


def _neutral(width: int) -> Layer:
    """What modulates by nothing, whatever the task."""
    return Layer(jnp.zeros((CONTEXT, 2 * width)), jnp.zeros(2 * width))


def _modulation(film: Layer, context: jax.Array) -> Modulation:
    gain, shift = jnp.split(film(context), 2)
    return gain, shift


def modulated(activity: jax.Array, modulation: Modulation) -> jax.Array:
    """FiLM (Perez et al. 2018): activity ``(..., units)`` by gain and shift."""
    gain, shift = (jnp.broadcast_to(m, activity.shape) for m in modulation)
    return (1 + gain) * activity + shift


def _born_loss(key: jax.Array, inputs: int) -> dict[str, list[Layer]]:
    """A loss term that says nothing yet: its last layer is zero."""
    first, second = jax.random.split(key)
    return {
        "layers": [
            uniform_layer(first, inputs, _HIDDEN),
            uniform_layer(second, _HIDDEN, _HIDDEN),
            Layer(jnp.zeros((_HIDDEN, 1)), jnp.zeros(1)),
        ],
        "films": [_neutral(_HIDDEN), _neutral(_HIDDEN)],
    }


def _term(
    term: dict[str, list[Layer]], told: jax.Array, context: jax.Array | None
) -> jax.Array:
    """Mean over what it is told of, ``(n, inputs)``."""
    *hidden, last = term["layers"]
    value = told
    for layer, film in zip(hidden, term["films"], strict=True):
        value = jax.nn.silu(layer(value))
        if context is not None:
            value = modulated(value, _modulation(film, context))
    return jnp.mean(last(value))
