"""How a command starts: what it loads, and what it need not compile again."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest
from small_study import facts, write_study

from server import compile_cache
from server.compile_cache import WHERE, keep_compiled, make_room
from server.journal import Journal

ROOT = Path(__file__).parent.parent

LOADED = """
import json, sys
from penchant import main
try:
    main(sys.argv[1:], prog_name="penchant")
finally:
    roots = sorted({name.partition(".")[0] for name in sys.modules})
    print(json.dumps([*roots, *(name for name in sys.modules if "stats" in name)]))
"""

COMPUTED = """
import json, os, resource, sys
if sys.argv[1:] == ["full"]:
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
if sys.argv[1:] == ["loaded"]:
    import jax
from server.compile_cache import keep_compiled
keep_compiled()
import jax
seen = []
jax.monitoring.register_event_listener(lambda name, **_: seen.append(name))
told = jax.numpy.sort(jax.numpy.sin(jax.numpy.arange(9.0)) ** 2).tolist()
found = seen.count("/jax/compilation_cache/cache_hits")
made = seen.count("/jax/compilation_cache/cache_misses")
print(json.dumps([told, found, made, os.environ.get("JAX_COMPILATION_CACHE_DIR")]))
"""


@pytest.mark.parametrize(
    ("command", "needless"),
    [
        (["--help"], "jax numpy scipy pandas flask matplotlib sqlalchemy pydantic"),
        (["new", "--force"], "jax numpy scipy pandas flask matplotlib sqlalchemy"),
        (["check"], "pandas flask matplotlib sqlalchemy sklearn blackjax scipy.stats"),
    ],
)
def test_a_command_loads_nothing_heavy_in_vain(
    tmp_path: Path, command: list[str], needless: str
) -> None:
    study = [] if "--help" in command else [str(write_study(tmp_path))]
    ran = _process("-c", LOADED, *command, *study)
    assert ran.returncode == 0, ran.stderr
    loaded = json.loads(ran.stdout.splitlines()[-1])
    assert "click" in loaded
    assert not set(needless.split()) & set(loaded)


def test_what_one_start_compiled_the_next_one_finds(tmp_path: Path) -> None:
    first = _computed(tmp_path)
    second = _told(_start(tmp_path, "loaded"))  # as in a notebook
    assert first.made > 0
    assert (second.found, second.made) == (first.found + first.made, 0)
    (folder,) = (tmp_path / "penchant" / "compiled").iterdir()
    assert second.where == str(folder)
    assert folder.stat().st_mode & 0o077 == 0  # code that we run is ours to write


def test_two_that_start_at_once_do_not_disturb_each_other(tmp_path: Path) -> None:
    both = [_start(tmp_path) for _ in range(2)]
    one, other = [_told(started) for started in both]
    assert one.told == other.told
    assert _computed(tmp_path).made == 0


def test_a_damaged_file_is_as_good_as_none(tmp_path: Path) -> None:
    whole = _computed(tmp_path)
    for number, file in enumerate(tmp_path.rglob("*-cache")):
        damaged = (b"", b"not a program", file.read_bytes()[:99])
        file.write_bytes(damaged[number % 3])
    assert number > 1
    again = _computed(tmp_path)
    assert (again.told, again.found) == (whole.told, 0)


def test_a_full_disk_or_a_home_that_is_none_stops_nobody(tmp_path: Path) -> None:
    full = _told(_start(tmp_path / "full", "full"))
    assert full.where is not None
    assert not any(file.read_bytes() for file in tmp_path.rglob("*-cache"))
    (tmp_path / "file").write_text("no folder")
    nowhere = _computed(tmp_path / "file")
    assert nowhere.where is None
    assert full.told == nowhere.told


def test_a_user_may_say_that_nothing_is_kept(tmp_path: Path) -> None:
    assert _computed(tmp_path, **{WHERE: ""})[1:] == (0, 0, "")
    assert not any(tmp_path.iterdir())


def test_other_cpus_and_versions_have_folders_of_their_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def folder() -> str | None:
        monkeypatch.delenv(WHERE, raising=False)
        keep_compiled(tmp_path)
        return os.environ.get(WHERE)

    monkeypatch.setattr(compile_cache, "version", lambda _: "0.11.0")
    newer = folder()
    assert newer == folder()
    monkeypatch.setattr(compile_cache, "_kind_of_cpu", lambda: "another")
    another = folder()
    monkeypatch.setattr(compile_cache, "version", lambda _: "1.0")
    assert len({newer, another, folder(), None}) == 4
    monkeypatch.setattr(compile_cache, "version", lambda _: "0.10.1")
    assert folder() is None


def test_the_oldest_programs_make_room(tmp_path: Path) -> None:
    for age in range(4):
        file = tmp_path / f"version-{age % 2}" / f"{age}-cache"
        file.parent.mkdir(exist_ok=True)
        file.write_bytes(bytes(100))
        os.utime(file, (1e9 - age, 1e9 - age))
    make_room(tmp_path, 400)
    assert len(list(tmp_path.rglob("*-cache"))) == 4
    make_room(tmp_path, 250)
    assert {file.name for file in tmp_path.rglob("*-cache")} == {"0-cache", "1-cache"}


def test_a_study_is_the_same_whether_compiled_or_found(tmp_path: Path) -> None:
    study, where = write_study(tmp_path), tmp_path / "where the user says"
    told, files = [], []
    for name in ("compiled", "found"):
        ran = _process(
            *("-m", "penchant", "dry-run", str(study)),
            *("--journal", str(tmp_path / f"{name}.db"), "--sessions", "4"),
            **{WHERE: str(where), "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0"},
        )
        assert (ran.returncode, ran.stderr) == (0, "")
        journal = Journal(tmp_path / f"{name}.db", "small")
        told.append(facts(journal))
        journal.close()
        files.append(set(where.iterdir()))
    assert len(told[0]) > 10
    assert told[0] == told[1]
    assert len(files[0]) > 10
    assert files[0] == files[1]


class Computed(NamedTuple):
    """What a process computed, programs that it found and made, and where they are."""

    told: list[float]
    found: int
    made: int
    where: str | None


def _computed(home: Path, **settings: str) -> Computed:
    """What a process computes whose caches are in ``home``, without a word beside."""
    return _told(_start(home, **settings))


def _start(home: Path, *words: str, **settings: str) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-c", COMPUTED, *words],
        cwd=ROOT,
        env=_environment(XDG_CACHE_HOME=str(home), **settings),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def _told(started: "subprocess.Popen[str]") -> Computed:
    said, complained = started.communicate()
    assert (started.returncode, complained) == (0, "")
    return Computed(*json.loads(said))


def _process(*arguments: str, **settings: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=ROOT,
        env=_environment(**settings),
        capture_output=True,
        text=True,
        check=False,
    )


def _environment(**settings: str) -> dict[str, str]:
    """This one, without what the tests themselves have set for JAX."""
    plain = {k: v for k, v in os.environ.items() if not k.startswith("JAX_")}
    return plain | settings
