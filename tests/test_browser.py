"""Whole sessions of people in a real browser at a real server that may fail."""

import hashlib
import io
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from browser import Live, Visit, chromium, live, needs_browser
from PIL import Image

from server.events import Responded, SessionEnded, SessionOpened
from server.human_section import HumanSection
from subject_clients.human.geometry import blob
from subject_clients.human.stimuli import stereo

pytestmark = needs_browser

ROOT = Path(__file__).parents[1]
PARTICIPANT = ROOT / "server" / "participant"

STUDY = """
[study]
name = "rings"
seed = 3
{study}
[stimuli]
{stimuli}
[session]
training_stimuli = 2
test_stimuli = 2
lease_s = 3.0
{session}
[search]
population = 4
generations = 2

[labelling]
family = "linear"

[human]
fixation_s = 0.02
feedback_s = 0.1
completion_code = "DONE42"
completion_url = "https://site.example/back?cc={{code}}&p={{PROLIFIC_PID}}"
{human}
"""

AGREED = "You may stop at any time.\\n\\nDo you agree, yes or no (oui, entièrement)?"

RING = 'space = "circle"\nshown_as = "direction"'

CHOICE = STUDY.format(
    study="",
    stimuli=RING,
    session='response = "choice"\ntest_repeats = 2',
    human=f'consent = "{AGREED}"\npractice_trials = 2\nbreak_every = 4',
)
GRADED = STUDY.format(
    study="", stimuli=RING, session="", human="practice_trials = 0\nbreak_every = 0"
)
HURRIED = STUDY.format(
    study="",
    stimuli='space = "circle"',
    session="",
    human="practice_trials = 0\nanswer_within_s = 0.25\nstimulus_s = 0.1",
)


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """One Chromium for all tests of this file."""
    with chromium() as started:
        yield started


@pytest.fixture
def visit(browser: Any) -> Iterator[Visit]:
    """A participant with a browser of their own; no script of the page may fail."""
    context = browser.new_context(viewport={"width": 900, "height": 700})
    visit = Visit(context.new_page())
    yield visit
    context.close()
    assert not visit.faults


@pytest.fixture
def choice(tmp_path: Path) -> Iterator[Live]:
    """A study of choices, with consent, practice and breaks."""
    with live(tmp_path, CHOICE) as served:
        yield served


@pytest.fixture
def graded(tmp_path: Path) -> Iterator[Live]:
    """A study of graded answers, without all that."""
    with live(tmp_path, GRADED) as served:
        yield served


class Answer(NamedTuple):
    """A trial, as it is in the journal."""

    outcome: str
    value: float | None
    reaction_time_s: float | None
    clocks: dict[str, float]


def told(served: Live) -> list[Answer]:
    """All trials that were answered."""
    columns = ("outcomes", "values", "reaction_times_s", "clocks")
    return [
        Answer(*row)
        for fact in served.facts(Responded)
        for row in zip(*(getattr(fact, name) for name in columns), strict=True)
    ]


def answers(served: Live) -> list[float | None]:
    """Values in the journal, in their order."""
    assert {answer.outcome for answer in told(served)} == {"responded"}
    return [answer.value for answer in told(served)]


def test_a_session_of_choices_by_keyboard_alone(choice: Live, visit: Visit) -> None:
    visit.page.goto(choice.link("p01", "?PROLIFIC_PID=abc%201&STUDY_ID=s7&a%20b=no"))
    visit.see("consent")
    assert "Do you agree, yes or no (oui, entièrement)?" in visit.words()
    visit.enter(consent=True)
    visit.see("practice")
    visit.press("Space")
    for key in ("f", "j", "f"):  # the first is wrong, and asked again
        visit.see("trial", "practice")
        visit.press(key)
        visit.page.wait_for_selector(".verdict p")
        visit.page.wait_for_selector(".verdict p", state="detached")
    visit.see("ready")
    assert not choice.facts(SessionOpened)
    visit.press("Space")
    for number, key in enumerate("fjfjjf"):
        if number == 4:
            visit.see("break")
            visit.press("Space")
        visit.stimulus()
        visit.press(key)
        visit.answered()
    assert visit.end() == "finished"
    assert "DONE42" in visit.words()
    link = visit.page.get_attribute("a.onward", "href")
    assert link == "https://site.example/back?cc=DONE42&p=abc%201"
    assert answers(choice) == [-1, 1, -1, 1, 1, -1]
    (ended,) = choice.facts(SessionEnded)
    assert ended.status == "finished"
    _is_told_about(choice)


