"""Parameter sweeps: the grid, what is refused, whole studies, the same everywhere."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from click.testing import CliRunner
from small_study import small_study, study_text, write_study

from analysis.sweep_grid import axes_of, settings_of
from penchant import main
from server.sweep import fresh_errors, run_studies

ROOT = Path(__file__).parent.parent
SET = ["--set", "search.generations=1,2", "--set", "simulated_subject.features=20"]
KEYS = ["search.generations", "seed", "component"]


def swept(study: Path, *options: str) -> Any:
    """The command, in this process."""
    words = ["sweep", str(study), *options, "--workers", "0"]
    return CliRunner().invoke(main, words)


def test_values_are_toml_or_names() -> None:
    axes = axes_of(
        [
            "search.population=16, 32",
            "search.method=DES,CMA_ES",
            "simulated_subject.hidden=[10,10],[20]",
            "simulated_responses.noise=0,0.5",
            'simulated_subject.subject="a,b.safetensors"',
            "session.shared_stimuli=true,false",
        ]
    )
    assert list(axes.values()) == [
        [16, 32],
        ["DES", "CMA_ES"],
        [[10, 10], [20]],
        [0.0, 0.5],
        ["a,b.safetensors"],
        [True, False],
    ]
    assert isinstance(axes["simulated_responses.noise"][0], float)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["search.population"], "expected a key of the study file and its values"),
        (["population=1,2"], "expected a key of the study file and its values"),
        (["search.population=4,4"], "a value is there twice"),
        (["search.population=4", "search.population=5"], "is there twice"),
        (["study.seed=1,2"], "seeds are numbered by --seeds"),
        (
            ["search.population=4,0", "study.components=1,2"],
            "^--set search.population=0: expected greater than .* 1 .got 0.$",
        ),
        (
            ["search.populations=4"],
            "^--set search.populations=4: a study file has no such setting",
        ),
        (
            ["search.re_evaluate=5", "search.population=4"],
            "^--set search.re_evaluate=5 --set search.population=4: re_evaluate is 5",
        ),
        (
            ["simulated_subject.learner=nobody"],
            "^--set simulated_subject.learner=nobody: expected one of .* got 'nobody'",
        ),
        (["study.seed.a=1"], "^--set study.seed.a=1: seed is a value, not a section"),
    ],
)
def test_a_bad_setting_is_named_before_anything_runs(
    tmp_path: Path, options: list[str], message: str
) -> None:
    study = write_study(tmp_path)
    with pytest.raises(ValueError, match=message):
        settings_of(study, axes_of(options))
    words = [word for option in options for word in ("--set", option)]
    ended = swept(study, *words, "--out", str(tmp_path / "out"))
    assert ended.exit_code == 1
    assert ended.output.startswith("Error: ")
    assert not (tmp_path / "out").exists()


def test_a_fault_of_the_file_is_not_blamed_on_a_setting(tmp_path: Path) -> None:
    text = study_text().replace("population = 4", "population = 0")
    study = write_study(tmp_path, text)
    with pytest.raises(ValueError, match=r"\.toml: search\.population: exp[^\n]*$"):
        settings_of(study, axes_of(["study.components=1,2"]))
    assert len(settings_of(study, axes_of(["search.population=4,5"]))) == 2


TABLE = "id,weight_g,tone_hz\n" + "".join(f"{i},{i % 4},{i}\n" for i in range(30))


def test_rows_of_a_changed_table_are_not_mixed(tmp_path: Path) -> None:
    sphere = 'space = "sphere"'
    text = study_text().replace(sphere, 'space = "table"\npath = "stimuli.csv"')
    study, out = write_study(tmp_path, text), tmp_path / "out"
    table = tmp_path / "stimuli.csv"
    table.write_text(TABLE)
    asked = ["--set", "search.generations=1", "--out", str(out), "--seeds"]
    assert swept(study, *asked, "1").exit_code == 0
    before = pd.read_parquet(out)
    table.write_text(TABLE.replace("7,3,7", "7,2,9"))
    refused = swept(study, *asked, "2")
    assert refused.exit_code == 1
    told = " ".join(refused.output.split())
    assert "holds rows of --set search.generations=1 from other files" in told
    pd.testing.assert_frame_equal(pd.read_parquet(out), before)
    table.write_text(TABLE)
    assert swept(study, *asked, "2").exit_code == 0
    assert len(pd.read_parquet(out)) == 2


def test_every_combination_is_a_study(tmp_path: Path) -> None:
    axes = axes_of(["search.population=4,6", "labelling.family=linear,basis"])
    settings = settings_of(write_study(tmp_path), axes)
    assert [tuple(one.values.values()) for one in settings] == [
        (4, "linear"),
        (4, "basis"),
        (6, "linear"),
        (6, "basis"),
    ]
    assert [one.study.file.search.population for one in settings] == [4, 4, 6, 6]
    assert settings[1].study.file.labelling == {"family": "basis"}
    assert settings[0].name == "population 4, family linear"


def test_what_a_study_found_is_told_by_component() -> None:
    text = study_text("components = 2")
    rows = run_studies(small_study(text), [1, 2])
    assert [[row["component"] for row in own] for own in rows] == [[1, 2], [1, 2]]
    for row in (row for own in rows for row in own):
        assert row["sessions"] == 16
        # Linear labels, cut off, on a sphere: the first order, and a bit of the third.
        assert row["power_1"] > 0.9
        powers = [value for name, value in row.items() if name.startswith("power")]
        assert sum(powers) == pytest.approx(1)
        assert 0 < row["error"] < 0.5
    assert rows[0][0]["error"] != rows[1][0]["error"]


def test_errors_are_those_of_the_subject() -> None:
    taught = small_study()
    text = study_text().replace('"kernel_ridge"\nfeatures = 20', '"unteachable"')
    series = _series(taught)
    assert fresh_errors(taught, series).shape == (1, 1)
    assert fresh_errors(taught, series)[0, 0] < 0.5
    assert fresh_errors(small_study(text), series)[0, 0] > 0.9


def _series(study: Any) -> Any:
    from server.dry_run import course

    (state,) = course(study, [sys.maxsize])
    return state.series


def test_a_sweep_from_end_to_end_and_with_more_seeds(tmp_path: Path) -> None:
    study, out = write_study(tmp_path), tmp_path / "out"
    ended = swept(study, *SET, "--seeds", "2", "--out", str(out))
    assert ended.exit_code == 0, ended.output
    assert "median error" in ended.output
    assert f"data set: {out}" in ended.output
    table = pd.read_parquet(out).sort_values(KEYS, ignore_index=True)
    assert table[KEYS].to_numpy().tolist() == [
        [1, 1, 1],
        [1, 2, 1],
        [2, 1, 1],
        [2, 2, 1],
    ]
    assert list(table["sessions"]) == [4, 4, 8, 8]
    parts = set(out.glob("*.parquet"))
    assert swept(study, *SET, "--seeds", "3", "--out", str(out)).exit_code == 0
    more = pd.read_parquet(out)
    assert len(more) == 6
    assert parts < set(out.glob("*.parquet"))
    both = more.merge(table, on="job", suffixes=("", "_before"))
    assert list(both["error"]) == list(both["error_before"])
    study.write_text(study_text().replace("seed = 3", "seed = 4"))
    refused = swept(study, *SET, "--out", str(out))
    assert refused.exit_code == 1
    assert "rows of another question (study was" in refused.output.replace("\n", " ")


@pytest.mark.skipif(os.name != "posix", reason="Ctrl-C as a signal")
def test_ctrl_c_leaves_what_is_done_and_says_how_to_go_on(tmp_path: Path) -> None:
    study = write_study(tmp_path)
    asked = ["sweep", str(study), *SET, "--seeds", "400", "--out", "out"]
    program = "import penchant; penchant.main()"
    running = subprocess.Popen(
        [sys.executable, "-c", program, *asked, "--workers", "2"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,  # a terminal tells all of its processes
    )
    try:
        until = time.monotonic() + 120
        while not list((tmp_path / "out").glob("*.parquet")):
            assert running.poll() is None
            assert time.monotonic() < until
            time.sleep(0.05)
        os.killpg(running.pid, signal.SIGINT)
        said, _ = running.communicate(timeout=30)
    finally:
        if running.poll() is None:
            os.killpg(running.pid, signal.SIGKILL)
    assert running.returncode == 130, said
    assert "the same command goes on from here" in said
    assert "Traceback" not in said
    assert len(pd.read_parquet(tmp_path / "out")) % 4 == 0  # whole parts


@pytest.mark.slow
@pytest.mark.parametrize("command", ["sweep", "plan"])
def test_any_number_of_workers_gives_the_same_rows(
    command: str, tmp_path: Path
) -> None:
    """To the last digit, in this process too, where that computes in one thread."""
    text = study_text().replace('"linear"', '"basis"\ndegree = 2')
    if command == "plan":
        text = text.replace("population = 4", 'method = "subject_model"')
    study = write_study(tmp_path, text)
    sizes = {
        "sweep": [*SET, "--seeds", "6"],
        "plan": ["--studies", "8", "--sessions", "8", "--training", "5"],
    }[command]
    program = "import penchant; penchant.main()"
    tables = []
    for workers in ("0", "1", "2"):
        asked = [command, str(study), *sizes, "--workers", workers, "--out", workers]
        subprocess.run(
            [sys.executable, "-c", program, *asked],
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            check=True,
        )
        (data,) = (tmp_path / workers).rglob("_question.json")
        table = pd.read_parquet(data.parent)
        by = ["job", "component" if command == "sweep" else "sessions"]
        by += [] if command == "sweep" else ["study"]
        tables.append(table.sort_values(by, ignore_index=True))
    assert len(tables[0]) == {"sweep": 12, "plan": 32}[command]
    for other in tables[1:]:
        pd.testing.assert_frame_equal(tables[0], other, check_exact=True)
