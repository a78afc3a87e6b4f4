"""Who may send which message."""

from typing import Literal, NamedTuple, get_args

Role = Literal["operator", "rig", "participant", "viewer"]

ROLES: tuple[Role, ...] = get_args(Role)

_OWN_SESSION = {"hello", "next", "respond", "heartbeat", "abandon"}

MAY: dict[Role, frozenset[str]] = {
    "operator": frozenset(
        _OWN_SESSION
        | {"rewarded", "status", "pause", "resume", "stop"}
        | {"give_reward", "weigh", "drop_out"}
    ),
    "rig": frozenset(_OWN_SESSION | {"rewarded", "weigh"}),
    "participant": frozenset(_OWN_SESSION),
    "viewer": frozenset({"status"}),
}
"""The messages of each role; ``status`` stands for every page that shows progress."""


class Caller(NamedTuple):
    """Who sends a message: a role, under the name of a token.

    ``study``, ``subject``, ``group`` and ``rig`` are all that it may speak for; None
    means any.
    """

    role: Role
    name: str
    study: str | None = None
    subject: str | None = None
    rig: str | None = None
    group: str | None = None

    def may(self, kind: str) -> bool:
        """Whether its role sends messages of a kind."""
        return kind in MAY[self.role]


LOCAL = Caller("operator", "local")
"""Anyone at a server that serves its own computer only and has issued no token."""
