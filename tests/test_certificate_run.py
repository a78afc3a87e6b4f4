"""Certificates made: of a tiny study, with subjects that stand in for planted ones."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from certified import (
    BIAS,
    DATE,
    TEXT,
    Runner,
    certified,
    plant_cheaply,
    untaught_cheaply,
)
from click.testing import CliRunner
from scipy.stats import binom
from small_study import small_study, study_text, write_study

from analysis.certificate import Certificate, load
from analysis.certificate_page import write_certificate
from analysis.certificate_report import beside
from analysis.certificate_results import (
    IN_PROCESS,
    OVER_SOCKETS,
    Asked,
    How,
    result_of,
    versions_of,
)
from analysis.certificate_studies import simulated
from analysis.certificate_subjects import Bias, Raised, biases, raise_all
from penchant import main
from server.dry_run import dry_run
from server.journal import Journal
from server.steps import opening
from server.study_file import load as load_study

NAMES = ["order-2-harmonics-1", "none-1"]
SUBJECTS = "analysis.certificate_subjects"


@pytest.fixture(autouse=True, scope="module")
def _planted_cheaply() -> Any:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(f"{SUBJECTS}.plant", plant_cheaply)
        patch.setattr(f"{SUBJECTS}.fresh", untaught_cheaply)
        # What they are looked at for beside what is planted: order 1 is enough.
        patch.setattr("analysis.certificate_run.BIASES", ())
        yield


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Certificate]:
    """A folder with a study file, the journal of its beginning, its certificate."""
    folder = tmp_path_factory.mktemp("certified")
    runner = Runner()
    certificate = certified(folder, runner)
    assert runner.ran == NAMES
    write_certificate(certificate, folder / "small-certificate")
    study = load_study(folder / "small.toml")
    journal = Journal(folder / "small.db", study.name)
    journal.append([opening(study, "dry-run")], at=1.0)
    journal.close()
    return folder, certificate


Whole = tuple[Path, Certificate]


def test_a_study_is_certified_from_beginning_to_end(whole: Whole) -> None:
    folder, certificate = whole
    studies = folder / "small-certificate" / "studies"
    assert {path.suffix for path in studies.iterdir()} == {".toml", ".json"}
    assert [one.outcome for one in certificate.studies][1] in ("quiet", "alarm")
    assert [one.bias for one in certificate.studies] == [BIAS, None]
    assert certificate.how == "in process"
    assert {"penchant", "jax", "evosax", "scipy"} <= set(certificate.versions)
    assert all("order 1" in nature.errors for nature in certificate.natures)


@pytest.mark.slow
def test_what_is_done_is_not_done_again_and_more_is_added(whole: Whole) -> None:
    folder, certificate = whole
    again = Runner()
    assert certified(folder, again) == certificate
    assert again.ran == []
    more = certified(folder, again, none=2)
    assert again.ran == ["none-2"]
    assert more.studies[:2] == certificate.studies


def test_a_result_is_kept_for_the_way_and_the_versions_it_was_made_with(
    whole: Whole, tmp_path: Path
) -> None:
    folder, _ = whole
    study = load_study(folder / "small.toml")
    one = simulated(study, folder, tmp_path, None, 1, None)
    runner, journal = Runner(), tmp_path / "none-1.db"

    def ran(how: How = IN_PROCESS, keep: bool = False, **other: str) -> int:
        runner.ran.clear()
        asked = Asked(how, versions_of(study) | other, keep)
        result = result_of(one, tmp_path, asked, runner, lambda _: None)
        assert (result.how, result.versions) == (how, versions_of(study))
        assert journal.exists() == keep
        return len(runner.ran)

    assert [ran(), ran()] == [1, 0]
    assert [ran(keep=True), ran(keep=True)] == [1, 0]  # without a journal, run again
    assert [ran(), ran()] == [0, 0]
    assert [ran(OVER_SOCKETS), ran(OVER_SOCKETS)] == [1, 0]
    assert ran(OVER_SOCKETS, jax="0.0.1") == 1


def test_a_subject_does_not_depend_on_folders_but_on_how_it_was_planted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    study, made = small_study(TEXT), list[Raised]()
    for name in ("here", "there"):
        folder = tmp_path / name
        folder.mkdir()
        (folder / "own.csv").write_text("id,label\n1,2\n")
        bias = Bias("own", str(folder / "own.csv"))
        made += raise_all([bias], study, folder / "subjects", 1)
    assert made[0].path.name == made[1].path.name
    assert made[0].path.read_bytes() == made[1].path.read_bytes()
    assert str(tmp_path).encode() not in made[0].path.read_bytes()
    monkeypatch.setattr(f"{SUBJECTS}.STEPS", 6)
    (other,) = raise_all([bias], study, folder / "subjects", 1)
    assert other.path.name != made[1].path.name


@pytest.mark.slow
def test_a_killed_one_goes_on_to_the_same_certificate(
    whole: Whole, tmp_path: Path
) -> None:
    killed = Runner(dies_at=1)
    with pytest.raises(KeyboardInterrupt):
        certified(tmp_path, killed)
    assert killed.ran == NAMES[:1]
    assert (tmp_path / "small-certificate/studies/none-1.db").exists()
    runner = Runner()
    assert certified(tmp_path, runner) == whole[1]
    assert runner.ran == NAMES[1:]


@pytest.mark.slow
def test_a_changed_study_is_certified_anew(whole: Whole, tmp_path: Path) -> None:
    assert certified(tmp_path, Runner()) == whole[1]
    runner = Runner()
    changed = TEXT.replace("generations = 2", "generations = 1")
    certificate = certified(tmp_path, runner, changed)
    assert runner.ran == NAMES
    assert certificate.sha256 != whole[1].sha256
    assert all(study.sessions == 4 for study in certificate.studies)


def test_files_are_whole_and_the_same_each_time(whole: Whole, tmp_path: Path) -> None:
    folder, certificate = whole
    made = folder / "small-certificate"
    assert load(made / "certificate.json") == certificate
    assert certificate.date == DATE
    assert certificate.study_file == (folder / "small.toml").read_text()
    write_certificate(certificate, tmp_path)
    for name in ("certificate.json", "certificate.html", "certificate.pdf"):
        assert (tmp_path / name).read_bytes() == (made / name).read_bytes()
    assert (made / "certificate.pdf").read_bytes().startswith(b"%PDF")
    page = (made / "certificate.html").read_text()
    assert certificate.file_sha256 in page
    assert all(sentence in page for sentence in certificate.verdict)


@pytest.mark.slow
def test_the_report_shows_the_certificate_of_a_study(whole: Whole) -> None:
    folder, certificate = whole
    out = folder / "report"
    study = load_study(folder / "small.toml")
    journal = Journal(folder / "small.db", study.name)
    dry_run(study, journal)
    journal.close()
    shown = CliRunner().invoke(
        main, ["analyse", str(folder / "small.db"), "--out", str(out)]
    )
    assert shown.exit_code == 0, shown.output
    (told,) = json.loads((out / "report.json").read_text())["studies"]
    assert told["certificate"]["verdict"] == certificate.verdict
    assert certificate.verdict[0] in (out / "report.html").read_text()
    assert (out / "figures" / "small-certificate.svg").exists()


def test_a_certificate_of_another_study_file_is_refused(
    whole: Whole, tmp_path: Path
) -> None:
    folder, certificate = whole
    changed = certificate.model_copy(update={"sha256": "f" * 64})
    write_certificate(changed, tmp_path)
    journal, other = folder / "small.db", tmp_path / "certificate.json"
    asked = ["analyse", journal, "--out", tmp_path / "report", "--certificate", other]
    refused = CliRunner().invoke(main, [str(word) for word in asked])
    assert refused.exit_code == 1
    assert "certifies another study file: small" in refused.output
    assert not (tmp_path / "report").exists()


def _drop(of: dict[str, Any], name: str) -> None:
    del of[name]


DAMAGES: list[tuple[Callable[[dict[str, Any]], object], str]] = [
    (lambda c: c.update(settings={}), "settings.studies_per_bias"),
    (lambda c: c.update(planted=[]), "planted: "),
    (lambda c: _drop(c["studies"][0]["shares"], BIAS), "and not of the biases planted"),
    (lambda c: c["studies"][1]["shares"].update({BIAS: []}), "numbers of components"),
    (lambda c: _drop(c["natures"][0]["errors"], "order 1"), "was not looked at for"),
]


@pytest.mark.parametrize(("damage", "fault"), DAMAGES)
def test_a_damaged_certificate_is_one_line(
    whole: Whole,
    tmp_path: Path,
    damage: Callable[[dict[str, Any]], object],
    fault: str,
) -> None:
    folder, _ = whole
    told = json.loads((folder / "small-certificate/certificate.json").read_text())
    damage(told["certificate"])
    damaged = tmp_path / "small-certificate" / "certificate.json"
    damaged.parent.mkdir()
    damaged.write_text(json.dumps(told))
    journal = str(folder / "small.db")
    asked = ["analyse", journal, "--out", str(tmp_path / "report")]
    refused = CliRunner().invoke(main, [*asked, "--certificate", str(damaged)])
    assert refused.exit_code == 1
    assert fault in refused.output
    assert refused.output.startswith("Error: ")
    assert refused.output.count("\n") == 1
    # One that lies beside a journal is a problem told, and no more than that.
    found, faults = beside([str(tmp_path / "small.db")], [])
    assert not found
    assert fault in faults[0]


def test_a_bias_that_the_stimuli_do_not_have_is_refused_or_left_out() -> None:
    study = small_study(TEXT)
    with pytest.raises(ValueError, match="unknown bias 'order two'"):
        biases(["order two"], study, strict=True)
    with pytest.raises(ValueError, match="has none of the biases"):
        biases(["feature colour"], study, strict=False)
    with pytest.raises(ValueError, match="no bias can be called none"):
        biases(["folder/none.csv"], study, strict=True)
    there, left_out = biases([BIAS, "feature colour", "order 2"], study, strict=False)
    assert [bias.name for bias in there] == [BIAS]
    assert set(left_out) == {"feature colour", "order 2"}
    assert "are those of order 2 harmonics" in left_out["order 2"]


def test_a_gradient_has_no_sessions_over_sockets(tmp_path: Path) -> None:
    text = study_text().replace("population = 4", 'method = "adam"\npopulation = 4')
    study = write_study(tmp_path, text.replace('"linear"', '"basis"'))
    refused = CliRunner().invoke(main, ["certify", str(study), "--over-sockets"])
    assert refused.exit_code == 1
    assert "it has no sessions" in refused.output.replace("\n", " ")


@pytest.mark.slow
def test_one_through_a_real_server_says_so(tmp_path: Path) -> None:
    study = write_study(tmp_path, TEXT)
    asked = ["certify", str(study), "--over-sockets", "--bias", BIAS]
    few = ["--studies", "1", "--none", "1", "--subjects", "1"]
    made = CliRunner().invoke(main, [*asked, *few])
    assert made.exit_code == 0, made.output
    folder = tmp_path / "small-certificate"
    certificate = load(folder / "certificate.json")
    assert certificate.how == "over sockets"
    assert [one.sessions for one in certificate.studies] == [8, 8]
    assert "over sockets" in (folder / "certificate.html").read_text()
    assert not list(folder.rglob("*.db*"))


@pytest.mark.slow
def test_nothing_is_found_where_there_is_nothing(tmp_path: Path) -> None:
    """At 5 %, as often as chance allows: one in 200 exceeds this by chance."""
    text = TEXT.replace("generations = 2", "generations = 6")
    certificate = certified(tmp_path, Runner(), text, none=150, replicates=999)
    none = certificate.none
    print("found", none.found, "beyond null", none.beyond_null)
    most = binom.ppf(0.995, 150, 0.05)
    assert none.found.count <= most
    assert none.beyond_null.count <= most
