"""Which sessions have been silent for too long."""

from collections.abc import Iterable

HEARTBEATS_PER_LEASE = 4
"""A lease must outlive a few missed heartbeats; one is too few."""


class Leases:
    """When each open session was last heard of, on a clock that its owner reads."""

    def __init__(self, lease_s: float) -> None:
        """Every lease runs for ``lease_s`` seconds from the last sign of life."""
        self.lease_s = lease_s
        self.heartbeat_s = lease_s / HEARTBEATS_PER_LEASE
        self._heard: dict[str, float] = {}
        self._forgiven = float("-inf")

    def renew(self, session: str, now: float) -> None:
        """A session was heard of."""
        self._heard[session] = now

    def end(self, session: str) -> None:
        """A session needs no lease any more."""
        self._heard.pop(session, None)

    def begin_again(self, sessions: Iterable[str], now: float) -> None:
        """Full leases for the sessions found open when a server starts."""
        self._heard = dict.fromkeys(sessions, now)

    def forgive(self, waited_s: float, now: float) -> None:
        """Clients are not silent while the server is too busy to hear them.

        Of the ``waited_s`` before ``now`` nothing is forgiven twice, however many
        waited.
        """
        if waited_s > self.heartbeat_s:
            extra = min(waited_s, now - self._forgiven)
            self._forgiven = now
            for session in self._heard:
                self._heard[session] += max(extra, 0.0)

    def expired(self, now: float) -> list[str]:
        """Sessions silent for longer than a lease; they have none any more."""
        silent = [s for s, at in self._heard.items() if now - at > self.lease_s]
        for session in silent:
            del self._heard[session]
        return silent
