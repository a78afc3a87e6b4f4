"""How often one may come: messages of each caller, failures of each address."""

import re
import threading
from types import SimpleNamespace

import pytest
from test_access import Clock, refusal

from server.limits import Limits


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """The time that limits count in; the library takes none as an argument."""
    clock = Clock()
    for module in ("limits.storage.memory", "limits.strategies", "server.limits"):
        monkeypatch.setattr(f"{module}.time", SimpleNamespace(time=clock))
    return clock


def test_messages_are_limited_for_each_caller_alone(clock: Clock) -> None:
    limits = Limits(messages_per_s=5, burst_s=10)
    for _ in range(50):
        limits.message("rig-1")
    refused = refusal(lambda: limits.message("rig-1"))
    assert (refused.status, refused.error) == (429, "too_many_messages")
    assert re.search(r"try again in \d+ s", refused.detail)
    limits.message("rig-2")
    clock.now += 20
    for _ in range(300):  # at the rate that is allowed, for a minute
        clock.now += 0.2
        limits.message("rig-1")
    Limits(messages_per_s=None).message("local")


def test_wrong_tokens_of_an_address_are_limited_until_it_cools(clock: Clock) -> None:
    limits = Limits(failures_per_minute=20)
    for _ in range(20):
        limits.failed("10.0.0.7")
    refused = refusal(lambda: limits.failed("10.0.0.7"))
    assert (refused.status, refused.error) == (429, "too_many_failures")
    # An address in an IPv6 shell is the same address.
    assert refusal(lambda: limits.failed("::ffff:10.0.0.7")).status == 429
    limits.failed("10.0.0.8")
    clock.now += 120
    limits.failed("10.0.0.7")


def test_a_computer_with_many_addresses_is_one(clock: Clock) -> None:
    limits = Limits(failures_per_minute=20)
    for i in range(20):
        limits.failed(f"2001:db8::{i:x}")
    assert refusal(lambda: limits.failed("2001:db8::ffff")).status == 429
    limits.failed("2001:db8:0:1::1")
    limits.failed("no address")
    clock.now += 1


def test_limits_forget_who_is_gone(clock: Clock) -> None:
    limits = Limits()
    for i in range(1000):
        limits.message(f"p-{i}")
        limits.failed(f"10.0.{i // 256}.{i % 256}")
    storage = limits._counter.storage
    clock.now += 1000
    limits.message("p-new")
    timer: threading.Timer = storage.timer  # type: ignore[attr-defined]
    timer.join(10)
    assert len(storage.storage) + len(storage.expirations) <= 2  # type: ignore[attr-defined]


def test_a_limit_that_lets_nothing_in_is_a_mistake() -> None:
    with pytest.raises(ValueError, match="expected 1 or more"):
        Limits(messages_per_s=0)
