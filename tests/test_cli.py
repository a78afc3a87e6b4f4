"""The command line, as a newcomer meets it."""

import json
from collections.abc import Iterator
from pathlib import Path

import click
import pandas as pd
import pytest
from click.testing import CliRunner, Result
from live_server import serving
from small_study import facts, open_desk, small_study, study_text, write_study

from penchant import main
from server.events import Responded, SessionEnded
from server.journal import Journal


def penchant(*arguments: str | Path, typed: str | None = None) -> Result:
    """Run a command in this process."""
    return CliRunner().invoke(main, [str(a) for a in arguments], input=typed)


def test_a_newcomer_goes_from_nothing_to_a_report(tmp_path: Path) -> None:
    study = tmp_path / "pilot.toml"
    assert penchant("new", study).exit_code == 0
    checked = penchant("check", study)
    assert "2,560" in checked.output
    assert "80 (30 training, 50 test)" in checked.output
    small = study.read_text().replace("population = 32", "population = 4")
    study.write_text(small.replace("generations = 80", "generations = 2"))
    for more in ([], ["--null"]):
        played = penchant("dry-run", study, *more)
        assert played.exit_code == 0, played.output
    journal = tmp_path / "pilot.db"
    report = tmp_path / "report"
    analysed = penchant("analyse", journal, "--out", report)
    assert analysed.exit_code == 0, analysed.output
    found = json.loads((report / "report.json").read_text())
    assert [s["study"] for s in found["studies"]] == ["pilot", "pilot-null"]
    assert (report / "report.html").stat().st_size > 10_000
    for form, read in (("csv", pd.read_csv), ("parquet", pd.read_parquet)):
        out = tmp_path / form
        assert (
            penchant("export", journal, "--out", out, "--format", form).exit_code == 0
        )
        (table,) = (out / "pilot").glob("sessions.*")
        assert len(read(table)) == 8


def test_a_dry_run_goes_on_where_it_stopped(tmp_path: Path) -> None:
    study = write_study(tmp_path)
    penchant("dry-run", study, "--sessions", "1")
    journal = Journal(tmp_path / "small.db", "small")
    assert len(facts(journal, SessionEnded)) == 4
    penchant("dry-run", study)
    assert len(facts(journal, SessionEnded)) == 8
    journal.close()


def test_a_dry_run_over_sockets_starts_its_own_server(tmp_path: Path) -> None:
    study = write_study(tmp_path)
    played = penchant("dry-run", study, "--over-sockets", "--subjects", "2")
    assert played.exit_code == 0, played.output
    journal = Journal(tmp_path / "small.db", "small")
    assert [e.status for e in facts(journal, SessionEnded)] == ["finished"] * 8
    # Trial by trial, as real subjects answer.
    assert {len(r.trials) for r in facts(journal, Responded)} == {1}
    journal.close()


FAULTS = [
    (
        'space = "sphere"',
        'space = "spere"',
        "stimuli.space: expected one of circle, hypercube, ",
    ),
    ('"kernel_ridge"', '"kernel"', "learner: expected one of "),
    ("features = 20", "features = -1", "features must be 1 to 100000, got -1"),
    ("features = 20", "feature = 20", "kernel_ridge has no such option; it has"),
    ("population = 4", "population = 4.5", "search.population"),
    ("population = 4", 'method = "CMAES"', "unknown method 'CMAES'; known: ARS"),
    ("population = 4", "population = 3", "a population of 4 or more, got 3"),
    ('family = "linear"', 'family = "cnn"', "labelling: "),
    (
        'learner = "kernel_ridge"\nfeatures = 20',
        'learner = "mushroom_body"\nconnectivity = "biased"',
        "simulated_subject: a mushroom body of biased connectivity expects",
    ),
    (
        'learner = "kernel_ridge"\nfeatures = 20',
        'learner = "convolutional_network"',
        "simulated_subject: ",
    ),
    ("generations = 2", "generations = 0", "greater than or equal to 1 (got 0)"),
    ("seed = 3", "sead = 3", "study.sead: a study file has no such setting (got 3)"),
    ('name = "small"', "", "study.name: Field required"),
    ('name = "small"', 'name = "a/b"', "study.name"),
    ("lease_s = 30.0", 'response = "choice"', "test_repeats of 2 or more"),
    ("[search]", "[search", "not valid TOML"),
]


