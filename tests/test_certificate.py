"""A certificate's judgement, words and study files, without running any study."""

import math
import tomllib
from pathlib import Path

import numpy as np
import pytest
from certified import judged, made_up, made_up_of_nothing
from hypothesis import given
from hypothesis import strategies as st
from small_study import small_study, study_text

from analysis.certificate import Certificate, Nature, keys, load, rate
from analysis.certificate_judge import judge, share_in_span
from analysis.certificate_studies import simulated, toml
from analysis.certificate_words import cautions, limits, methods, verdict
from server.study_file import Study
from server.study_file import load as load_study
from server.template import TEMPLATE

A, B = "order 2 harmonics", "order 1"
SEEDS = st.integers(0, 2**32 - 1)


@given(seed=SEEDS, k=st.integers(1, 6), constant=st.floats(-5, 5))
def test_a_mixture_lies_within_its_span_and_what_is_orthogonal_without(
    seed: int, k: int, constant: float
) -> None:
    draws = np.random.default_rng(seed)
    functions = draws.normal(size=(80, k))
    mixture = functions @ draws.normal(size=k) + constant
    basis = np.linalg.qr(np.column_stack([np.ones(80), functions]))[0]
    other = draws.normal(size=80)
    orthogonal = other - basis @ (basis.T @ other) + constant
    assert share_in_span(mixture, functions) == pytest.approx(1)
    assert share_in_span(orthogonal, functions) == pytest.approx(0, abs=1e-9)
    # A function that is there twice, or is a constant, adds nothing.
    doubled = np.column_stack([functions, functions[:, 0], np.ones(80)])
    both = mixture / mixture.std() + orthogonal / orthogonal.std()
    assert share_in_span(both, doubled) == pytest.approx(0.5)
    assert share_in_span(np.full(80, constant), functions) == 0


def test_found_is_what_is_there_and_is_rare_without_a_learner() -> None:
    rare, usual = np.full((199, 1), 0.1), np.full((199, 1), 0.95)
    null = {A: rare, B: usual}
    of = {name: np.array([0.9]) for name in null}
    assert judge(of, null).found == [A]  # the null has as much of the other
    assert judge({A: np.array([0.4])}, {A: rare}).found == []  # rare, but little
    assert judge(of, null).p_values == {A: 1 / 200, B: 1.0}


def test_of_several_components_the_best_stands_beside_the_best_of_the_null() -> None:
    null = {A: np.tile([0.1, 0.8], (199, 1))}
    assert judge({A: np.array([0.2, 0.7])}, null).found_later == []
    assert judge({A: np.array([0.2, 0.9])}, null).found_later == [A]
    assert judge({A: np.array([0.2, 0.9])}, null).found == []


def test_words_say_what_is_found_missed_mistaken_and_cannot_be_told() -> None:
    null = {A: np.full((199, 1), 0.1), B: np.full((199, 1), 0.9)}
    studies = [
        *(judged(A, {A: 0.9, B: 0.05}, null) for _ in range(5)),
        judged(A, {A: 0.2, B: 0.95}, null),
        *(judged(B, {A: 0.05, B: 0.9}, null) for _ in range(5)),
        judged(B, {A: 0.8, B: 0.1}, null),
        *(judged(None, {A: 0.1, B: 0.5}, null) for _ in range(19)),
        judged(None, {A: 0.6, B: 0.1}, null),
    ]
    planted, none, natures = made_up(studies, null)
    said = " ".join(verdict(planted, none))
    assert "would find: order 2 harmonics (5 of 6 studies, 95 % interval 0.36" in said
    assert "would miss: order 1 (0 of 6 studies" in said
    assert "cried wolf in 1 of 20 studies" in said
    notes = " ".join(cautions(small_study(), planted, none, natures))
    assert "cannot tell such a bias from what its search prefers by itself" in notes
    assert "In 1 of 6 studies of subjects with order 1 another bias" in notes
    assert "without any noise" in notes
    liar = natures[0].model_copy(update={"errors": {A: 0.9, B: 0.1}})
    notes = " ".join(cautions(small_study(), planted, none, [liar]))
    assert "did not take the bias" in notes


def test_what_the_null_seldom_has_can_be_told_though_it_is_not_always_found() -> None:
    null = {A: np.linspace(0, 0.3, 199)[:, None], B: np.full((199, 1), 0.1)}
    studies = [
        *(judged(A, {A: 0.9, B: 0.05}, null) for _ in range(4)),
        *(judged(A, {A: 0.3, B: 0.05}, null) for _ in range(2)),
        *(judged(B, {A: 0.1, B: 0.9}, null) for _ in range(6)),
        *(judged(None, {A: 0.1, B: 0.1}, null) for _ in range(20)),
    ]
    planted, none, natures = made_up(studies, null)
    first = planted[0]
    assert (first.found.count, first.share.median) == (4, 0.9)
    assert first.null.high < 0.3
    notes = " ".join(cautions(small_study(), planted, none, natures))
    assert "cannot tell such a bias" not in notes
    assert "beside it" not in notes


def test_a_bias_found_beside_the_planted_one_is_told() -> None:
    null = {name: np.full((199, 1), 0.1) for name in (A, B)}
    studies = [judged(A, {A: 0.9, B: 0.6}, null), judged(A, {A: 0.9, B: 0.1}, null)]
    studies += [judged(B, {A: 0.6, B: 0.2}, null), judged(None, {A: 0, B: 0}, null)]
    planted, none, natures = made_up(studies, null)
    assert [(one.also.count, one.mistaken.count) for one in planted] == [(1, 0), (0, 1)]
    notes = " ".join(cautions(small_study(), planted, none, natures))
    assert "In 1 of 2 studies of subjects with order 2 harmonics another" in notes


