"""The report as a reader has it: page, figures, numbers, references."""

import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from browser import chromium, needs_browser
from small_study import played, study_text

from analysis.citations import REFERENCES
from analysis.page import interval, p_value, ranged
from analysis.report import write_report
from analysis.report_keys import KEYS

VOID = {"meta", "img", "br", "link"}
GROUPS = study_text(session='response = "choice"\ntest_repeats = 2').replace(
    '[simulated_subject]\nlearner = "kernel_ridge"\nfeatures = 20\n',
    '[objective]\naim = "mean"\n[groups.control]\nlearner = "kernel_ridge"\n'
    'features = 20\n[groups.lesion]\nlearner = "ridge"\n',
)


class Tags(HTMLParser):
    """A page whose tags must match, and what it loads or shows."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.addresses: list[str] = []
        self.cells: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note it."""
        assert tag not in ("script", "link", "iframe", "object")
        self.addresses += [str(v) for name, v in attrs if name in ("src", "href")]
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        """It ends what was begun last."""
        assert self.open.pop() == tag, self.getpos()

    def handle_data(self, data: str) -> None:
        """Text of a table."""
        if self.open and self.open[-1] == "td":
            self.cells.append(data.strip())


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of a study of groups, its beginning, and its null."""
    folder = tmp_path_factory.mktemp("report")
    events = played(folder, GROUPS)
    null = played(folder, GROUPS, null=True)
    studies = [("groups", events), ("begun", events[:3]), ("null", null)]
    write_report(studies, folder / "out", replicates=9)
    return folder / "out"


@pytest.fixture(scope="module")
def numbers(report: Path) -> Any:
    return json.loads((report / "report.json").read_text())


def test_the_page_is_well_formed_and_needs_nothing_else(report: Path) -> None:
    text = (report / "report.html").read_text()
    tags = Tags(text)
    assert not tags.open
    assert all(a.startswith(("data:image/png", "#")) for a in tags.addresses)
    anchors = [a[1:] for a in tags.addresses if a.startswith("#")]
    assert anchors
    assert all(f'id="{anchor}"' in text for anchor in anchors)
    assert not re.search(r"@import|url\(|<script", text)


def test_every_figure_is_there_as_png_and_as_svg_with_words(report: Path) -> None:
    shown = Tags((report / "report.html").read_text()).addresses
    pictures = [address for address in shown if address.startswith("data:")]
    png = {path.stem for path in (report / "figures").glob("*.png")}
    svg = {path.stem for path in (report / "figures").glob("*.svg")}
    assert png == svg
    assert len(png) == len(pictures)
    for path in (report / "figures").glob("*.svg"):
        assert "<text" in path.read_text()


def test_numbers_are_those_of_the_tables(report: Path, numbers: Any) -> None:
    cells = Tags((report / "report.html").read_text()).cells
    (study, *_) = numbers["studies"]
    known = [row for row in study["bias_spectrum"] if row["error"] is not None]
    assert known
    for row in known:
        assert ranged(row, "error") in cells
        between = f"({interval(row, 'null_low', 'null_high')})"
        assert any(between in cell for cell in cells)
    for row in study["side_bias"]:
        assert f"{row['side_bias']:+.3f}" in cells
        assert p_value(row["p_value"]) in cells
    assert {row["group"] for row in known} == {"control", "lesion"}


def test_every_key_is_explained(numbers: Any) -> None:
    assert numbers["keys"] == KEYS
    for study in numbers["studies"]:
        assert set(study) == set(KEYS)


def test_what_is_not_there_is_said_in_a_line(report: Path, numbers: Any) -> None:
    text = (report / "report.html").read_text()
    study, begun, null = numbers["studies"]
    assert "behaviour" not in {path.stem for path in (report / "figures").iterdir()}
    assert study["notes"]["times"] in text
    assert "No session has finished yet." in begun["notes"].values()
    assert not begun["components"]
    assert null["bias_spectrum"] == []


def test_claims_stand_beside_their_nulls(report: Path, numbers: Any) -> None:
    (study, *_) = numbers["studies"]
    for component in study["components"]:
        assert component["null_median"] is not None
    for row in study["bias_spectrum"]:
        assert (row["error"] is None) == (row["null_median"] is None)
    text = (report / "report.html").read_text()
    assert "beyond what the same search finds without a learner" in text


def test_references_are_cited_and_complete(report: Path) -> None:
    bib = (report / "references.bib").read_text()
    keys = re.findall(r"@\w+\{(\w+),", bib)
    assert keys[0] == "dorrell2023"
    assert len(keys) == len(set(keys))
    assert set(keys) <= set(REFERENCES)
    assert bib.count("{") == bib.count("}")
    for one in REFERENCES.values():
        assert {"author", "title", "year"} <= set(one.fields)
        assert not set("{}\\") & set(one.text)


def test_intervals_have_the_decimals_of_their_ends() -> None:
    small = {"value": 0.000713, "low": 0.0, "high": 0.001496}
    assert ranged(small, "value") == "0.0007 (0.0000 to 0.0015)"
    assert ranged({"value": 2.6, "low": 2.1569, "high": 3.047}, "value") == (
        "2.60 (2.16 to 3.05)"
    )
    assert ranged({"value": 1.0, "low": None, "high": None}, "value") == "1"
    assert p_value(1e-9) == "< 0.0001"
    assert p_value(None) == "\N{EN DASH}"
    assert (
        np.char.count(ranged({"value": 5e3, "low": 1e3, "high": 1e4}, "value"), ".")
        == 0
    )


@needs_browser
@pytest.mark.parametrize("width", [360, 1100])
def test_nothing_overflows(report: Path, width: int) -> None:
    with chromium() as browser:
        page = browser.new_page(viewport={"width": width, "height": 800})
        asked: list[str] = []
        page.on("request", lambda request: asked.append(request.url))
        page.goto((report / "report.html").as_uri())
        wide = page.evaluate("document.documentElement.scrollWidth")
        assert wide <= width
        assert all(url.startswith(("file:", "data:")) for url in asked)
