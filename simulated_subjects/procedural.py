"""A subject whose procedure of learning was learnt: the positive control."""

from dataclasses import dataclass
from functools import cached_property
from hashlib import sha256
from pathlib import Path

import jax

from simulated_subjects.planting import Subject, fresh, learn
from simulated_subjects.procedural_file import of_bytes, read
from simulated_subjects.procedure import Adapted, outputs


# Compared by what the file holds: the same path may hold another subject a moment
# later, and compiled code remembers the numbers that it was compiled for.
@dataclass(frozen=True, eq=False)
class Procedural:
    """A network that adapts by a meta-learned procedure (NPBML and its relatives).

    ``subject`` is a file that `penchant plant` made, on whose bias it was brought up.
    All that are brought up so are alike: individuals (keys) differ only where the
    start was not learnt. Without a file nothing was learnt yet: the same network with
    a hundred steps of plain gradient descent, whose start each individual draws, the
    control for what an upbringing brings. See
    :mod:`simulated_subjects.procedure` for the procedures. While it learns, the
    subject also looks at the stimuli without labels that it remembers.

    Raises ``ValueError`` for a file that holds no subject.
    """

    subject: str | None = None

    def __post_init__(self) -> None:
        """Read the file, so that it is refused before a study begins."""
        _ = self._subject

    def __eq__(self, other: object) -> bool:
        """Whether both are the same subject."""
        return isinstance(other, Procedural) and other._sha256 == self._sha256

    def __hash__(self) -> int:
        """That of the file's content."""
        return hash(self._sha256)

    def train(self, key: jax.Array, x: jax.Array, y: jax.Array) -> Adapted:
        """The network after its few steps.

        Raises ``ValueError`` if ``x`` have other features than it was brought up on.
        """
        return learn(self._subject_for(x.shape[1]), key, x, y)

    def predict(self, state: Adapted, x: jax.Array) -> jax.Array:
        """Output of the network, shape ``(m,)``."""
        return outputs(self._subject_for(x.shape[1]).network, state, x)[:, 0]

    def content(self) -> bytes:
        """The file as it was read; empty without one."""
        return self._content

    @cached_property
    def _content(self) -> bytes:
        return read(Path(self.subject)) if self.subject else b""

    @cached_property
    def _sha256(self) -> str:
        return sha256(self._content).hexdigest()

    @cached_property
    def _subject(self) -> Subject | None:
        return of_bytes(self._content, self.subject) if self.subject else None

    def _subject_for(self, features: int) -> Subject:
        subject = self._subject or fresh(features)
        if subject.network.inputs != features:
            raise ValueError(
                f"{self.subject} was brought up on stimuli of {subject.network.inputs} "
                f"features, got {features}: plant one for this stimulus space"
            )
        return subject
