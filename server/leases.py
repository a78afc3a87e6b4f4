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
        self._presumed: set[str] = set()
        """Sessions that have a lease, and were not heard of since the server began."""
        self._forgiven = float("-inf")

    def renew(self, session: str, now: float) -> None:
        """A session was heard of."""
        self._heard[session] = now
        self._presumed.discard(session)

    def end(self, session: str) -> None:
        """A session needs no lease any more."""
        self._heard.pop(session, None)
        self._presumed.discard(session)

    def begin_again(self, sessions: Iterable[str], now: float) -> None:
        """Full leases for the sessions found open when a server starts."""
        self._heard = dict.fromkeys(sessions, now)
        self._presumed = set(self._heard)

    def silence(self, now: float) -> dict[str, float]:
        """Seconds since each session was heard of, of those that were."""
        return {
            session: max(now - at, 0.0)
            for session, at in self._heard.items()
            if session not in self._presumed
        }

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
            self.end(session)
        return silent
