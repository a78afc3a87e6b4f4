"""Commands for whoever watches over sessions: ``penchant status`` and ``order``."""

from collections.abc import Callable
from typing import Any
from uuid import uuid4

import click

Command = Callable[..., Any]

SESSION = click.option("--session", help="One session. [default: all]")
REASON = click.option("--reason", required=True, help="Kept in the journal.")


def _to_server(command: Command) -> Command:
    """Options of every command that speaks to a server."""
    url = click.option(
        "--url",
        default="http://127.0.0.1:5000",
        show_default=True,
        help="The server's; with ?study=NAME where it serves several.",
    )
    token = click.option("--token", envvar="PENCHANT_TOKEN", help="An operator's.")
    return url(token(command))


@click.command()
@_to_server
def status(url: str, token: str | None) -> None:
    """Show how far a study is, and who is in a session."""
    from rich.console import Console
    from rich.table import Table

    study = _get(url, "status", token)
    console, given_up = Console(), study["sessions_given_up"]
    console.print(
        f"[bold]{study['study']}[/] ({study['mode']}): "
        f"{study['sessions_ended'] - given_up} of {study['sessions_planned']} sessions"
        + (f" ({given_up} more given up)" if given_up else "")
        + (
            ", finished"
            if study["finished"]
            else f", component {study['component'] + 1}, "
            f"generation {study['generation'] + 1}"
        )
        + (f", halted: {study['halted']}" if study["halted"] else "")
    )
    columns = ("session", "subject", "group", "rig", "status", "trials", "microlitre")
    table = Table(*columns)
    for one in _get(url, "sessions", token)["sessions"]:
        paused = " (paused)" if one["paused"] else ""
        table.add_row(
            one["session"],
            one["subject"],
            one["group"],
            one["rig"],
            one["status"] + paused,
            f"{one['trials_done']}/{one['trials']}",
            f"{one['microlitre']:g}",
        )
    console.print(table)


@click.group()
def order() -> None:
    """Tell a running study what to do: pause, resume, stop, reward, weigh."""


@order.command()
@_to_server
@SESSION
@REASON
def pause(url: str, token: str | None, session: str | None, reason: str) -> None:
    """No next trial until `resume`; the trial under way is finished."""
    _order(url, token, "pause", session=session, reason=reason)


@order.command()
@_to_server
@SESSION
@REASON
def resume(url: str, token: str | None, session: str | None, reason: str) -> None:
    """Go on after `pause`, or after a `stop` of all sessions."""
    _order(url, token, "resume", session=session, reason=reason)


@order.command()
@_to_server
@SESSION
@REASON
@click.option("--emergency", is_flag=True, help="At once, in mid-trial.")
def stop(
    url: str, token: str | None, session: str | None, reason: str, emergency: bool
) -> None:
    """End a session, or all; then none begins until `resume`."""
    fields = {"session": session, "reason": reason, "emergency": emergency}
    _order(url, token, "stop", **fields)


@order.command()
@_to_server
@click.argument("session")
@click.argument("microlitre", type=float)
@REASON
def reward(
    url: str, token: str | None, session: str, microlitre: float, reason: str
) -> None:
    """Let the rig of SESSION give a free reward of so many MICROLITRE."""
    fields = {"session": session, "microlitre": microlitre, "reason": reason}
    fields["uid"] = uuid4().hex  # sent again it is the same order
    _order(url, token, "give_reward", **fields)


@order.command()
@_to_server
@click.argument("subject")
@click.argument("grams", type=float)
@click.option("--baseline", type=float, help="Its weight at free water, in grams.")
def weigh(
    url: str, token: str | None, subject: str, grams: float, baseline: float | None
) -> None:
    """Note that SUBJECT weighs so many GRAMS."""
    fields = {"subject": subject, "grams": grams, "baseline_grams": baseline}
    _order(url, token, "weigh", **fields)


@order.command("drop-out")
@_to_server
@click.argument("subject")
@REASON
def drop_out(url: str, token: str | None, subject: str, reason: str) -> None:
    """SUBJECT leaves the study: its session ends and it gets no other."""
    _order(url, token, "drop_out", subject=subject, reason=reason)


def _order(url: str, token: str | None, kind: str, **message: Any) -> None:
    from server.protocol import Refusal
    from subject_clients.transport import Http

    wire = Http(url, patience_s=10.0)
    try:
        reply = wire.send(kind, message | ({"token": token} if token else {}))
    except ConnectionError as error:
        raise click.ClickException(str(error)) from error
    finally:
        wire.close()
    if isinstance(reply, Refusal):
        raise click.ClickException(f"{reply.error}: {reply.detail}")
    click.echo(getattr(reply, "detail", "done"))


def _get(url: str, page: str, token: str | None) -> dict[str, Any]:
    import requests

    from subject_clients.transport import IS_IT_RUNNING

    base, _, query = url.partition("?")
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    address = f"{base.rstrip('/')}/api/v1/{page}?{query}"
    try:
        answer = requests.get(address, headers=headers, timeout=10)
        content: dict[str, Any] = answer.json()
    except (requests.RequestException, ValueError) as error:
        raise click.ClickException(f"no answer from {base}{IS_IT_RUNNING}") from error
    if not answer.ok:
        raise click.ClickException(f"{content.get('error')}: {content.get('detail')}")
    return content
