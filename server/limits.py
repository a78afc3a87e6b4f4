"""How often one may come: messages of a caller, failures of an address."""

import ipaddress
import math
import time

from limits import RateLimitItem, RateLimitItemPerMinute, RateLimitItemPerSecond
from limits.storage import MemoryStorage
from limits.strategies import SlidingWindowCounterRateLimiter

from server.protocol import ProtocolError

_MESSAGES, _FAILURES = "messages", "failures"


class Limits:
    """Rate limits of one server, counted in memory.

    ``messages_per_s`` is what each caller may send on average over ``burst_s``, so that
    many at once are no fault; None for no limit. ``failures_per_minute`` is how many
    wrong secrets may come from one address; None for no limit.
    """

    def __init__(
        self,
        messages_per_s: int | None = 50,
        burst_s: int = 10,
        failures_per_minute: int | None = 20,
    ) -> None:
        """Begin to count; raises ``ValueError`` for a limit that lets nothing in."""
        for name, value in (
            ("messages_per_s", messages_per_s),
            ("burst_s", burst_s),
            ("failures_per_minute", failures_per_minute),
        ):
            if value is not None and value < 1:
                raise ValueError(f"{name}: expected 1 or more, got {value}")
        self._messages = (
            RateLimitItemPerSecond(messages_per_s * burst_s, burst_s)
            if messages_per_s
            else None
        )
        self._failures = (
            RateLimitItemPerMinute(failures_per_minute) if failures_per_minute else None
        )
        # Two counters for each who came lately. The moving window would keep every
        # key for ever, and the fixed one lets twice the limit through at its edge.
        self._counter = SlidingWindowCounterRateLimiter(MemoryStorage())

    def message(self, key: str) -> None:
        """Count a message of a caller or an address.

        Raises :class:`ProtocolError` if it is one too many.
        """
        limit = self._messages
        if limit and not self._counter.hit(limit, _MESSAGES, key):
            raise self._too_many(limit, _MESSAGES, key)

    def failed(self, address: str) -> None:
        """Count a wrong secret from an address; raises as :meth:`message` does.

        Not to be asked of a caller whose secret is right: else whoever shares an
        address with it could lock it out.
        """
        limit, host = self._failures, _host(address)
        if limit and not self._counter.hit(limit, _FAILURES, host):
            raise self._too_many(limit, _FAILURES, host)

    def _too_many(self, limit: RateLimitItem, what: str, key: str) -> ProtocolError:
        free_at = self._counter.get_window_stats(limit, what, key).reset_time
        wait_s = max(1, math.ceil(free_at - time.time()))
        counted = "messages" if what == _MESSAGES else "wrong tokens"
        return ProtocolError(
            429,
            f"too_many_{what}",
            f"more than {limit.amount} {counted} in {limit.get_expiry()} s: "
            f"try again in {wait_s} s",
        )


def _host(address: str) -> str:
    """What one computer cannot change at will: of IPv6 the first half only."""
    try:
        ip = ipaddress.ip_address(address)
    except ValueError:
        return address[:64]
    if isinstance(ip, ipaddress.IPv6Address):
        if ip.ipv4_mapped:
            return str(ip.ipv4_mapped)
        return str(ipaddress.ip_network((ip.packed[:8] + bytes(8), 64)))
    return str(ip)