def test_methods_and_limits_say_what_was_done() -> None:
    taken = Nature(subject="a", bias=A, seed=1, sha256="0", errors={A: 0.1, B: 0.5})
    easier = taken.model_copy(update={"errors": {A: 0.5, B: 0.1}})
    said = methods(small_study(), 999, [taken, easier])
    assert "Of 2 a bias took in 1" in said
    assert "32 sines of 2 times their drive" in said
    assert "learns in 5 steps" in said
    told = cautions(small_study(), *made_up_of_nothing(), [taken, easier])
    assert sum("labellings of order 1 come as easily" in note for note in told) == 1
    contrast = GROUPS.replace("{aim}", "normalised")
    study = Study(contrast.replace("{chosen}", 'chosen = "control"\n'))
    assert any("share a strong bias" in note for note in limits(study))
    assert not any("share a strong bias" in note for note in limits(small_study()))


@pytest.mark.parametrize(("count", "of"), [(0, 20), (6, 6), (3, 7)])
def test_intervals_are_exact(count: int, of: int) -> None:
    found = rate(count, of)
    assert found.low <= count / of <= found.high
    # Clopper & Pearson: at an end of 0 or 1 in closed form.
    if count == 0:
        assert found.high == pytest.approx(1 - 0.025 ** (1 / of), abs=1e-6)
    if count == of:
        assert found.low == pytest.approx(0.025 ** (1 / of), abs=1e-6)


def test_whatever_a_study_file_says_is_said_again() -> None:
    strings = 'a "quoted" \\ path\n\t\x00\x7f \u00e9\U0001f600'
    inner = {"two words": [1, -2.5, 1e22, math.inf, -math.inf], "": strings}
    whole = {"plain": {"yes": True, "no": False, "inner": inner}, "a.b": {strings: []}}
    assert tomllib.loads(toml(whole)) == whole
    template = tomllib.loads(TEMPLATE)
    assert tomllib.loads(toml(template)) == template


def test_all_but_name_seed_and_subjects_stays(tmp_path: Path) -> None:
    study = Study(TEMPLATE)
    subject = tmp_path / "out" / "subjects" / "a.safetensors"
    where = tmp_path / "out" / "studies"
    one = simulated(study, tmp_path, where, A, 2, subject)
    old, new = tomllib.loads(TEMPLATE), tomllib.loads(one.text)
    assert new["simulated_subject"] == {
        "learner": "procedural",
        "subject": "../subjects/a.safetensors",
    }
    assert new["study"].pop("name") == "certify-order-2-harmonics-2"
    assert new["study"].pop("seed") != old["study"].pop("seed")
    del old["study"]["name"]
    for table in (old, new):
        del table["simulated_subject"]
    assert new == old
    again = simulated(study, tmp_path, where, None, 2, None)
    assert again.seed != one.seed
    assert 'learner = "unteachable"' in again.text


GROUPS = study_text().replace(
    '[simulated_subject]\nlearner = "kernel_ridge"\nfeatures = 20\n',
    '[objective]\naim = "{aim}"\n{chosen}[groups.control]\nlearner = "ridge"\n'
    'label_noise = 0.3\n[groups.lesion]\nlearner = "ridge"\n',
)


@pytest.mark.parametrize(
    ("aim", "chosen", "learners"),
    [
        ("mean", "", ["procedural", "procedural"]),
        ("normalised", 'chosen = "control"\n', ["procedural", "unteachable"]),
        ("normalised", 'chosen = "lesion"\n', ["unteachable", "procedural"]),
    ],
)
def test_a_bias_is_planted_where_a_study_of_groups_looks_for_it(
    tmp_path: Path, aim: str, chosen: str, learners: list[str]
) -> None:
    study = Study(GROUPS.replace("{aim}", aim).replace("{chosen}", chosen))
    subject = tmp_path / "a.safetensors"
    one = tomllib.loads(simulated(study, tmp_path, tmp_path, A, 1, subject).text)
    groups = one["groups"]
    assert [groups[name]["learner"] for name in ("control", "lesion")] == learners
    assert groups["control"]["label_noise"] == 0.3
    blank = tomllib.loads(simulated(study, tmp_path, tmp_path, None, 1, None).text)
    assert {own["learner"] for own in blank["groups"].values()} == {"unteachable"}


def test_a_table_is_found_from_where_the_simulated_study_lies(tmp_path: Path) -> None:
    text = study_text().replace('space = "sphere"', 'space = "table"\npath = "t.csv"')
    rows = [f"{i},{i % 7},{i * i}" for i in range(40)]
    (tmp_path / "t.csv").write_text("\n".join(["id,a [Hz],b", *rows]) + "\n")
    study_file = tmp_path / "table.toml"
    study_file.write_text(text)
    study = load_study(study_file)
    where = tmp_path / "out" / "studies"
    one = simulated(study, tmp_path, where, None, 1, None)
    where.mkdir(parents=True)
    (where / "one.toml").write_text(one.text)
    again = load_study(where / "one.toml")
    assert len(again.labeller.space.grid(1)) == 40


def test_every_key_is_explained() -> None:
    told = keys()
    assert set(Certificate.model_fields) <= set(told)
    assert "studies.p_values" in told
    assert "planted.found" in told


def test_what_is_no_certificate_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "certificate.json"
    for text in (
        "no json",
        "{}",
        "[" * 100_000,
        '{"certificate": {"study": "x"}}',
        "[]",
    ):
        path.write_text(text)
        with pytest.raises(ValueError, match="is no certificate"):
            load(path)
    with pytest.raises(ValueError, match="cannot read the certificate"):
        load(tmp_path / "none.json")
