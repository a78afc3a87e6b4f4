"""A participant who opens an address in a browser and does whatever the page asks."""

import re

from browser import Visit, chromium

KEYS = {
    "consent": "y",
    "screen": "w",
    "card": "s",
    "instructions": "Space",
    "practice": "Space",
    "ready": "Space",
    "break": "Space",
}
"""What goes on from each page that is read."""


def participate(address: str) -> str:
    """A whole session, from the first page to the words of the last."""
    with chromium() as browser:
        page = browser.new_page(viewport={"width": 900, "height": 700})
        visit = Visit(page)
        page.goto(address)
        while (screen := page.get_attribute("#view", "data-screen")) != "end":
            state = page.get_attribute("#view", "data-state")
            if state == "practice":
                _practise(visit)
            elif state == "stimulus":
                visit.stimulus()
                _answer(visit, 0.3)
                visit.answered()
            elif screen in KEYS:
                before = visit.words()
                visit.press(KEYS[screen])
                visit.until(lambda before=before: visit.words() != before)  # type: ignore[misc]
            else:
                page.wait_for_timeout(20)
        assert visit.end() == "finished", visit.words()
        assert not visit.faults
        return visit.words()


def _practise(visit: Visit) -> None:
    """Answer as the arrow says, and read what is said of it."""
    page = visit.page
    said = str(page.get_attribute(".pointing", "aria-label"))
    at = re.search(r"-?\d+(\.\d+)?", said)
    _answer(visit, float(at[0]) if at else 1.0 if "right" in said else -1.0)
    page.wait_for_selector(".verdict p")
    page.wait_for_selector(".verdict p", state="detached")


def _answer(visit: Visit, value: float) -> None:
    """On the scale, or with the key of a side."""
    if visit.page.locator("#scale").is_visible():
        visit.point(value)
    else:
        visit.press("j" if value > 0 else "f")