def _is_told_about(choice: Live) -> None:
    """Consent, address and screen are with the session; clocks with each answer."""
    (opened,) = choice.facts(SessionOpened)
    said, now = opened.client, time.time()
    text = AGREED.replace("\\n", "\n")
    assert said["consent_sha256"] == hashlib.sha256(text.encode()).hexdigest()
    assert now - 60 < said["consent_utc_s"] <= now
    assert said["url.PROLIFIC_PID"] == "abc 1"
    assert said["url.STUDY_ID"] == "s7"
    assert not [name for name in said if "a b" in name]
    assert said["screen_width_px"] > 0
    assert "px_per_cm" not in said  # it was not measured
    for _, _, reaction_time_s, clocks in told(choice):
        assert reaction_time_s is not None
        assert 0 <= reaction_time_s < 15
        assert clocks["onset_s"] > 0
        assert clocks["shown_s"] >= reaction_time_s - 0.02
        assert clocks["full_screen"] == 0
        assert clocks["hidden_s"] == 0
        assert clocks["frames_dropped"] >= 0
    later = [answer.clocks for answer in told(choice)[1:]]
    assert all(abs(c["server_utc_s"] - c["host_utc_s"]) < 1 for c in later)


def test_a_graded_session_by_pointer(graded: Live, visit: Visit) -> None:
    wanted = [-0.8, 0.25, 1.0, -0.1]
    visit.page.goto(graded.link("p01"))
    visit.begin()
    for index, value in enumerate(wanted):
        visit.stimulus()
        visit.point(value)
        if index < 2:
            visit.see("trial", "feedback")
            label = graded.facts(SessionOpened)[0].y
            assert abs(_true_mark(visit) - label[graded_trial(graded, index)]) < 0.02
        visit.answered()
    assert visit.end() == "finished"
    assert answers(graded) == pytest.approx(wanted, abs=0.01)


def graded_trial(served: Live, index: int) -> int:
    """The stimulus of a trial."""
    return int(served.facts(SessionOpened)[0].trials[index])


def _true_mark(visit: Visit) -> float:
    """Where the mark of the truth is on the scale."""
    mark = visit.page.locator("#scale .told .truth").bounding_box()
    scale = visit.page.locator("#scale").bounding_box()
    middle = mark["x"] + mark["width"] / 2 - scale["x"]
    return float(2 * middle / scale["width"] - 1)


def test_a_graded_answer_by_arrow_keys(graded: Live, visit: Visit) -> None:
    visit.page.goto(graded.link("p01"))
    visit.begin()
    visit.stimulus()
    visit.press("Enter")  # there is no mark yet
    for key in ("ArrowLeft", "ArrowLeft", "ArrowRight", "ArrowLeft", "Enter"):
        visit.press(key)
    visit.answered()
    visit.until(lambda: bool(graded.facts(Responded)))
    assert answers(graded) == pytest.approx([-0.1])


def test_a_reload_goes_on_where_it_was(graded: Live, visit: Visit) -> None:
    visit.page.goto(graded.link("p01", "?id=17"))
    visit.begin()
    visit.stimulus()
    visit.point(0.5)
    visit.answered()
    visit.stimulus()
    visit.page.reload()
    visit.come_back()
    for value in (-0.5, 0.5, -0.5):
        visit.stimulus()
        visit.point(value)
        visit.answered()
    assert visit.end() == "finished"
    assert answers(graded) == pytest.approx([0.5, -0.5, 0.5, -0.5], abs=0.01)
    assert len(graded.facts(SessionOpened)) == 1
    visit.page.reload()  # whoever has finished is told so again, with the code
    assert visit.end() == "taken"
    assert "DONE42" in visit.words()


def test_nothing_is_lost_or_doubled_when_the_server_dies_within_a_trial(
    graded: Live, visit: Visit
) -> None:
    visit.page.goto(graded.link("p01"))
    visit.begin()
    visit.stimulus()
    graded.stop()
    visit.point(0.5)
    visit.until(lambda: "answers are kept" in visit.page.inner_text("#notice"))
    assert [m["message"]["value"] for m in visit.waiting()] == pytest.approx(
        [0.5], abs=0.01
    )
    visit.page.close()  # the browser goes too, with its answer unsent
    graded.start()
    again = Visit(visit.page.context.new_page())
    again.page.goto(graded.link("p01"))
    again.see("back")
    assert not again.waiting()
    assert answers(graded) == pytest.approx([0.5], abs=0.01)
    again.press("w")
    again.stimulus()
    graded.stop()
    again.point(-0.5)
    again.page.wait_for_timeout(300)
    graded.start()  # and with the page left open
    for value in (0.25, -0.25):
        again.stimulus()
        again.point(value)
        again.answered()
    assert again.end() == "finished"
    assert answers(graded) == pytest.approx([0.5, -0.5, 0.25, -0.25], abs=0.01)
    assert not again.faults
    assert not again.waiting()


