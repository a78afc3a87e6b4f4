"""The figures of the paper: what their numbers say, and that they can be run."""

import json
from pathlib import Path
from typing import Any

import hypothesis.strategies as st
import numpy as np
import pytest
from click.testing import CliRunner
from hypothesis import given

from penchant import main
from reproduction.catalogue import FIGURES
from reproduction.claim import Claim
from reproduction.digits import consistency
from reproduction.gallery import gallery
from reproduction.mushroom_body import group_means, one_input, over_connected
from reproduction.run import reproduce
from reproduction.settings import OURS, PAPER, merged, paper_study, to_toml
from server.study_file import Study

SHARES = st.lists(st.floats(0, 1), min_size=1, max_size=9).map(tuple)


# Claims


@given(values=SHARES, null=SHARES, target=st.floats(0, 1), at_most=st.booleans())
def test_a_claim_is_judged_by_its_median(
    values: Any, null: Any, target: float, at_most: bool
) -> None:
    claim = Claim("share", "", values, null, target, at_most)
    sign = -1 if at_most else 1
    assert claim.met == (sign * np.median(values) >= sign * target)
    assert sign * claim.worst <= sign * claim.median
    beaten = sum(sign * n < sign * claim.median for n in null)
    assert claim.p_value == pytest.approx(1 - beaten / (len(null) + 1))
    assert json.loads(json.dumps(claim.as_json()))["met"] == claim.met


def test_a_claim_can_fail_and_can_be_no_better_than_the_null() -> None:
    null = tuple(np.linspace(0.8, 1.0, 99))
    weak = Claim("share", "", (0.9, 0.95, 0.2), null, target=0.95)
    assert weak.met is False
    assert weak.beyond_null is False
    strong = Claim("share", "", (1.0, 1.0, 0.9), (0.1,) * 99, target=0.95)
    assert strong.met
    assert strong.beyond_null
    assert strong.worst == 0.9
    plain = Claim("ratio", "", (3.0,))
    assert (plain.met, plain.beyond_null, plain.p_value) == (None, None, None)


# Statistics of figures 6 and 7


def test_one_input_and_group_means_tell_what_labels_depend_on() -> None:
    rng = np.random.default_rng(1)
    x = rng.normal(size=(4000, 5))
    alone = np.tanh(x[:, 0])
    assert one_input(x, alone) > 0.98
    assert over_connected(x, alone) > 0.98
    assert group_means(x, alone) < 0.6  # half of a mean of two
    other = np.tanh(x[:, 3])
    assert one_input(x, other) > 0.98
    assert over_connected(x, other) < 0.05
    group = np.tanh(x[:, 2:].mean(1))
    assert group_means(x, group) > 0.98
    assert one_input(x, group) < 0.5
    noise = rng.normal(size=4000)
    assert max(one_input(x, noise), group_means(x, noise)) < 0.02


def test_consistency_does_not_care_which_class_is_positive() -> None:
    classes = np.repeat([0, 1], 50)
    labels = np.where(classes == 1, 0.3, -0.2)
    assert consistency(labels, classes) == consistency(-labels, classes) == 1
    labels[:10] *= -1
    assert consistency(labels, classes) == pytest.approx(0.9)
    labels = np.random.default_rng(0).normal(size=100)
    assert consistency(labels, classes) < 0.7


# Study files


def test_later_options_win_and_another_choice_drops_the_old_options() -> None:
    first = {"labelling": {"family": "basis", "degree": 4}}
    same = {"labelling": {"family": "basis", "degree": 2}}
    other = {"labelling": {"family": "mlp"}}
    assert merged(first, same) == same
    assert merged(first, {"labelling": {"degree": 2}}) == same
    assert merged(first, other) == other
    assert first["labelling"]["degree"] == 4, "its arguments stay as they are"


