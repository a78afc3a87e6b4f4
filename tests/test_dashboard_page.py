"""The operator's dashboard in a real Chromium: it follows, orders, and comes back."""

import hashlib
import re
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from browser import chromium, needs_browser
from dashboard_page import Operator, Served, served
from live_server import serving
from small_study import facts, hello, open_desk, renamed, study_text

from server.events import Halted, RewardAsked, SessionEnded
from server.journal import Journal

ROOT = Path(__file__).parents[1]
DASHBOARD = ROOT / "server" / "dashboard"
MOST_BYTES = 300_000
KEYS = re.compile(r"\b(Arrow\w+|Home|End|Escape|Enter)\b")

pytestmark = needs_browser

SAFE = study_text(
    session="[safety]\ntrial_microlitre = 4\nsession_microlitre = 20\n"
    "day_microlitre = 20\nweight_fraction = 0\n"
)


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with chromium() as opened:
        yield opened


@pytest.fixture
def study(tmp_path: Path) -> Iterator[Served]:
    with served(tmp_path) as one:
        yield one


@pytest.fixture
def operator(browser: Any, study: Served) -> Iterator[Operator]:
    """Before a desk."""
    context = browser.new_context(viewport={"width": 1440, "height": 900})
    one = Operator(context.new_page(), study.url)
    yield one
    context.close()
    assert one.faults == []


def test_numbers_follow_simulated_subjects(study: Served, operator: Operator) -> None:
    page = operator.page
    operator.sees("#subjects .empty", "Nobody has come yet")
    operator.sees("#finished", "0")
    runs = [
        threading.Thread(target=study.run_session, args=(f"sim-{n}",)) for n in range(4)
    ]
    for run in runs:
        run.start()
    for run in runs:
        run.join()
    operator.sees("#finished", "4")
    operator.sees("#generations .readout", "Component 1, generation 1. median")
    operator.sees("#spectrum table", "Order")
    page.wait_for_selector("#labelling canvas.globe")
    seen = page.locator("#subjects tbody tr").all_inner_texts()
    assert len(seen) == 4
    assert all("idle" in row for row in seen)
    asked = page.evaluate(
        "performance.getEntriesByType('resource')"
        ".filter((e) => e.name.includes('dashboard/overview')).length"
    )
    assert asked == 1  # all else was pushed


def test_the_raster_follows_each_trial(study: Served, operator: Operator) -> None:
    page = operator.page
    session = study.hello("m1").session
    study.answer(session, 2)
    canvas = page.locator(f"canvas[data-session='{session}']")
    operator.sees(operator.row("m1"), "2/12")
    page.wait_for_selector("canvas[aria-label^='2 of 12 trials, 0 of 6 tests']")
    study.answer(session, 5)
    page.wait_for_selector("canvas[aria-label^='7 of 12 trials, 1 of 6 tests']")
    canvas.focus()
    page.keyboard.press("End")
    operator.sees("#rasters .readout", "m1 · trial 7, test · responded")
    page.keyboard.press("ArrowLeft")
    operator.sees("#rasters .readout", "m1 · trial 6, training")
    drawn = page.evaluate(
        """([session, step]) => {
          const canvas = document.querySelector(`canvas[data-session='${session}']`);
          return [0, 8].map((trial) => {
            const x = ((trial + 0.4) * canvas.width) / 12;
            const at = canvas.getContext("2d").getImageData(x, 13, 1, 1).data;
            return [...at];
          });
        }""",
        [session, 0],
    )
    assert drawn[0] != drawn[1]  # an answer, and one that is still to come


