"""A server put together: studies, tokens, limits, metrics, watch."""

import logging
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from flask import Flask
from flask_socketio import SocketIO
from sqlalchemy import update
from sqlalchemy.engine import Engine

from server.access import Access
from server.alarms import Alarm, Snapshot
from server.app import create_app
from server.database import open_database, shown
from server.door import Door
from server.limits import Limits
from server.logs import log_fact
from server.metrics import Metrics
from server.protocol import ProtocolError
from server.safety_section import SafetySection
from server.schema import version_table
from server.studies import Studies
from server.study_file import Study
from server.watch import Watch, Webhook

SWITCH_S = 0.0005
"""How long one thread may keep others waiting; Python's own choice is 5 ms."""

PATIENCE_S = 2.0
"""How long a server that is closed waits for work that nobody needs any more."""


_LOG = logging.getLogger(__name__)


@dataclass
class Server:
    """All that one process serves with; :meth:`close` gives everything back."""

    app: Flask
    socketio: SocketIO
    studies: Studies
    watch: Watch
    engine: Engine

    def close(self, patience_s: float = PATIENCE_S) -> None:
        """Stop looking, give the studies back, let go of the database.

        What works beside the trials ends at its next step, and is waited for so long.
        """
        self.watch.close()
        self.studies.close()
        self.engine.dispose()
        self.studies.join(patience_s)


def assemble(
    studies: Mapping[str, Study],
    where: str | Path,
    mode: str = "live",
    exposed: bool = False,
    message_queue: str | None = None,
    webhook: str | None = None,
    ping: str | None = None,
) -> Server:
    """A server of ``studies`` in the database ``where``; nothing runs yet.

    ``exposed`` says that others than this computer reach it: then there must be a
    token. Raises ``OSError`` and ``ValueError`` for what cannot be opened.
    """
    # Work beside the trials hands Python over sooner: each answer needs it some times.
    sys.setswitchinterval(SWITCH_S)
    engine = open_database(where)
    access = Access(engine)
    if exposed and not access.any():
        engine.dispose()
        raise ValueError(
            "others than this computer would reach the server, and no token was "
            f"issued: penchant token issue --role operator --journal {shown(where)}"
        )
    open_ = Studies(studies, where, mode)
    open_.told.append(log_fact)
    # A rehearsal is to go as fast as it can.
    limits = Limits() if mode == "live" else Limits(messages_per_s=None)
    door = Door(open_, access, limits, Metrics(open_), exposed)
    app, socketio = create_app(door, message_queue)

    def look() -> list[tuple[Snapshot, SafetySection]]:
        seen = []
        for name, desk in open_.open_desks().items():
            if desk.ahead.beginning:  # whose lock would hold up us, and our end
                continue
            try:
                seen.append(open_.desk(name).look() if desk.superseded else desk.look())
            except (OSError, ProtocolError):  # one study must not blind us for others
                _LOG.exception("study %s cannot be looked at", name)
        return [one for one in seen if one]

    def store(study: str, alarm: Alarm) -> None:
        open_.desk(study).raise_alarm(alarm)

    def healthy() -> bool:
        """Whether something can be stored now, and everything heard has been."""
        touch = update(version_table).values(version=version_table.c.version)
        with engine.begin() as connection:
            connection.execute(touch)
        return all(desk.healthy for desk in open_.open_desks().values())

    told = Webhook(webhook) if webhook else None
    watch = Watch(look, store, healthy, told, ping)
    return Server(app, socketio, open_, watch, engine)