def test_who_declines_opens_no_session(choice: Live, visit: Visit) -> None:
    visit.page.goto(choice.link("p01"))
    visit.see("consent")
    visit.press("Space")  # says neither yes nor no
    visit.click("decline")
    assert visit.end() == "declined"
    assert "Nothing was recorded" in visit.words()
    assert not choice.facts(SessionOpened)


def test_no_answer_in_time_is_an_omission(tmp_path: Path, visit: Visit) -> None:
    with live(tmp_path, HURRIED) as served:
        visit.page.goto(served.link("p01"))
        visit.begin()
        visit.until(lambda: len(served.facts(Responded)) >= 2)
        for answer in told(served):
            assert answer.outcome == "omission"
            assert answer.value is answer.reaction_time_s is None
            assert answer.clocks["requested_s"] == 0.1
            assert 0.06 <= answer.clocks["shown_s"] < 1


def test_operators_pause_and_stop(graded: Live, visit: Visit) -> None:
    visit.page.goto(graded.link("p01"))
    visit.begin()
    visit.stimulus()
    graded.order("pause")
    visit.point(0.5)
    visit.see("trial", "waiting")
    visit.page.wait_for_function("document.body.innerText.includes('is paused')")
    graded.order("resume")
    visit.stimulus()
    (opened,) = graded.facts(SessionOpened)
    graded.order("stop", session=opened.session, emergency=True)
    assert visit.end() == "stopped"  # within the trial: a heartbeat says so
    assert len(told(graded)) == 1


def test_who_leaves_is_asked_first(graded: Live, visit: Visit) -> None:
    visit.page.goto(graded.link("p01"))
    visit.begin()
    visit.stimulus()
    visit.page.click(".leave")
    visit.click("stay")
    visit.stimulus()
    visit.point(0.0)
    visit.until(lambda: bool(graded.facts(Responded)))
    assert told(graded)[0].clocks["interrupted"] == 1
    visit.stimulus()
    visit.page.click(".leave")
    visit.click("leave")
    assert visit.end() == "left"
    (ended,) = graded.facts(SessionEnded)
    assert ended.status == "abandoned"
    assert "trial 2" in ended.reason


def test_a_link_that_was_revoked(graded: Live, visit: Visit) -> None:
    link = graded.link("p01")
    (named,) = graded.access.tokens()
    visit.page.goto(link)
    visit.see("screen")
    graded.access.revoke(named.id)
    visit.press("w")
    visit.see("card")
    visit.press("s")
    visit.see("instructions")
    visit.press("Space")
    visit.see("ready")
    visit.page.wait_for_timeout(1100)  # what another process revokes is known by then
    visit.press("Space")
    assert visit.end() == "closed"
    answer = visit.page.goto(link)
    assert answer.status == 401
    assert "no longer valid" in visit.words()
    assert not graded.facts(SessionOpened)


def test_a_second_tab_is_told_of_the_first(graded: Live, visit: Visit) -> None:
    visit.page.goto(graded.link("p01"))
    visit.see("screen")
    second = Visit(visit.page.context.new_page())
    second.page.goto(graded.link("p01"))
    assert second.end() == "elsewhere"


def test_a_card_tells_how_large_a_centimetre_is(graded: Live, visit: Visit) -> None:
    visit.page.goto(graded.link("p01"))
    visit.see("screen")
    visit.press("w")
    visit.see("card")
    visit.page.fill("input[type=range]", "1.25")
    box = visit.page.locator(".card").bounding_box()
    visit.press("Enter")
    visit.see("instructions")
    visit.press("Space")
    visit.see("ready")
    visit.press("Space")
    visit.stimulus()
    (opened,) = graded.facts(SessionOpened)
    assert opened.client["px_per_cm"] == pytest.approx(box["width"] / 8.56, rel=0.01)
    assert opened.client["px_per_deg"] == pytest.approx(
        opened.client["px_per_cm"] * 0.99493, rel=1e-3
    )


