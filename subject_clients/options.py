"""Options that every subject's command has."""

from collections.abc import Callable
from typing import Any

import click

Command = Callable[..., Any]


def wired(command: Command) -> Command:
    """How a command reaches its server: ``transport``, ``token``, ``patience``."""
    for option in (
        click.option(
            "--patience", default=60.0, help="Seconds to wait for an absent server."
        ),
        click.option("--token", envvar="PENCHANT_TOKEN", help="The server's secret."),
        click.option(
            "--transport",
            type=click.Choice(["socket", "http"]),
            default="socket",
            help="What carries it.",
        ),
    ):
        command = option(command)
    return command
