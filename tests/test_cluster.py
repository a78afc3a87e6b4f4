"""Jobs on real workers: killed ones, bad jobs, other clusters, data sets in pieces."""

import contextlib
import os
import re
import shlex
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from cluster_jobs import begun, lost, squares, threads_of_xla
from distributed import Client

from server.cluster import HERE, Where, run_jobs
from server.data_set import OtherQuestionError
from server.hand_out import DEATHS, ClusterError, Failed
from server.spread import FailedError, Job, spread

ROOT = Path(__file__).parent.parent
BATCH = ROOT / "examples" / "cluster" / "batch.py"
PATH = os.pathsep.join([str(ROOT), str(ROOT / "tests")])
QUESTION = {"of": "squares"}

# Workers that die leave sockets of ours to the garbage collector.
pytestmark = [
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]


def jobs(log: Path, numbers: Any, **about: Any) -> list[Job]:
    """Jobs of numbers; ``about`` is of all."""
    return [
        Job(f"job {number}", {"number": number, "log": str(log)} | about)
        for number in numbers
    ]


def read(out: Path) -> dict[int, int]:
    table = pd.read_parquet(out)
    assert not table["number"].duplicated().any()
    return dict(zip(table["number"], table["square"], strict=True))


def test_a_killed_worker_costs_only_what_it_had_under_way(tmp_path: Path) -> None:
    out, numbers, said = tmp_path / "out", range(8), list[str]()
    killed = list[int]()

    def kill(done: int, total: int, what: str) -> None:
        said.append(what)
        assert total == len(numbers)
        if done == 4 and not killed:
            while len(begun(tmp_path)) <= done:  # until the next one is under way
                time.sleep(0.01)
            killed.append(begun(tmp_path)[-1][1])
            os.kill(killed[0], signal.SIGKILL)

    slow = jobs(tmp_path, numbers, seconds=0.6)
    found = spread(squares, slow, QUESTION, out, Where(2), show=kill)
    assert not found.failed
    assert list(found.rows["number"]) == list(numbers)
    assert said[:3] == ["", "starting workers", ""]
    assert read(out) == {n: n**2 for n in numbers}
    assert "a worker died: what it had under way is run again" in said
    noted = begun(tmp_path)
    twice = [n for n in numbers if sum(n == other for other, _ in noted) > 1]
    assert len(noted) == len(numbers) + len(twice)
    assert len(twice) == 1
    assert (twice[0], killed[0]) in noted  # and nobody else's


