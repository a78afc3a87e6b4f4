"""At most one live session of each subject and each rig, over all studies.

Of one database: what holds them apart is its unique key, so that it holds between
processes too.
"""

from collections.abc import Mapping
from typing import Literal, NamedTuple

from sqlalchemy import delete, insert, select
from sqlalchemy.engine import Engine
from sqlalchemy.exc import IntegrityError

from server.database import failures
from server.schema import holds

Kind = Literal["subject", "rig"]


class Hold(NamedTuple):
    """A subject or a rig, and the live session that it is in."""

    kind: Kind
    name: str
    study: str
    session: str


class Holds:
    """Who is in which session; every method raises ``JournalError``."""

    def __init__(self, engine: Engine) -> None:
        """Over the tables of a database, as ``Journal.engine`` gives it."""
        self._engine = engine
        self._where = engine.url.render_as_string()

    def take(self, kind: Kind, name: str, study: str, session: str) -> Hold | None:
        """Take a subject or rig; None if it is ours now or was, else who has it."""
        wanted = Hold(kind, name, study, session)
        while True:
            held = self.held(kind, name)
            if held is not None:
                return None if held == wanted else held
            try:
                with failures("write", self._where), self._engine.begin() as connection:
                    connection.execute(insert(holds), wanted._asdict())
            except OSError as error:
                # Another took it in between, and may even have released it again.
                if not isinstance(error.__cause__, IntegrityError):
                    raise
            else:
                return None

    def held(self, kind: Kind, name: str) -> Hold | None:
        """Who has a subject or rig."""
        query = select(*holds.c).where(holds.c.kind == kind, holds.c.name == name)
        with failures("read", self._where), self._engine.connect() as connection:
            row = connection.execute(query).first()
        return Hold(*row) if row else None

    def release(self, study: str, session: str | None = None) -> None:
        """Give back all that a session has taken, or that a whole study has."""
        ours = delete(holds).where(holds.c.study == study)
        if session is not None:
            ours = ours.where(holds.c.session == session)
        with failures("write", self._where), self._engine.begin() as connection:
            connection.execute(ours)

    def resync(
        self, study: str, sessions: Mapping[tuple[Kind, str], str]
    ) -> list[Hold]:
        """Hold for a study what its live sessions have, and nothing else.

        ``sessions`` are those of its journal, by what they have taken. A subject or
        rig that another study took meanwhile is left there; returned are such holds.
        """
        ours = select(*holds.c).where(holds.c.study == study)
        with failures("write", self._where), self._engine.begin() as connection:
            for row in connection.execute(ours).all():
                kind, name, _, session = row
                if sessions.get((kind, name)) != session:  # over, or never begun
                    key = (holds.c.kind == kind, holds.c.name == name)
                    connection.execute(delete(holds).where(*key))
        taken = (self.take(*key, study, name) for key, name in sessions.items())
        return [hold for hold in taken if hold is not None]
