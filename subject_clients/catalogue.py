"""Every kind of real subject by its name on the command line.

Simulated ones need the learners of their study and are in ``penchant.py``.
"""

from importlib import import_module

import click

ADAPTERS: dict[str, str] = {
    "human": "subject_clients.human.cli:human",
    "rig": "subject_clients.rig.cli:rig",
    "terminal": "subject_clients.terminal_cli:terminal",
}


class Subjects(click.Group):
    """Commands of real subjects, imported only when one is asked for."""

    def list_commands(self, context: click.Context) -> list[str]:
        """All, by name."""
        return sorted([*super().list_commands(context), *ADAPTERS])

    def get_command(self, context: click.Context, name: str) -> click.Command | None:
        """The command of a kind of subject, or None."""
        if name not in ADAPTERS:
            return super().get_command(context, name)
        module, _, command = ADAPTERS[name].partition(":")
        found = getattr(import_module(module), command)
        assert isinstance(found, click.Command)
        return found
