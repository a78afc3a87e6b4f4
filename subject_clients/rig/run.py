"""One session of one subject in a rig."""

import contextlib
from collections.abc import Iterator

import click

from subject_clients.adapter import GiveUp
from subject_clients.loop import Subject
from subject_clients.outbox import Outbox
from subject_clients.rig.adapter import Opens
from subject_clients.rig.client import Rig
from subject_clients.rig.config import RigFile
from subject_clients.rig.ledger import Ledger
from subject_clients.rig.local import HELP, LocalControl, listening
from subject_clients.rig.log import TrialLog
from subject_clients.transport import Transport


def run(
    file: RigFile,
    name: str,
    url: str,
    wire: Transport,
    token: str | None,
    group: str | None,
) -> str:
    """Work through a session; returns how it ended.

    Raises ``OSError`` (no server, refused, a fault of the rig) and ``ValueError``; the
    rig is in its safe state then.
    """
    control = LocalControl(click.echo)
    with (
        prepared(file, name, url, wire, token, group, control, file.opened) as subject,
        listening(control),
    ):
        click.echo(f"{file.rig.name}: {HELP}")
        try:
            return subject.run_session().reason
        except GiveUp as reason:  # before a session began
            return str(reason)


@contextlib.contextmanager
def prepared(
    file: RigFile,
    name: str,
    url: str,
    wire: Transport,
    token: str | None,
    group: str | None,
    control: LocalControl,
    opens: Opens,
) -> Iterator[Subject]:
    """A subject in its rig, with all that only this program may have.

    Raises ``OSError`` where another client has it, and ``ValueError``.
    """
    folder = file.folder
    folder.mkdir(parents=True, exist_ok=True)
    with (
        contextlib.closing(wire),
        Outbox(folder / f"{name}.outbox", to=url) as outbox,
        contextlib.closing(Ledger(file.ledger, file.limits)) as ledger,
        contextlib.closing(TrialLog(folder / f"{name}.trials.jsonl")) as log,
        opens() as hardware,  # last: nobody else may
    ):
        rig = Rig(name, hardware, file.task, file.limits, ledger, log, control)
        yield Subject(
            name,
            rig,
            wire,
            token,
            control.sleep,
            group=group,
            outbox=outbox,
            rig=file.rig.name,
        )
