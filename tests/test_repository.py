"""The repository keeps its own rules: imports, packages, sizes, documentation."""

import ast
import os
import shutil
import subprocess
import sys
from configparser import ConfigParser
from importlib import metadata
from pathlib import Path

import pytest

from meta_learner.families import FAMILIES
from simulated_subjects.catalogue import LEARNERS
from stimuli.catalogue import SPACES
from subject_clients.catalogue import ADAPTERS
from subject_clients.rig.catalogue import HARDWARE
from subject_clients.tasks.catalogue import TASKS

ROOT = Path(__file__).parent.parent
SETUP = ConfigParser(interpolation=None)
SETUP.read(ROOT / "setup.cfg", encoding="utf-8")
PACKAGES = SETUP["options"]["packages"].split()
MODULES = SETUP["options"]["py_modules"].split()
CODE = [
    *(ROOT / f"{module}.py" for module in MODULES),
    *(
        path
        for package in PACKAGES
        for path in ROOT.joinpath(*package.split(".")).glob("*.py")
    ),
]
SCRIPTS = [
    path
    for folder in ("tests", "benchmarks", "examples", "docs")
    for path in (ROOT / folder).rglob("*.py")
]

CONTRACTS = {
    SETUP[section]["name"]
    for section in SETUP.sections()
    if section.startswith("importlinter:")
}
FORBIDDEN = {
    "stimuli/space.py": "server.events",
    "stimuli/catalogue.py": "penchant",
    "simulated_subjects/learner.py": "simulated_subjects.catalogue",
    "simulated_subjects/responses.py": "meta_learner.search",
    "meta_learner/search.py": "simulated_subjects.kernel_ridge",
    "server/protocol.py": "jax",
    "server/session.py": "sqlalchemy",
    "subject_clients/loop.py": "server.session",
    "analysis/__init__.py": "server.app",
}
"""Imports against every contract: a file, and what it must not import."""

HEAVY = {"flask", "jax", "matplotlib", "numpy", "pandas", "scipy", "sqlalchemy"}
"""Top-level names of packages that a rig computer does not have."""


def test_import_contracts_hold() -> None:
    assert not _broken_contracts(ROOT)


def test_every_contract_catches_an_import_against_it(tmp_path: Path) -> None:
    shutil.copy(ROOT / "setup.cfg", tmp_path)
    for path in CODE:
        copy = tmp_path / path.relative_to(ROOT)
        copy.parent.mkdir(exist_ok=True)
        shutil.copy(path, copy)
    for file, module in FORBIDDEN.items():
        with (tmp_path / file).open("a", encoding="utf-8") as bad:
            bad.write(f"\nimport {module}\n")
    assert _broken_contracts(tmp_path) == CONTRACTS


@pytest.mark.parametrize(
    "module",
    [
        "penchant",
        "server.protocol",
        "subject_clients.catalogue",
        "subject_clients.loop",
        "subject_clients.terminal",
        "subject_clients.transport",
    ],
)
def test_what_a_rig_needs_loads_nothing_heavy(module: str) -> None:
    loaded = _python("-c", f"import sys, {module}; print(*sys.modules)").stdout
    assert not {name.partition(".")[0] for name in loaded.split()} & HEAVY


def test_a_rig_can_run_a_subject_without_anything_heavy() -> None:
    blocked = f"import sys; sys.modules.update(dict.fromkeys({HEAVY}))"
    call = ["subject", "terminal", "--name", "x", "--url", "http://127.0.0.1:9"]
    run = f"import penchant; penchant.main([*{call}, '--patience', '0'])"
    ended = _python("-c", f"{blocked}; {run}")
    assert ended.returncode == 1
    assert ended.stderr.startswith("Error: "), ended.stderr


def test_each_name_belongs_to_one_distribution() -> None:
    try:
        metadata.distribution("penchant")
    except metadata.PackageNotFoundError:
        pytest.skip("penchant is not installed")
    owners = metadata.packages_distributions()
    for name in [*(p for p in PACKAGES if "." not in p), *MODULES]:
        assert set(owners[name]) == {"penchant"}


def test_every_package_is_listed() -> None:
    roots = {path.parent.name for path in ROOT.glob("*/__init__.py")}
    assert set(SETUP["importlinter"]["root_packages"].split()) == roots
    found = {
        ".".join(path.parent.relative_to(ROOT).parts)
        for root in roots
        for path in (ROOT / root).rglob("__init__.py")
    }
    assert found == set(PACKAGES)
    homes = {path.parent for root in roots for path in (ROOT / root).rglob("*.py")}
    assert homes == {ROOT.joinpath(*package.split(".")) for package in found}


def test_every_data_file_is_packaged() -> None:
    for package in PACKAGES:
        home = ROOT.joinpath(*package.split("."))
        patterns = SETUP["options.package_data"].get(package, "").split()
        packaged = {path for pattern in patterns for path in home.glob(pattern)}
        for path in home.rglob("*"):
            if path.is_file() and path.suffix not in (".py", ".pyc"):
                assert path in packaged or _in_another(path, home), path


@pytest.mark.parametrize("package", PACKAGES)
def test_init_holds_one_docstring(package: str) -> None:
    path = ROOT.joinpath(*package.split("."), "__init__.py")
    tree = ast.parse(path.read_text(encoding="utf-8"))
    assert ast.get_docstring(tree)
    assert len(tree.body) == 1


@pytest.mark.parametrize(
    "name",
    [*SPACES, *LEARNERS, *FAMILIES, *ADAPTERS, *HARDWARE, *TASKS],
)
def test_every_catalogue_entry_is_in_the_readme(name: str) -> None:
    assert f"`{name}`" in (ROOT / "README.md").read_text(encoding="utf-8")


def test_files_and_functions_stay_small() -> None:
    """A guide, held loosely: beyond this a file is two, and a function three."""
    for paths, most in ((CODE, 400), (SCRIPTS, 500)):
        for path in paths:
            assert len(path.read_text(encoding="utf-8").splitlines()) <= most, path
    for path in CODE:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef):
                assert _body_lines(node) <= 60, f"{path}: {node.name}"


def test_continuous_integration_can_start() -> None:
    assert os.access(ROOT / ".ci" / "run", os.X_OK)


def _in_another(path: Path, home: Path) -> bool:
    """Whether a file below a package is of a package inside it."""
    between = path.relative_to(home).parents
    return any((home / folder / "__init__.py").exists() for folder in between[:-1])


def _body_lines(function: ast.FunctionDef) -> int:
    """Lines of a function below its signature and docstring."""
    documented = ast.get_docstring(function) is not None
    body = function.body[1:] if documented else function.body
    return 1 + (body[-1].end_lineno or 0) - body[0].lineno if body else 0


def _broken_contracts(root: Path) -> set[str]:
    """Names of the import contracts that the code under ``root`` breaks."""
    command = "import sys; from importlinter.cli import lint_imports_command as lint;"
    report = _python("-c", f"{command} lint(['--no-cache', '--no-logo'])", cwd=root)
    broken = {name for name in CONTRACTS if f"\n{name} BROKEN" in report.stdout}
    kept = {name for name in CONTRACTS if f"\n{name} KEPT" in report.stdout}
    assert broken | kept == CONTRACTS, report.stdout + report.stderr
    assert report.returncode == bool(broken)
    return broken


def _python(*arguments: str, cwd: Path = ROOT) -> "subprocess.CompletedProcess[str]":
    """What this Python does in a process of its own."""
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=cwd,
        env={**os.environ, "COLUMNS": "200"},
        capture_output=True,
        text=True,
        check=False,
    )
