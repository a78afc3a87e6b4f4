"""Every figure by its name on the command line, in the order of the paper."""

from reproduction import kernels, mushroom_body
from reproduction.claim import Entry

FIGURES: dict[str, Entry] = {**kernels.FIGURES, **mushroom_body.FIGURES}