@pytest.mark.parametrize(("old", "new", "expected"), FAULTS)
def test_a_faulty_study_file_is_refused_with_what_was_expected(
    tmp_path: Path, old: str, new: str, expected: str
) -> None:
    assert old in study_text()
    study = write_study(tmp_path, study_text().replace(old, new))
    for command in ("check", "dry-run", "serve"):
        refused = penchant(command, study)
        assert refused.exit_code == 1
        assert expected in refused.output
        assert "small.toml" in refused.output
    assert not (tmp_path / "small.db").exists()


def test_mistakes_get_one_line_and_no_traceback(tmp_path: Path) -> None:
    study = write_study(tmp_path)
    nobody = tmp_path / "nobody.toml"
    nobody.write_text(study_text().split("[simulated_subject]")[0])
    broken = tmp_path / "broken.db"
    broken.write_text("not a database")
    changed = tmp_path / "changed.toml"
    changed.write_text(study_text().replace("seed = 3", "seed = 4"))
    assert penchant("dry-run", study, "--sessions", "1").exit_code == 0
    for arguments, expected in (
        (("check", tmp_path / "no.toml"), "cannot read study file"),
        (("new", study), "exists; --force overwrites it"),
        (("dry-run", nobody), "no [simulated_subject] section"),
        (("serve", study, "--host", "0.0.0.0"), "penchant token issue"),  # noqa: S104
        (("analyse", tmp_path / "no.db"), "there is no journal"),
        (("analyse", broken), "broken.db"),
        (("dry-run", changed, "--journal", tmp_path / "small.db"), "another study"),
        (("subject", "simulated"), "Missing option '--study'"),
        (("subject", "terminal"), "Missing option '--name'"),
        (("subject", "terminal", "--name", "p", "--patience", "0.1",
          "--url", "http://127.0.0.1:9"), "for 0.1 s: is `penchant serve` running"),
        (("status", "--url", "http://127.0.0.1:9"), "is `penchant serve` running"),
    ):  # fmt: skip
        refused = penchant(*arguments)
        assert refused.exit_code in (1, 2), arguments
        assert expected in refused.output.replace("\n", " ")
        assert isinstance(refused.exception, SystemExit)


@pytest.fixture
def live(journal: Journal) -> Iterator[str]:
    """The URL of a live study."""
    with serving(open_desk(journal, mode="live")) as url:
        yield url


def test_a_person_at_the_terminal_does_a_session(live: str, journal: Journal) -> None:
    join = ("subject", "terminal", "--name", "p01", "--url", live)
    answers = ["2", "0.5"] + ["0.5"] * 11  # the first is out of range: asked again
    done = penchant(*join, "--transport", "http", typed="\n".join(answers) + "\n")
    assert done.exit_code == 0, done.output
    assert "Thank you: session finished" in done.output
    assert done.output.count("label:") == 6  # in training only
    (ended,) = facts(journal, SessionEnded)
    (opened,) = {f.session for f in facts(journal, Responded)}
    assert (ended.session, ended.status, ended.test_trials) == (opened, "finished", 6)
    assert all(f.reaction_times_s[0] >= 0 for f in facts(journal, Responded))


def test_a_person_who_leaves_gives_the_session_back(
    live: str, journal: Journal
) -> None:
    join = ("subject", "terminal", "--name", "p01", "--url", f"{live}?study=small")
    left = penchant(*join, "--transport", "http", typed="0.5\n")  # then end of input
    assert left.exit_code == 0, left.output
    (ended,) = facts(journal, SessionEnded)
    assert (ended.status, ended.reason) == ("abandoned", "left at the terminal")


def test_every_command_explains_itself() -> None:
    for path, command in _commands((), main):
        assert command.help, path
        if isinstance(command, click.Group):
            overview = penchant(*path, "--help").output
            for name in command.list_commands(click.Context(command)):
                assert name in overview
        for parameter in command.params:
            if isinstance(parameter, click.Option):
                described = parameter.help or parameter.show_default
                assert described, f"{path} {parameter.name}"


def _commands(
    path: tuple[str, ...], command: click.Command
) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    """A command and all below it, with their names."""
    yield path, command
    if isinstance(command, click.Group):
        context = click.Context(command)
        for name in command.list_commands(context):
            below = command.get_command(context, name)
            assert below is not None
            yield from _commands((*path, name), below)


def test_a_null_runs_no_session(tmp_path: Path) -> None:
    study = write_study(tmp_path)
    assert penchant("dry-run", study, "--null").exit_code == 0
    journal = Journal(tmp_path / "small.db", "small-null")
    assert small_study(null=True).name == "small-null"
    assert not facts(journal, SessionEnded)
    assert facts(journal)[-1].__class__.__name__ == "StudyFinished"
    journal.close()
