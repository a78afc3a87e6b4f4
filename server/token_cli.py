"""``penchant token``. Heavy imports wait inside, as for every command."""

import contextlib
import math
import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from server.roles import ROLES, Role

if TYPE_CHECKING:
    from server.access import Access

_F = TypeVar("_F", bound=Callable[..., Any])

_UNIT_S = {"s": 1, "m": 60, "h": 3600, "d": 86_400}


def _seconds(duration: str) -> float:
    """Seconds of a number with its unit, infinite for ``never``."""
    if duration == "never":
        return math.inf
    parts = re.fullmatch(r"(\d{1,9}(?:\.\d{1,9})?)([smhd])", duration)
    seconds = float(parts[1]) * _UNIT_S[parts[2]] if parts else 0.0
    if not seconds:
        raise click.BadParameter(
            f"expected a number above 0 and s, m, h or d, as in 30d; got {duration!r}"
        )
    return seconds


JOURNAL = click.option(
    "--journal",
    metavar="FILE_OR_URL",
    required=True,
    help="The database of the server that the token is for.",
)
GROUP = click.option("--group", help="Their group, in a study with groups.")
URL = click.option(
    "--url",
    default="http://127.0.0.1:5000",
    show_default=True,
    help="Where participants reach the server.",
)


def _valid(default: str, also: str = "") -> Callable[[_F], _F]:
    return click.option(
        "--valid",
        type=_seconds,
        metavar="DURATION",
        default=default,
        show_default=True,
        help=f"How long: 12h, 30d{also}.",
    )


@click.group()
def token() -> None:
    """Let people, rigs and participants in, and out again.

    As soon as a database holds one token, its server wants one of everybody, also of
    programs on its own computer.
    """


@token.command()
@JOURNAL
@click.option("--role", type=click.Choice(ROLES), required=True, help="What it allows.")
@click.option("--study", help="For this study only.")
@click.option("--subject", help="For this subject only; a participant needs one.")
@click.option("--rig", help="For this rig only.")
@click.option("--label", default="", help="What reminds you whose it is.")
@_valid("180d", ", never")
def issue(
    journal: str,
    role: Role,
    study: str | None,
    subject: str | None,
    rig: str | None,
    label: str,
    valid: float,
) -> None:
    """Make a token and print its secret, this once."""
    with _opened(journal) as access:
        _warn_of_first(access)
        _warn_of_unknown(journal, study)
        name, secret = access.issue(
            role,
            study=study,
            subject=subject,
            rig=rig,
            label=label,
            valid_s=None if valid == math.inf else valid,
        )
    click.echo(secret)
    click.echo(
        f"token {name} ({role}), shown this once: give it to the client as "
        "PENCHANT_TOKEN",
        err=True,
    )


@token.command("list")
@JOURNAL
@click.option("--all", "every", is_flag=True, help="Also links made by invitations.")
def list_tokens(journal: str, every: bool) -> None:
    """Show every token, link and invitation, without its secret."""
    from server.token_list import listed

    with _opened(journal, create=False) as access:
        tokens = access.tokens()
    for line in listed(tokens, time.time(), every):
        click.echo(line)


@token.command()
@click.argument("token_id", metavar="ID")
@JOURNAL
def revoke(token_id: str, journal: str) -> None:
    """Withdraw the token, link or invitation ID, within a second.

    With an invitation go the links that it has made.
    """
    with _opened(journal, create=False) as access:
        if not access.revoke(token_id):
            raise click.ClickException(
                f"{journal} has no token {token_id!r} that is not revoked already; "
                "`penchant token list` shows them"
            )
    click.echo(f"revoked {token_id}")


@token.command()
@click.argument("study", metavar="STUDY_NAME")
@click.argument("subject")
@JOURNAL
@_valid("1d")
@GROUP
@URL
def link(
    study: str, subject: str, journal: str, valid: float, group: str | None, url: str
) -> None:
    """Print the address at which SUBJECT, and nobody else, takes part."""
    with _opened(journal) as access:
        _warn_of_first(access)
        _warn_of_unknown(journal, study)
        credential = access.link(study, subject, valid, group)
    click.echo(_address(url, credential))
    click.echo(
        f"shown this once: send it to {subject} alone, who opens it in a browser, or\n"
        "takes part with one of\n"
        f"    penchant subject human --name {subject} --url THIS\n"
        f"    penchant subject terminal --name {subject} --url THIS\n"
        f"`penchant token unlink {study} {subject} --journal {journal}` withdraws it",
        err=True,
    )


@token.command()
@click.argument("study", metavar="STUDY_NAME")
@JOURNAL
@_valid("7d")
@click.option(
    "--most",
    type=int,
    required=True,
    metavar="N",
    help="How many participants it lets in.",
)
@GROUP
@URL
def invite(
    study: str, journal: str, valid: float, most: int, group: str | None, url: str
) -> None:
    """Print one address for many participants, as recruiting sites need it.

    Each who opens it gets a link of their own, and with the same PROLIFIC_PID,
    survey_code or id in its query the same pseudonym.
    """
    from server.invitations import Invitations

    with _opened(journal) as access:
        _warn_of_first(access)
        _warn_of_unknown(journal, study)
        name, credential = Invitations(access).issue(study, valid, most, group)
    click.echo(_address(url, credential))
    click.echo(
        f"shown this once: whoever has it takes part, the first {most} of them\n"
        f"`penchant token revoke {name} --journal {journal}` withdraws it and the "
        "links\nthat it has made; `penchant token list` says how many came",
        err=True,
    )


@token.command()
@click.argument("study", metavar="STUDY_NAME")
@click.argument("subject")
@JOURNAL
def unlink(study: str, subject: str, journal: str) -> None:
    """Withdraw every link that SUBJECT has to a study, within a second."""
    with _opened(journal, create=False) as access:
        withdrawn = access.revoke_links(study, subject)
    click.echo(f"revoked {withdrawn} of {subject} in {study}")


def _warn_of_first(access: "Access") -> None:
    if not access.any():
        click.echo(
            "the first token of this database: from now on its server wants one of "
            "every client, also on its own computer",
            err=True,
        )


def _warn_of_unknown(journal: str, study: str | None) -> None:
    """A study that has not begun yet may be meant, or another name."""
    from server.journal import studies

    if study is not None and study not in (known := studies(journal)):
        there = ", ".join(known) or "none"
        click.echo(f"no study {study} has begun there yet (studies: {there})", err=True)


def _address(url: str, credential: str) -> str:
    return f"{url.rstrip('/')}/participate/{credential}"


@contextlib.contextmanager
def _opened(journal: str, create: bool = True) -> Iterator["Access"]:
    """The tokens of a database; what is wrong with it in one line."""
    from sqlalchemy.exc import SQLAlchemyError

    from server.access import Access
    from server.journal import JournalError, open_database
    from server.protocol import ProtocolError
    from server.redaction import redact

    if "://" not in journal and not Path(journal).exists():
        if not create:
            raise click.ClickException(f"there is no file {journal}")
        click.echo(f"{journal} is a new database", err=True)
    try:
        engine = open_database(journal)
        try:
            yield Access(engine)
        finally:
            engine.dispose()
    except (JournalError, ProtocolError, SQLAlchemyError, ValueError) as error:
        raise click.ClickException(redact(str(error))) from error
