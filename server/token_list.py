"""What ``penchant token list`` shows: two lines for each token, 80 columns wide."""

import textwrap
from collections import defaultdict
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime

from server.access import INVITATION, TokenInfo, invited_by

WIDTH = 80

_INVITED = invited_by("")
"""How the label of a link begins that an invitation has made; its id follows."""

_ROLE_CHARS, _STATE_CHARS = 11, 7


def listed(tokens: Sequence[TokenInfo], now: float, every: bool) -> Iterator[str]:
    """The lines; links that invitations have made only if ``every`` one is wanted."""
    came = _came(tokens)
    hidden = 0
    for info in tokens:
        if info.label.startswith(_INVITED) and not every:
            hidden += 1
            continue
        yield _headline(info, now)
        yield from _about(info, len(came[info.id]))
    if hidden:
        yield f"not shown without --all: {hidden} made by invitations"


def _came(tokens: Sequence[TokenInfo]) -> dict[str, set[str | None]]:
    """The subjects that each invitation has brought."""
    came: dict[str, set[str | None]] = defaultdict(set)
    for info in tokens:
        if info.label.startswith(_INVITED):
            came[info.label.removeprefix(_INVITED)].add(info.subject)
    return came


def _headline(info: TokenInfo, now: float) -> str:
    role, state = info.role.ljust(_ROLE_CHARS), info.state(now).ljust(_STATE_CHARS)
    return f"{info.id}  {role}  {state}  {_until(info.expires_at)}"


def _about(info: TokenInfo, came: int) -> list[str]:
    named = (("study", info.study), ("subject", info.subject), ("rig", info.rig))
    said = [f"{what} {name}" for what, name in named if name]
    said += [info.label] if info.label else []
    said += [f"{came} came"] if info.role == INVITATION else []
    about = ", ".join(said) or "of no study, subject or rig in particular"
    indent = " " * (len(info.id) + 2)
    return textwrap.wrap(about, WIDTH, initial_indent=indent, subsequent_indent=indent)


def _until(at: float | None) -> str:
    if at is None:
        return "without end"
    day = datetime.fromtimestamp(at, UTC).isoformat(" ", "minutes")[:16]
    return f"until {day}Z"