@pytest.mark.parametrize("look_s", [0.02, 0.7])
def test_bad_jobs_are_named_and_the_others_go_on(
    look_s: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where a job's worker dies after its result came, before it is looked at."""
    monkeypatch.setattr("server.hand_out._LOOK_S", look_s)
    (tmp_path / "bad").touch()
    out = tmp_path / "out"
    every = [
        *jobs(tmp_path, [0], dies=True, seconds=0.2),
        *jobs(tmp_path, [1], raises=True),
        *jobs(tmp_path, range(2, 6)),
    ]
    found = spread(squares, every, QUESTION, out, Where(2))
    assert found.failed["job 0"].why == f"{DEATHS} workers died while they ran it"
    assert found.failed["job 1"].why == "number 1 cannot be squared"
    assert "cluster_jobs.py" in found.failed["job 1"].trace
    assert set(found.failed) == {"job 0", "job 1"}
    with pytest.raises(FailedError, match=r"2 of the jobs failed[^:]*:\n  job") as told:
        found.check()
    traces = {path.read_text() for path in (out / "_failed").glob("*.txt")}
    assert str(told.value).endswith(f"\ntracebacks: {out / '_failed'}")
    assert {text.partition("\n")[0] for text in traces} == {"job 0", "job 1"}
    assert any("cluster_jobs.py" in text and "cannot be sq" in text for text in traces)
    assert read(out) == {n: n**2 for n in range(2, 6)}
    (tmp_path / "bad").unlink()
    before = len(begun(tmp_path))
    again = spread(squares, every, QUESTION, out)  # of the same data set, in process
    again.check()
    assert [n for n, _ in begun(tmp_path)[before:]] == [0, 1]
    assert list(again.rows["square"]) == [n**2 for n in range(6)]
    assert not (out / "_failed").exists()


def test_a_killed_run_leaves_whole_parts_and_goes_on(tmp_path: Path) -> None:
    out = tmp_path / "out"
    run = (
        "from pathlib import Path; from test_cluster import *;"
        f"log = Path({str(tmp_path)!r});"
        "slow = jobs(log, range(8), seconds=0.2);"
        "spread(squares, slow, QUESTION, log / 'out', together=2)"
    )
    killed = subprocess.Popen(
        [sys.executable, "-c", run], env={**os.environ, "PYTHONPATH": PATH}
    )
    try:
        _until(lambda: len(list(out.glob("*.parquet"))) == 2, killed)
    finally:
        killed.kill()
        killed.wait()
    (out / "_left.parquet.begun").write_bytes(b"PAR1")  # as if killed within a part
    there = read(out)
    assert 4 <= len(there) < 8
    before = len(begun(tmp_path))
    same = jobs(tmp_path, range(8), seconds=0.2)
    found = spread(squares, same, QUESTION, out, together=2)
    assert read(out) == {n: n**2 for n in range(8)}
    assert list(found.rows["number"]) == list(range(8))
    assert {n for n, _ in begun(tmp_path)[before:]} == set(range(8)) - set(there)


def test_another_question_is_refused_and_more_jobs_are_added(tmp_path: Path) -> None:
    out = tmp_path / "out"
    ask = jobs(tmp_path, range(3))
    spread(squares, ask, QUESTION, out)
    with pytest.raises(OtherQuestionError, match='of was "squares", is "cubes"'):
        spread(squares, ask, {"of": "cubes"}, out)
    more = spread(squares, jobs(tmp_path, range(2, 5)), QUESTION, out)
    assert list(more.rows["number"]) == [2, 3, 4]
    assert set(read(out)) == set(range(5))
    (tmp_path / "bad").touch()

    def of(setting: str, contents: str, number: int, **about: Any) -> list[Job]:
        (job,) = jobs(tmp_path, [number], contents=contents, **about)
        return [replace(job, setting=setting, contents=contents)]

    spread(squares, of("a", "1", 5), QUESTION, out)
    spread(squares, of("b", "1", 6, raises=True), QUESTION, out)  # has no rows
    spread(squares, of("b", "2", 6), QUESTION, out).check()
    for setting, contents in (("a", "2"), ("b", "1")):
        with pytest.raises(OtherQuestionError, match=f"of {setting} from other files"):
            spread(squares, of(setting, contents, 7), QUESTION, out)
    assert set(read(out)) == set(range(7))
    (out / "_question.json").unlink()
    with pytest.raises(OtherQuestionError, match="something else"):
        spread(squares, ask, QUESTION, out)


def test_a_damaged_part_is_named(tmp_path: Path) -> None:
    spread(squares, jobs(tmp_path, range(2)), QUESTION, tmp_path / "out")
    part = next((tmp_path / "out").glob("*.parquet"))
    part.write_bytes(part.read_bytes()[:-8])
    with pytest.raises(ValueError, match=re.escape(f"{part} cannot be read")):
        spread(squares, jobs(tmp_path, range(2)), QUESTION, tmp_path / "out")


def test_two_runs_do_not_write_one_data_set(tmp_path: Path) -> None:
    ask, out = jobs(tmp_path, range(2)), tmp_path / "out"
    refused = list[bool]()

    def meanwhile(*_: object) -> None:
        if not refused:
            refused.append(True)
            with pytest.raises(OSError, match="another run is writing"):
                spread(squares, ask, QUESTION, out)

    assert len(spread(squares, ask, QUESTION, out, show=meanwhile).rows) == 2
    assert refused


def test_a_worker_computes_in_one_thread() -> None:
    ((_, (threads, pid)),) = run_jobs(threads_of_xla, [None], Where(1))
    assert pid != os.getpid()
    assert threads == 1


def test_a_job_that_kills_after_its_result_was_lost_ends(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was over, came to nothing, and died as it was run again."""
    monkeypatch.setattr("server.cluster.DEATHS", 1)
    monkeypatch.setattr("server.hand_out._PATIENCE_S", 0.2)
    told = list(run_jobs(lost, [str(tmp_path)], Where(1)))
    assert told == [(0, Failed("1 workers died while they ran it"))]
    assert len(begun(tmp_path)) == 2


def test_a_scheduler_that_is_not_there_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("server.cluster._CONNECT_S", 0.5)
    with pytest.raises(ClusterError, match="no scheduler answers at tcp"):
        list(run_jobs(abs, [-1], Where(scheduler="tcp://127.0.0.1:9")))
    monkeypatch.setattr("server.cluster.available", lambda: False)
    with pytest.raises(ClusterError, match=r"pip install '\.\[server,cluster\]'"):
        list(run_jobs(abs, [-1], Where(2)))
    assert list(run_jobs(abs, [-1])) == [(0, 1)]
    assert Where().here is False
    assert HERE.here


@pytest.fixture
def scheduler(tmp_path: Path) -> Iterator[Path]:
    """The file of a scheduler in a process of its own."""
    file = tmp_path / "scheduler.json"
    options = ["--port", "0", "--no-dashboard", "--scheduler-file", str(file)]
    command = [sys.executable, "-m", "distributed.cli.dask_scheduler"]
    process = subprocess.Popen(
        [*command, *options],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": PATH},
        stderr=subprocess.DEVNULL,
    )
    try:
        _until(file.exists, process)
        yield file
    finally:
        process.terminate()
        process.wait()


def worker(scheduler: Path, *options: str, path: str = PATH) -> "subprocess.Popen[Any]":
    """A worker of one thread, in a process of its own; in a group, with its nanny."""
    command = [sys.executable, "-m", "distributed.cli.dask_worker", "--nthreads", "1"]
    return subprocess.Popen(
        [*command, "--no-dashboard", "--scheduler-file", str(scheduler), *options],
        cwd=scheduler.parent,
        env={**os.environ, "PYTHONPATH": path},
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )


def other_versions(folder: Path) -> str:
    """A path for Python on which a package is installed in another version."""
    (folder / "evosax-0.0.1.dist-info").mkdir(parents=True)
    metadata = "Metadata-Version: 2.1\nName: evosax\nVersion: 0.0.1\n"
    (folder / "evosax-0.0.1.dist-info" / "METADATA").write_text(metadata)
    return os.pathsep.join([str(folder), PATH])


def test_a_worker_of_other_versions_is_passed_over(
    scheduler: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its jobs go to others, also where those die; alone, it ends the run."""
    out, said = tmp_path / "out", list[str]()
    where = Where(scheduler_file=str(scheduler))
    (tmp_path / "bad").touch()
    other = worker(scheduler, "--no-nanny", path=other_versions(tmp_path / "others"))
    ours = worker(scheduler)  # is started again when it dies

    def show(_: int, __: int, what: str) -> None:
        said.append(what)

    try:
        with Client(scheduler_file=str(scheduler)) as client:
            client.wait_for_workers(2, timeout=60)
        every = [*jobs(tmp_path, range(4)), *jobs(tmp_path, [4], dies=True)]
        found = spread(squares, every, QUESTION, out, where, show=show)
        assert set(found.failed) == {"job 4"}
        assert found.failed["job 4"].why == f"{DEATHS} workers died while they ran it"
        assert read(out) == {n: n**2 for n in range(4)}
        noted = Counter(n for n, _ in begun(tmp_path))
        assert [noted[n] for n in range(4)] == [1] * 4
        # Deaths that Dask counted are forgotten if the job is then given back.
        assert DEATHS <= noted[4] <= 2 * DEATHS
        assert sum("evosax 0.0.1, here" in what for what in said) == 1
        os.killpg(ours.pid, signal.SIGKILL)
        monkeypatch.setattr("server.hand_out._OTHERS_ONLY_S", 0.5)
        more = jobs(tmp_path, range(4, 6))
        with pytest.raises(ClusterError, match=r"evosax 0\.0\.1, here .*[Ii]nstall"):
            spread(squares, more, QUESTION, out, where)
    finally:
        for process in (other, ours):
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
    assert set(read(out)) == set(range(4))


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("slurm", ["--cpus-per-task=2", "--mem=8G", "-t 02:00:00", "-p long"]),
        ("pbs", ["select=1:ncpus=2:mem=8", "walltime=02:00:00", "-q long"]),
    ],
)
def test_a_job_script_starts_workers_that_do_jobs(
    kind: str, expected: list[str], scheduler: Path, tmp_path: Path
) -> None:
    """There is no batch system here: what it would run is run, but for its address."""
    asked = ["--cores", "2", "--hours", "2", "--queue", "long", "--before", "module x"]
    script = subprocess.run(
        [sys.executable, str(BATCH), kind, *asked, "--dry-run"],
        check=True,
        capture_output=True,
        text=True,
        cwd=tmp_path,
    ).stdout
    assert all(line in script for line in expected), script
    assert script.index("module x\n") < script.index(sys.executable)
    line = next(line for line in script.splitlines() if "dask_worker" in line)
    address = next(word for word in shlex.split(line) if word.startswith("tcp://"))
    command = line.replace(address, f"--scheduler-file {scheduler}")
    worker = subprocess.Popen(
        ["bash", "-c", f"exec {command}"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": PATH},
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        where = Where(scheduler_file=str(scheduler))
        found = spread(squares, jobs(tmp_path, range(4)), QUESTION, where=where)
    finally:
        os.killpg(worker.pid, signal.SIGKILL)
        worker.wait()
    found.check()
    assert list(found.rows["square"]) == [0, 1, 4, 9]
    assert os.getpid() not in {pid for _, pid in begun(tmp_path)}


def _until(there: Any, process: "subprocess.Popen[Any]", seconds: float = 60) -> None:
    """Wait for something that a process will do."""
    end = time.monotonic() + seconds
    while not there():
        assert process.poll() is None, "it ended before"
        assert time.monotonic() < end, "it never came"
        time.sleep(0.02)
