"""Learners as subjects that speak the protocol, alone or over real sockets."""

from pathlib import Path

import pytest
from click.testing import CliRunner
from live_server import serving
from small_study import open_desk, run_all

from penchant import main
from server.desk import Desk
from server.dry_run import dry_run
from server.events import SessionEnded
from server.journal import Journal
from server.study_file import Study

STUDY = """
[study]
name = "networks"
{study}
[stimuli]
{stimuli}
[session]
training_stimuli = 6
test_stimuli = 6
[search]
population = 4
generations = 1
[labelling]
family = "linear"
[simulated_subject]
{subject}
"""
CASES = {
    "relu_network": ('space = "sphere"', "hidden = [8]\nsteps = 5"),
    "mushroom_body": ('space = "hypercube"', "kenyon_cells = 10\nsteps = 5"),
    "convolutional_network": (
        'space = "images"\ndataset = "mnist"\nside = 7',
        "channels = 2\nkernel = 3\nsteps = 5",
    ),
    "spiking_network": (
        'space = "phase_difference"',
        "neurons_per_ear = 6\nhidden = 4\nsteps = 3\ntime_steps = 10",
    ),
    "fourier_ridge": ('space = "circle"', "label_noise = 0.5"),
    "unteachable": ('space = "sphere"', ""),
}

DEAR = {"mushroom_body", "convolutional_network", "spiking_network"}
"""To compile; networks all the same, as the ReLU network is."""


def study_of(learner: str) -> Study:
    stimuli, options = CASES[learner]
    subject = f'learner = "{learner}"\n{options}'
    return Study(STUDY.format(study="seed = 2", stimuli=stimuli, subject=subject))


def errors(journal: Journal) -> dict[str, float]:
    """Error of each session by its name."""
    ends = [e.fact for e in journal.read() if isinstance(e.fact, SessionEnded)]
    return {end.session: end.error for end in ends if end.error is not None}


@pytest.mark.parametrize(
    "learner",
    [
        pytest.param(name, marks=pytest.mark.slow) if name in DEAR else name
        for name in CASES
    ],
)
def test_the_same_subject_alone_and_in_a_population(
    learner: str, tmp_path: Path
) -> None:
    """Trial by trial through messages, or a whole generation in one call."""
    study = study_of(learner)
    alone = Journal(tmp_path / "alone.db", study.name)
    together = Journal(tmp_path / "together.db", study.name)
    run_all(open_desk(alone, study=study))
    dry_run(study, together)
    assert len(errors(alone)) == 4
    for session, error in errors(together).items():
        assert errors(alone)[session] == pytest.approx(error, rel=0.01, abs=1e-3)
    alone.close()
    together.close()


def test_another_learner_joins_a_rehearsal_over_sockets(tmp_path: Path) -> None:
    """The learner of the command line, in place of the one in the study file."""
    file = tmp_path / "networks.toml"
    file.write_text(study_of("relu_network").text)
    study = Study(file.read_text())
    journal = Journal(tmp_path / "journal.db", study.name)
    with serving(Desk(study, journal, "dry-run")) as url:
        command = ["subject", "simulated", "--study", str(file), "--url", url]
        refused = CliRunner().invoke(main, [*command, "--learner", "spiking_network"])
        assert refused.exit_code == 1
        assert "spiking_network: " in refused.output
        joined = CliRunner().invoke(main, [*command, "--learner", "ridge"])
    assert joined.exit_code == 0, joined.output
    assert len(errors(journal)) == 4
    # Linear labels, and ridge regression learns them from six stimuli.
    variance = {
        e.fact.session: e.fact.label_variance
        for e in journal.read()
        if isinstance(e.fact, SessionEnded)
    }
    for session, error in errors(journal).items():
        assert error < 0.05 * (variance[session] or 0)
    journal.close()


def test_a_spiking_network_hears_phase_differences_over_sockets(
    tmp_path: Path,
) -> None:
    study = study_of("spiking_network")
    file = tmp_path / "spiking.toml"
    file.write_text(study.text)
    journal = Journal(tmp_path / "journal.db", study.name)
    with serving(Desk(study, journal, "dry-run")) as url:
        command = ["subject", "simulated", "--study", str(file), "--url", url]
        done = CliRunner().invoke(main, command)
    assert done.exit_code == 0, done.output
    assert len(errors(journal)) == 4
    journal.close()