def test_orders_reach_the_journal(study: Served, operator: Operator) -> None:
    session = study.hello("m1").session
    operator.sees(operator.row("m1"), "running")
    operator.order("m1", "pause", "cage change")
    operator.sees(operator.row("m1"), "paused")
    operator.order("m1", "resume")
    operator.sees(operator.row("m1"), "running")
    operator.page.click(f"{operator.row('m1')} .orders")
    operator.page.click("dialog [data-order=reward]")
    operator.page.fill("dialog input[name=microlitre]", "2.5")
    operator.confirm("a taste")
    operator.order("m1", "abandon", "fell asleep")
    operator.sees(operator.row("m1"), "idle")
    halts = [(h.session, h.what, h.reason) for h in study.facts(Halted)]
    assert halts == [(session, "pause", "cage change"), (session, "resume", "a test")]
    (reward,) = study.facts(RewardAsked)
    assert (reward.microlitre, reward.reason) == (2.5, "a taste")
    (ended,) = study.facts(SessionEnded)
    assert (ended.status, ended.reason) == ("abandoned", "fell asleep")
    for words in ("cage change", "a taste", "fell asleep"):
        operator.sees("#ledger", words)


def test_all_sessions_are_paused_and_stopped(study: Served, operator: Operator) -> None:
    study.hello("m1")
    operator.sees(operator.row("m1"), "running")
    for kind in ("pause", "resume", "stop"):
        operator.page.click(f"[data-all={kind}]")
        operator.confirm(f"to {kind}")
        if kind != "resume":
            operator.sees("#halted", f"to {kind}")
    assert [h.what for h in study.facts(Halted)] == ["pause", "resume", "stop"]
    operator.sees(operator.row("m1"), "idle")


def test_an_emergency_by_keyboard_even_before_a_dialog(
    study: Served, operator: Operator
) -> None:
    page, session = operator.page, study.hello("m1").session
    page.click(f"{operator.row('m1')} .orders")
    page.evaluate("scrollTo(0, document.body.scrollHeight)")
    button = page.locator("#emergency")
    box = button.bounding_box()
    assert 0 <= box["y"] < 60  # never scrolled away
    page.keyboard.press("Control+.")
    operator.sees("#emergency", "Press again")
    assert study.facts(Halted) == []
    page.keyboard.press("Enter")
    operator.sees("#emergency", "Stopped")
    operator.sees("#loud", "confirmed")
    assert [h.what for h in study.facts(Halted)] == ["emergency"]
    assert study.facts(SessionEnded)[0].session == session


def test_an_emergency_by_a_finger_that_stays(browser: Any, study: Served) -> None:
    phone = {"viewport": {"width": 360, "height": 740}, "has_touch": True}
    context = browser.new_context(**phone, is_mobile=True)
    operator = Operator(context.new_page(), study.url)
    page = operator.page
    page.tap("#emergency")  # a tap alone stops nothing
    operator.sees("#emergency", "Press again")
    assert study.facts(Halted) == []
    box = page.locator("#emergency").bounding_box()
    page.mouse.move(box["x"] + 20, box["y"] + 20)
    page.mouse.down()
    operator.until(lambda: bool(study.facts(Halted)))
    page.mouse.up()
    assert [h.what for h in study.facts(Halted)] == ["emergency"]
    context.close()


def test_an_emergency_is_of_every_study(
    browser: Any, open_journal: Callable[..., Journal]
) -> None:
    journals = {name: open_journal(study=name) for name in ("small", "other")}
    desk = open_desk(journals["small"])
    other = open_desk(journals["other"], study=renamed("other"))
    hello(desk, "m1")
    with serving(desk, None, other) as url:
        context = browser.new_context(viewport={"width": 360, "height": 740})
        page = context.new_page()
        operator = Operator(page, url)
        operator.sees(operator.row("m1"), "running")
        operator.sees("#emergency", "all studies")
        assert page.evaluate("document.documentElement.scrollWidth") == 360
        page.keyboard.press("Control+.")
        operator.sees("#emergency", "all 2 studies")
        page.keyboard.press("Control+.")
        operator.sees("#emergency", "Stopped")
        context.close()
        for journal in journals.values():
            assert [h.what for h in facts(journal, Halted)] == ["emergency"]


