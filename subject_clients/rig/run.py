"""One session of one subject in a rig."""

import contextlib

import click

from subject_clients.adapter import GiveUp
from subject_clients.loop import Subject
from subject_clients.outbox import Outbox
from subject_clients.rig.client import Rig
from subject_clients.rig.config import RigFile
from subject_clients.rig.ledger import Ledger
from subject_clients.rig.local import HELP, LocalControl, listening
from subject_clients.rig.log import TrialLog
from subject_clients.transport import TRANSPORTS


def run(
    file: RigFile,
    name: str,
    url: str | None,
    group: str | None,
    transport: str,
    token: str | None,
    patience_s: float,
) -> str:
    """Work through a session; returns how it ended.

    Raises ``OSError`` (no server, refused, a fault of the rig) and ``ValueError``; the
    rig is in its safe state then.
    """
    url, folder = url or file.rig.server, file.folder
    control = LocalControl(click.echo)
    with contextlib.ExitStack() as stack:
        # First what only this program may have, then the hardware.
        folder.mkdir(parents=True, exist_ok=True)
        box = stack.enter_context(Outbox(folder / f"{name}.outbox", to=url))
        ledger = Ledger(folder / "ledger.jsonl", file.limits)
        stack.callback(ledger.close)
        log = TrialLog(folder / f"{name}.trials.jsonl")
        stack.callback(log.close)
        wire = TRANSPORTS[transport](url, patience_s)
        stack.callback(wire.close)
        hardware = file.hardware().open()
        stack.callback(hardware.close)
        rig = Rig(name, hardware, file.task, file.limits, ledger, log, control)
        stack.enter_context(listening(control))
        click.echo(f"{file.rig.name}: {HELP}")
        subject = Subject(
            name,
            rig,
            wire,
            token,
            control.sleep,
            group=group,
            outbox=box,
            rig=file.rig.name,
        )
        try:
            return subject.run_session().reason
        except GiveUp as reason:  # before a session began
            return str(reason)
