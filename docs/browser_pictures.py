"""The pictures of docs/browser.md, from real sessions in a browser.

    python docs/browser_pictures.py

Needs chromium and the package playwright.
"""

import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

from browser import PHONE, Live, Visit, chromium, live  # noqa: E402

IMAGES = ROOT / "docs" / "images"
DESK = {"viewport": {"width": 1100, "height": 720}}

STUDY = """
[study]
name = "tilted"
seed = 3

[stimuli]
space = "circle"
shown_as = "{shown_as}"

[session]
training_stimuli = 6
test_stimuli = 6
{session}

[search]
population = 4
generations = 2

[labelling]
family = "linear"

[human]
feedback_s = 3.0
practice_trials = 1
break_every = 2
completion_code = "C7KQ2XN4"
completion_url = "https://app.prolific.com/submissions/complete?cc={{code}}"
{human}
"""

CONSENT = (
    "You will look at striped pictures and say what you think of each. It takes about "
    "ten minutes.\\n\\nWe keep your answers and how long they took, under a number "
    "and not under your name. You may stop at any time, without giving a reason: "
    "press Leave.\\n\\nDo you agree to take part?"
)

GRADED = STUDY.format(
    shown_as="orientation",
    session="",
    human='title = "Which value?"\nleft = "low"\nright = "high"\n'
    f'consent = "{CONSENT}"',
)
CHOICE = STUDY.format(
    shown_as="direction",
    session='response = "choice"\ntest_repeats = 2',
    human='title = "Red or blue?"\nleft = "red"\nright = "blue"',
)


@contextmanager
def visiting(browser: Any, served: Live, device: dict[str, Any]) -> Iterator[Visit]:
    """A participant before a device."""
    context = browser.new_context(**device)
    visit = Visit(context.new_page())
    visit.page.goto(served.link("p01"))
    yield visit
    context.close()


def picture(visit: Visit, name: str) -> None:
    """Keep what is on the page."""
    visit.page.screenshot(path=IMAGES / f"browser_{name}.png")


def graded(visit: Visit) -> None:
    """A session on a desk, from consent to the code."""
    visit.see("consent")
    picture(visit, "consent")
    visit.press("y")
    visit.see("screen")
    visit.press("w")
    visit.see("card")
    picture(visit, "card")
    visit.press("s")
    visit.see("instructions")
    picture(visit, "instructions")
    visit.press("Space")
    visit.see("practice")
    visit.press("Space")
    visit.see("trial", "practice")
    picture(visit, "practice")
    visit.point(-0.5)
    visit.see("ready")
    visit.press("Space")
    for number in range(12):
        if number and number % 2 == 0:
            visit.see("break")
            if number == 4:
                picture(visit, "break")
            visit.press("Space")
        visit.stimulus()
        if number == 4:
            for _ in range(6):
                visit.press("ArrowRight")
            picture(visit, "gabor")
        visit.point(0.45 if number == 3 else -0.35)
        if number == 3:
            visit.see("trial", "feedback")
            picture(visit, "feedback")
        visit.answered()
    visit.end()
    picture(visit, "completion")


def choice(visit: Visit) -> None:
    """Some trials on a phone."""
    for button in ("window", "skip", "go-on", "go-on"):
        visit.page.tap(f"button[data-id={button}]")
    visit.see("trial", "practice")
    visit.page.tap(".side[data-side='1']")
    visit.see("ready")
    visit.page.tap("button[data-id=go-on]")
    visit.stimulus()
    picture(visit, "phone")
    visit.page.tap(".side[data-side='-1']")
    visit.see("trial", "feedback")
    picture(visit, "phone_feedback")


def main() -> None:
    """All pictures."""
    with tempfile.TemporaryDirectory() as folder, chromium() as browser:
        for text, device, session in (
            (GRADED, DESK, graded),
            (CHOICE, PHONE, choice),
        ):
            home = Path(folder) / session.__name__
            home.mkdir()
            with live(home, text) as served, visiting(browser, served, device) as visit:
                session(visit)


if __name__ == "__main__":
    main()
