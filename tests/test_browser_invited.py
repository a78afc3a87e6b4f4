"""One address for many: from a recruiting site through a session and back to it."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from browser import DAY_S, Live, Visit, chromium, live, needs_browser
from test_browser import GRADED

from server.events import SessionEnded, SessionOpened
from server.invitations import Invitations

pytestmark = needs_browser

PERSON = "5f3c9a1e7b2d4c6a8e0f1b2c"
QUERY = f"?PROLIFIC_PID={PERSON}&STUDY_ID=s%201&SESSION_ID=x%26y"


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with chromium() as started:
        yield started


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Live]:
    with live(tmp_path, GRADED) as started:
        yield started


def invited(served: Live, most: int) -> str:
    """The address of an invitation."""
    _, credential = Invitations(served.access).issue(served.study.name, DAY_S, most)
    return served.link("nobody").rpartition("/")[0] + f"/{credential}"


def visit(browser: Any, address: str) -> Visit:
    """Somebody's own browser, at an address."""
    there = Visit(browser.new_context().new_page())
    there.page.goto(address)
    return there


def test_who_was_sent_by_a_site_goes_back_to_it_and_comes_once(
    browser: Any, served: Live
) -> None:
    address = invited(served, most=1) + QUERY
    one = visit(browser, address)
    one.begin()
    for _ in range(4):
        one.stimulus()
        one.point(0.5)
        one.answered()
    assert one.end() == "finished"
    (opened,) = served.facts(SessionOpened)
    sent = {name: opened.client[f"url.{name}"] for name in ("PROLIFIC_PID", "STUDY_ID")}
    assert sent == {"PROLIFIC_PID": PERSON, "STUDY_ID": "s 1"}
    assert opened.client["url.SESSION_ID"] == "x&y"
    assert PERSON not in opened.subject
    assert "DONE42" in one.words()
    with one.page.expect_request("https://site.example/**") as went:
        one.page.click("a[data-id=onward]")
    assert went.value.url == f"https://site.example/back?cc=DONE42&p={PERSON}"
    # The same person from another browser is the same subject, and anybody else late.
    again = visit(browser, address)
    assert again.end() == "taken"
    assert "DONE42" in again.words()
    late = visit(browser, address.replace(PERSON, PERSON[::-1]))
    assert late.page.locator("h1").count() == 1
    assert served.facts(SessionOpened) == [opened]
    assert [fact.status for fact in served.facts(SessionEnded)] == ["finished"]
    assert not one.faults + again.faults


def test_a_browser_without_a_name_goes_on_with_its_own_session(
    browser: Any, served: Live
) -> None:
    address = invited(served, most=5)
    one = visit(browser, address)
    one.begin()
    one.stimulus()
    one.page.goto(address)  # followed again in mid-session
    one.come_back()
    one.stimulus()
    other = visit(browser, address)
    other.begin()
    other.stimulus()
    first, second = served.facts(SessionOpened)
    assert first.subject != second.subject
    assert not one.faults + other.faults