def test_every_setting_of_the_paper_is_a_study_file() -> None:
    for name in PAPER:
        study = Study(paper_study(name))
        assert study.name == f"paper-{name}"
        assert study.by_gradient
        assert not study.objective.relative, "the paper's error is raw"
        assert study.labeller.label_distribution in ("sinkhorn", "energy")


def test_our_setting_is_the_default_objective() -> None:
    assert set(OURS) == {"labelling", "search"}
    text = {"study": {"name": "s"}, "stimuli": {"space": "circle"}}
    objective = Study(to_toml(merged(OURS, text))).file.objective
    assert objective.label_distribution == "standardised"
    assert objective.orthogonality == "exact"


# Commands


def test_figures_are_listed_and_unknown_ones_refused() -> None:
    listed = CliRunner().invoke(main, ["reproduce", "list"])
    assert all(name in listed.output for name in FIGURES)
    refused = CliRunner().invoke(main, ["reproduce", "fig99"])
    assert refused.exit_code == 2
    assert "no figure 'fig99'" in refused.output


def test_the_settings_of_the_paper_are_printed_to_start_from() -> None:
    command = ["reproduce", "fig3c", "--paper-settings"]
    printed = CliRunner().invoke(main, command)
    assert printed.exit_code == 0, printed.output
    assert Study(printed.output).file.search.method == "adagrad"
    refused = CliRunner().invoke(main, ["reproduce", "fig5", "--paper-settings"])
    assert refused.exit_code == 2
    assert "are known for one of fig2b" in refused.output


def test_a_figure_from_the_command_line(tmp_path: Path) -> None:
    """The cheapest one, with one seed: journal, numbers, picture and gallery."""
    out = tmp_path / "out"
    done = CliRunner().invoke(
        main, ["reproduce", "fig2b", "--seeds", "1", "--out", str(out)]
    )
    assert done.exit_code == 0, done.output
    assert "fig2b: 3 of 3 targets met" in done.output
    numbers = json.loads((out / "fig2b" / "numbers.json").read_text())
    ours, diagnostic, *_ = numbers["claims"]
    assert ours["median"] > 0.99 > 0.95 > ours["null"]["95_percent"]
    assert diagnostic["role"] == "diagnostic"
    assert (out / "fig2b" / "journal.db").is_file()
    assert (out / "fig2b" / "fig2b.png").stat().st_size > 20_000
    assert "## fig2b" in (out / "gallery.md").read_text()
    again = reproduce("fig2b", out, (1,))
    assert again["new_studies"] == 0, "what was run is not run again"
    assert again["claims"] == numbers["claims"]


def test_the_gallery_says_what_is_missed_and_what_the_null_finds_too() -> None:
    claims = [
        Claim("power", "99 %", (0.7, 0.8), (0.1,) * 40, 0.9),
        Claim("power there", "99 %", (0.99,), (0.99,) * 40, role="paper"),
    ]
    page = gallery(
        [
            {
                "figure": "fig0",
                "title": "a figure",
                "paper": "It says so.",
                "seeds": [1, 2],
                "seconds": 3.2,
                "device": "cpu",
                "notes": ["A note."],
                "claims": [claim.as_json() for claim in claims],
            }
        ]
    )
    assert "Missed: power." in page
    assert "**missed**" in page
    assert "says nothing about the learner" in page
    assert "A note." in page


# The whole, in `make validate`


@pytest.mark.slow
@pytest.mark.parametrize("name", FIGURES)
def test_every_target_is_met_and_no_finding_is_the_null(
    name: str, tmp_path: Path
) -> None:
    numbers = reproduce(name, tmp_path, (1, 2, 3, 4, 5))
    missed = [c["statement"] for c in numbers["claims"] if c["met"] is False]
    assert not missed
    ours = [c for c in numbers["claims"] if c["role"] == "ours" and not c["at_most"]]
    as_null = [c["statement"] for c in ours if c["beyond_null"] is False]
    assert not as_null