def test_nothing_sticks_out_sideways(browser: Any, study: Served) -> None:
    for n in range(4):
        study.run_session(f"sim-{n}")
    study.answer(study.hello("a-subject-with-a-very-long-name.2026").session, 3)
    context = browser.new_context(viewport={"width": 1440, "height": 800})
    operator = Operator(context.new_page(), study.url)
    for width in (1440, 360):
        operator.page.set_viewport_size({"width": width, "height": 800})
        operator.sees("#generations .readout", "median")
        operator.sees("#finished", "4")
        wide = operator.page.evaluate("document.documentElement.scrollWidth")
        assert wide == width
    context.close()


def test_a_viewer_has_nothing_to_press(browser: Any, study: Served) -> None:
    _, secret = study.access.issue("viewer")
    study.hello("m1")
    context = browser.new_context()
    operator = Operator(context.new_page(), study.url)
    page = operator.page
    page.fill("input[name=token]", "pen_000000_wrong")
    page.keyboard.press("Enter")
    operator.sees("[role=alert]", "not known here")
    page.fill("input[name=token]", secret)
    page.keyboard.press("Enter")
    operator.sees(operator.row("m1"), "running")
    assert page.locator("#emergency, .orders, [data-all]").count() == 0
    assert secret not in page.url
    study.access.revoke(secret.split("_")[1])
    operator.sees("[role=alert]", "withdrawn")
    context.close()


def test_the_page_comes_back_after_the_server(
    study: Served, operator: Operator
) -> None:
    study.answer(study.hello("m1").session, 2)
    operator.sees(operator.row("m1"), "2/12")
    study.stop()
    operator.sees(".away", "has not been heard since")
    study.start()
    operator.page.wait_for_selector(".away", state="detached")
    session = study.hello("m1").session
    study.answer(session, 3)
    operator.sees(operator.row("m1"), "5/12")
    operator.page.wait_for_selector("canvas[aria-label^='5 of 12 trials']")


def test_a_cap_is_shown_and_bounds_what_may_be_given(
    browser: Any, tmp_path: Path
) -> None:
    with served(tmp_path, SAFE, mode="live") as study:
        study.hello("m1")
        context = browser.new_context(viewport={"width": 1700, "height": 900})
        operator = Operator(context.new_page(), study.url)
        operator.sees(operator.row("m1"), "/ 20 µl")
        operator.page.click(f"{operator.row('m1')} .orders")
        operator.page.click("dialog [data-order=reward]")
        most = operator.page.get_attribute("input[name=microlitre]", "max")
        assert 0 < float(most) <= 20
        context.close()


def test_the_page_is_small_and_its_libraries_are_those_of_the_table() -> None:
    table = (DASHBOARD / "vendor" / "README.md").read_text(encoding="utf-8")
    vendor = DASHBOARD / "vendor"
    files = sorted(p for p in vendor.rglob("*") if p.suffix in {".js", ".css"})
    assert files
    for path in files:
        name = path.relative_to(vendor).as_posix()
        (row,) = [line for line in table.splitlines() if f"| `{name}` |" in line]
        assert hashlib.sha256(path.read_bytes()).hexdigest() in row
        assert b"sourceMappingURL" not in path.read_bytes()
    sent = [p for p in DASHBOARD.rglob("*") if p.suffix in {".js", ".css", ".html"}]
    assert sum(p.stat().st_size for p in sent) < MOST_BYTES


def test_every_key_of_the_page_is_documented() -> None:
    text = (ROOT / "docs" / "dashboard.md").read_text(encoding="utf-8")
    keys = text.partition("## Keys")[2].partition("\n## ")[0]
    used = set[str]()
    for path in DASHBOARD.glob("*.js"):
        used |= set(KEYS.findall(path.read_text(encoding="utf-8")))
    assert used
    for key in used - {"Enter"}:
        assert key.replace("Arrow", "").lower() in keys.lower(), key
