"""What a subject was given and weighed, over all studies and rigs of a database."""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import func, select
from sqlalchemy.engine import Engine

from server.database import failures
from server.schema import rewards, weights


@dataclass(frozen=True)
class Given:
    """A reward; ``granted`` unless it was given by hand. ``at`` since 1970 (s)."""

    at: float
    study: str
    session: str
    uid: str
    rig: str
    microlitre: float
    how: str
    granted: bool


@dataclass(frozen=True)
class Weight:
    """A weight, and the one at free water where that was said. ``at`` as above."""

    at: float
    study: str
    grams: float
    baseline_grams: float | None


@dataclass(frozen=True)
class History:
    """All of a subject, oldest first."""

    rewards: list[Given]
    weights: list[Weight]


_GIVEN = [rewards.c[name] for name in Given.__dataclass_fields__]
_WEIGHT = [weights.c[name] for name in Weight.__dataclass_fields__]


class Ledger:
    """The rewards and weights of subjects; every method raises ``JournalError``."""

    def __init__(self, engine: Engine) -> None:
        """Over the tables of a database, as ``Journal.engine`` gives it."""
        self._engine = engine
        self._where = engine.url.render_as_string()

    def given(self, subject: str, since: float, but: str | None = None) -> float:
        """Microlitres that a subject was given at or after a time (s since 1970).

        In all studies, or in all ``but`` one.
        """
        total = func.coalesce(func.sum(rewards.c.microlitre), 0.0)
        query = select(total).where(rewards.c.subject == subject, rewards.c.at >= since)
        if but is not None:
            query = query.where(rewards.c.study != but)
        with failures("read", self._where), self._engine.connect() as connection:
            return float(connection.execute(query).scalar_one())

    def given_each(
        self, subjects: Sequence[str], since: float, but: str
    ) -> dict[str, float]:
        """As :meth:`given`, of several subjects at once; those without any are not in.

        In all studies ``but`` one.
        """
        total = func.sum(rewards.c.microlitre)
        query = (
            select(rewards.c.subject, total)
            .where(
                rewards.c.subject.in_(subjects),
                rewards.c.at >= since,
                rewards.c.study != but,
            )
            .group_by(rewards.c.subject)
        )
        with failures("read", self._where), self._engine.connect() as connection:
            return {who: float(much) for who, much in connection.execute(query)}

    def last_reward(self, subject: str) -> float | None:
        """When a subject was last given anything (s since 1970)."""
        query = select(func.max(rewards.c.at)).where(rewards.c.subject == subject)
        with failures("read", self._where), self._engine.connect() as connection:
            last = connection.execute(query).scalar()
        return None if last is None else float(last)

    def last_weight(self, subject: str) -> Weight | None:
        """What a subject weighed last; the baseline is the last one that was said."""
        query = (
            select(*_WEIGHT)
            .where(weights.c.subject == subject)
            .order_by(weights.c.at.desc(), weights.c.seq.desc())
        )
        baseline = query.where(weights.c.baseline_grams.is_not(None)).limit(1)
        with failures("read", self._where), self._engine.connect() as connection:
            last = connection.execute(query.limit(1)).first()
            known = connection.execute(baseline).first()
        if last is None:
            return None
        at, study, grams, _ = last
        return Weight(at, study, grams, known[3] if known else None)

    def history(self, subject: str) -> History:
        """Every reward and weight of a subject."""
        given = select(*_GIVEN).where(rewards.c.subject == subject)
        weighed = select(*_WEIGHT).where(weights.c.subject == subject)
        with failures("read", self._where), self._engine.connect() as connection:
            return History(
                [Given(*row) for row in connection.execute(given.order_by("at"))],
                [Weight(*row) for row in connection.execute(weighed.order_by("at"))],
            )
