"""How the labels of a labelling are distributed over [-1, 1].

Without any such demand the easiest labelling is a constant (paper section 2).
The paper adds a penalty to the meta-loss; for scalar labels each of its
divergences has a closed form on sorted labels, so no iteration is needed. Or
the demand is met by construction (``standardised``, ``exact``) and costs the
search nothing.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp

UNIFORM_STD = 3**-0.5
"""Standard deviation of the uniform distribution on [-1, 1]."""


STANDARD_STD = 0.5
"""Standard deviation of standardised labels: leaves room for tails within [-1, 1]."""


@jax.custom_jvp
def ascending(values: jax.Array) -> jax.Array:
    """Sort float32 values (n,), several times faster than ``jnp.sort`` on a CPU.

    Flipping the lower bits of negative floats makes their bit patterns sort as
    integers, which spares the comparator its care for NaN: there must be none.
    """
    bits = jax.lax.bitcast_convert_type(values, jnp.int32)
    ordered = jax.lax.sort(_flip(bits), is_stable=False)
    return jax.lax.bitcast_convert_type(_flip(ordered), jnp.float32)


@ascending.defjvp
def _ascending_jvp(
    primals: tuple[jax.Array], tangents: tuple[jax.Array]
) -> tuple[jax.Array, jax.Array]:
    order = jnp.argsort(primals[0])
    return primals[0][order], tangents[0][order]


def _flip(bits: jax.Array) -> jax.Array:
    return jnp.where(bits < 0, bits ^ 0x7FFFFFFF, bits)


def _quantiles(n: int) -> jax.Array:
    """``n`` evenly spaced quantiles of the uniform distribution on [-1, 1]."""
    return (2 * jnp.arange(n) + 1) / n - 1


def sinkhorn(y: jax.Array) -> jax.Array:
    """Squared Wasserstein-2 distance of labels ``(n,)`` to U[-1, 1].

    The limit of the Sinkhorn divergence without entropic blur: in one
    dimension optimal transport is a sort.
    """
    return jnp.mean((ascending(y) - _quantiles(y.shape[0])) ** 2)


def energy(y: jax.Array) -> jax.Array:
    """Energy distance of labels ``(n,)`` to U[-1, 1] (Szekely & Rizzo 2013)."""
    n = y.shape[0]
    # E|y - u| in closed form for |y| <= 1; E|u - u'| = 2/3; E|y - y'| by a sort.
    to_target = jnp.mean((y**2 + 1) / 2)
    within = 2 * jnp.mean(ascending(y) * (2 * jnp.arange(n) + 1 - n)) / n
    return 2 * to_target - 2 / 3 - within


def mmd(y: jax.Array) -> jax.Array:
    """Squared maximum mean discrepancy to U[-1, 1], Gaussian kernel of width 0.5.

    Gretton et al. 2012; the target is represented by 64 quantiles.
    """
    target = _quantiles(64)

    def similarity(a: jax.Array, b: jax.Array) -> jax.Array:
        return jnp.mean(jnp.exp(-((a[:, None] - b[None, :]) ** 2) / (2 * 0.5**2)))

    return similarity(y, y) - 2 * similarity(y, target) + similarity(target, target)


def variance(y: jax.Array) -> jax.Array:
    """Squared distance of mean and standard deviation to those of U[-1, 1].

    The paper's figure 8 asks for a standard deviation of 1, which labels
    within [-1, 1] only reach when all of them are extreme.
    """
    return (jnp.std(y) - UNIFORM_STD) ** 2 + jnp.mean(y) ** 2


def to_uniform(raw: jax.Array, reference: jax.Array) -> jax.Array:
    """Map raw values ``(n,)`` to labels by their rank among ``reference`` ``(m,)``.

    ``reference`` holds the same function on stimuli from p(x), sorted: labels
    of stimuli from p(x) are then uniform on [-1, 1] by construction.
    """
    target = _quantiles(reference.shape[0])
    # From above and from below: tied stimuli share the middle of their ranks.
    from_below = jnp.interp(-raw, -reference[::-1], target)
    return (jnp.interp(raw, reference, target) - from_below) / 2


PENALTIES: dict[str, Callable[[jax.Array], jax.Array]] = {
    "sinkhorn": sinkhorn,
    "energy": energy,
    "mmd": mmd,
    "variance": variance,
}
