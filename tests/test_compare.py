"""Two studies, or two groups, compared."""

import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result
from small_study import open_desk, played, small_study, study_text
from test_report_page import GROUPS, Tags

from analysis.comparison import compare_studies, compare_two_groups
from analysis.comparison_report import KEYS, comparison_numbers, write_comparison
from analysis.finding import Finding, find
from penchant import main
from server.dry_run import dry_run
from server.journal import Journal

ABSOLUTE = study_text().replace(
    "features = 20", 'features = 20\nactivation = "absolute"'
)
CIRCLE = study_text().replace('"sphere"', '"circle"')


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database of two studies."""
    file = tmp_path_factory.mktemp("lab") / "lab.db"
    for text, name in ((study_text(), "small"), (ABSOLUTE, "other")):
        journal = Journal(file, name)
        dry_run(small_study(text), journal)
        journal.close()
    return file


@pytest.fixture(scope="module")
def one(lab: Path) -> Finding:
    return find("one", list(Journal(lab, "small").read()), 9)


@pytest.fixture(scope="module")
def grouped(tmp_path_factory: pytest.TempPathFactory) -> Finding:
    return find("both", played(tmp_path_factory.mktemp("both"), GROUPS), 9)


def test_two_studies(one: Finding, lab: Path, tmp_path: Path) -> None:
    other = find("other", list(Journal(lab, "other").read()), 9)
    found = compare_studies(one, other)
    assert found.groups == ["one", "other"]
    assert found.overlap is not None
    assert 0 <= found.overlap.shared <= 1
    assert found.overlap.shared == pytest.approx(found.overlap.correlations[0, 0] ** 2)
    page = write_comparison(found, tmp_path / "out")
    text = page.read_text()
    tags = Tags(text)
    assert not tags.open
    assert all(address.startswith("data:") for address in tags.addresses)
    for words in ("exploratory", "labellings of their own", "without a learner"):
        assert words in text
    numbers = json.loads((tmp_path / "out" / "comparison.json").read_text())
    assert set(numbers) - {"keys"} == set(KEYS)
    pictures = list((tmp_path / "out" / "figures").glob("*.png"))
    assert pictures
    assert all(path.with_suffix(".svg").is_file() for path in pictures)


def test_a_study_and_itself_share_everything_and_differ_in_nothing(
    one: Finding,
) -> None:
    found = compare_studies(one, one)
    assert found.names == ("one (1)", "one (2)")
    assert found.overlap is not None
    assert found.overlap.shared == pytest.approx(1)
    known = found.differences["difference"].dropna()
    np.testing.assert_allclose(known, 0, atol=1e-9)
    assert not (found.effects["p_value"] < 0.5).any()


def test_two_groups_of_one_study(grouped: Finding) -> None:
    found = compare_two_groups(grouped, ("control", "lesion"))
    numbers = comparison_numbers(found)
    assert numbers["overlap"] is None
    assert {row["group"] for row in numbers["sessions"]} == {"control", "lesion"}
    errors = grouped.frames.sessions.groupby("group")["relative_error"].mean()
    (row,) = [r for r in numbers["effects"] if r["measure"] == "relative_error"]
    assert row["unit"] == "sessions on one labelling"
    expected = errors[row["group"]] - errors[row["other"]]
    assert row["difference"] == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("groups", [("control", "none"), ("control", "control")])
def test_groups_must_be_there(grouped: Finding, groups: tuple[str, str]) -> None:
    with pytest.raises(ValueError, match="both has the groups control, lesion"):
        compare_two_groups(grouped, groups)


def test_other_stimulus_spaces_are_refused(one: Finding, tmp_path: Path) -> None:
    journal = Journal(tmp_path / "ring.db", "small")
    open_desk(journal, study=small_study(CIRCLE))
    other = find("ring", list(journal.read())[:1], 3)
    journal.close()
    with pytest.raises(ValueError, match="only studies on the same space"):
        compare_studies(one, other)


def penchant(*words: object) -> Result:
    return CliRunner().invoke(main, [str(word) for word in words])


def test_the_command(lab: Path, tmp_path: Path) -> None:
    file, out = lab, tmp_path / "comparison"
    done = penchant("compare", f"{file}:small", f"{file}:other", "--out", out)
    assert done.exit_code == 0, done.output
    assert (out / "comparison.html").is_file()
    several = penchant("compare", file, f"{file}:other")
    assert several.exit_code == 1
    assert "lab.db:NAME, one of" in several.output
    unknown = penchant("compare", f"{file}:none", f"{file}:other")
    assert "holds no study 'none', but" in unknown.output
    assert penchant("compare", file).exit_code == 2