def test_geometry_is_that_of_the_window(graded: Live, visit: Visit) -> None:
    """Both clients draw the same blob; a Gabor's stripes lie as PsychoPy's do."""
    visit.page.goto(graded.link("p01"))
    visit.see("screen")
    of = visit.page.get_attribute("script[type=module]", "src").rpartition("/")[0]
    contour = visit.page.evaluate(
        f"import(new URL('{of}/geometry.js', location.href)).then("
        "(g) => g.blob([0.6, -0.48, 0.64], 100).map(({x, y}) => [x, y]))"
    )
    expected = blob([0.6, -0.48, 0.64], 100.0)
    assert len(contour) == len(expected)
    for ours, theirs in zip(contour, expected, strict=True):
        assert ours == pytest.approx(theirs, abs=1e-6)
    levels = visit.page.evaluate(
        f"import(new URL('{of}/geometry.js', location.href)).then("
        "(g) => Array.from(g.gabor(120, 6, 30, 0.1)))"
    )
    assert _angle_of_stripes(levels, 120) == pytest.approx(30, abs=1)


def _angle_of_stripes(levels: list[float], side: int) -> float:
    """By the direction in which grey changes, counter-clockwise from horizontal."""
    picture = np.array(levels).reshape(side, side)
    down, right = np.gradient(picture)
    up = -down
    steepest = np.arctan2((2 * right * up).sum(), (right**2 - up**2).sum()) / 2
    return float((np.degrees(steepest) + 90) % 180)


def test_pictures_are_fetched_with_the_link_and_shown(
    tmp_path: Path, visit: Visit
) -> None:
    colours = [(20 * n + 60, 0, 255 - 20 * n) for n in range(8)]
    rows = ["id,depth,file"]
    for number, colour in enumerate(colours):
        Image.new("RGB", (40, 20), colour).save(tmp_path / f"{number} #.png")
        rows.append(f"{number},{number},{number} #.png")
    table = tmp_path / "table.csv"
    table.write_text("\n".join(rows), encoding="utf-8")
    text = STUDY.format(
        study="",
        stimuli=f'space = "table"\npath = "{table.as_posix()}"',
        session="",
        human="practice_trials = 0",
    ).replace('"linear"', '"basis"\ndegree = 2')
    with live(tmp_path, text) as served:
        visit.page.goto(served.link("p01"))
        visit.begin()
        visit.stimulus()
        (opened,) = served.facts(SessionOpened)
        space = served.study.labeller.space
        due = space.present(np.array(opened.x[opened.trials[0]]))
        shot = Image.open(io.BytesIO(visit.page.locator("#canvas").screenshot()))
        width, height = shot.size
        pixel = shot.convert("RGB").getpixel((width // 2, height // 2))
        assert pixel == colours[int(due["file"][0])]
        around = shot.convert("RGB").getpixel((width // 2, height // 2 + 120))
        assert around == (128, 128, 128)  # twice as wide as high


def test_what_cannot_be_shown_is_said(graded: Live, visit: Visit) -> None:
    def changed(route: Any) -> None:
        answer = route.fetch()
        route.fulfill(json=answer.json() | {"stimulus": {"smell": 3}})

    visit.page.route("**/api/v1/next?*", changed)
    visit.page.goto(graded.link("p01"))
    visit.begin()
    assert visit.end() == "unshowable"
    assert "a stimulus of smell" in visit.words()


def test_a_tone_leads_in_the_right_ear(graded: Live, visit: Visit) -> None:
    visit.page.goto(graded.link("p01"))
    visit.see("screen")
    of = visit.page.get_attribute("script[type=module]", "src").rpartition("/")[0]
    ears = visit.page.evaluate(
        f"import(new URL('{of}/tones.js', location.href)).then("
        "(t) => t.stereo(500, 60, 44100).map((ear) => Array.from(ear)))"
    )
    expected = np.array(stereo(500, 60))
    np.testing.assert_allclose(np.array(ears).T, expected, atol=1e-6)


def test_every_field_of_a_study_file_is_documented() -> None:
    text = (ROOT / "docs" / "browser.md").read_text(encoding="utf-8")
    table = text.partition("## The section `[human]`")[2].partition("\n## ")[0]
    rows = [line.split("|")[1] for line in table.splitlines() if line.startswith("| `")]
    documented = {name for row in rows for name in re.findall(r"`(\w+)`", row)}
    assert documented == set(HumanSection.model_fields)


def test_vendored_files_are_those_of_the_table() -> None:
    table = (PARTICIPANT / "vendor" / "README.md").read_text(encoding="utf-8")
    files = sorted((PARTICIPANT / "vendor").glob("*.js"))
    assert files
    for path in files:
        (row,) = [line for line in table.splitlines() if f"`{path.name}` |" in line]
        assert hashlib.sha256(path.read_bytes()).hexdigest() in row
        assert b"sourceMappingURL" not in path.read_bytes()
