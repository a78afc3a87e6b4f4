"""Every figure by its name on the command line, in the order of the paper.

Behind them what is of another paper.
"""

from reproduction import (
    digits,
    discussion,
    kernels,
    mushroom_body,
    networks,
    npbml,
    spiking,
)
from reproduction.claim import Entry

_ALL = {
    **kernels.FIGURES,
    **networks.FIGURES,
    **spiking.FIGURES,
    **digits.FIGURES,
    **mushroom_body.FIGURES,
    **discussion.FIGURES,
}


def _place(name: str) -> tuple[int, str]:
    """``fig3c`` before ``fig10``; what has no number comes last."""
    number = "".join(filter(str.isdigit, name))
    return (int(number) if number else 1000, name)


FIGURES: dict[str, Entry] = {
    **{name: _ALL[name] for name in sorted(_ALL, key=_place)},
    **npbml.FIGURES,
}
