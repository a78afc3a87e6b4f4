"""Whatever the documentation says to type is typed here, and works."""

import unittest
from pathlib import Path
from typing import Any

import pytest
from pages import DOCS, LANGUAGES, NOT_CODE, PAGES, begun, languages, parsed, reasons

SLOW = {
    "browser-recruiting.md",
    "browser.md",
    "certificate.md",
    "clusters.md",
    "human.md",
    "planting.md",
    "tutorials/analyse.md",
    "tutorials/dry-run.md",
    "tutorials/humans.md",
    "tutorials/rig.md",
}
"""Pages with a server or a whole study: half a minute to some minutes each."""

MOST_NOT_RUN = 32
"""Blocks that need hardware, a screen, root or the network."""


def name(path: Path) -> str:
    return path.relative_to(DOCS).as_posix()


def marked(path: Path) -> Any:
    slow = [pytest.mark.slow] if name(path) in SLOW else []
    return pytest.param(path, id=name(path), marks=slow)


@pytest.mark.parametrize("path", [marked(p) for p in PAGES if languages(p)])
def test_what_a_page_says_works(path: Path, tmp_path: Path) -> None:
    document = parsed(path)
    with begun(tmp_path) as page:
        document.namespace["page"] = page
        for example in document.examples():
            try:
                example.evaluate()
            except unittest.SkipTest:
                continue  # the mark before it says why
            except Exception as error:
                raise AssertionError(f"{path}:{example.line}: {error}") from error


def test_every_block_has_a_language_that_is_run_or_is_no_code() -> None:
    for path in PAGES:
        assert set(languages(path)) <= {*LANGUAGES, *NOT_CODE}, path


def test_whatever_is_not_run_says_why() -> None:
    every = [(name(path), reason) for path in PAGES for reason in reasons(path)]
    for page, reason in every:
        assert len(reason) > 10, f"{page}: {reason!r} is no reason"
    assert len(every) <= MOST_NOT_RUN, every
