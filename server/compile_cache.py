"""What JAX compiled once is kept: for the next start, and for other processes."""

import os
import platform
import re
import sys
import warnings
from collections.abc import Iterator
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from itertools import takewhile
from pathlib import Path
from zlib import crc32

WHERE = "JAX_COMPILATION_CACHE_DIR"
"""The variable by which JAX, and a user, name the folder."""

MOST_BYTES = 512 * 2**20
"""Room on disk, of several hundred studies; what is oldest gives way."""

_QUIET_SINCE = [0, 10, 2]
"""Before this jaxlib some CPUs refused what they had compiled, and said so."""

_OF_A_CPU = ("model name", "flags", "CPU implementer", "CPU part", "Features")
"""What /proc/cpuinfo tells kinds of CPU apart by, on Intel's and on ARM's."""


def keep_compiled(ours: Path | None = None) -> None:
    """Let JAX keep compiled programs in a folder below ``ours``, and look there.

    By default in the user's cache folder. Processes started afterwards inherit it. What
    the user has set stands: ``JAX_COMPILATION_CACHE_DIR`` names another folder, and
    empty turns this off. Where nothing can be kept everything is compiled, as ever.
    """
    # A full disk or a damaged file costs time only, and nobody can do anything.
    warnings.filterwarnings(
        "ignore", "Error (reading|writing) persistent compilation cache entry"
    )
    if WHERE in os.environ:
        return
    try:
        jaxlib = version("jaxlib")
    except PackageNotFoundError:  # the computer of a rig
        return
    if [int(number) for number in re.findall(r"\d+", jaxlib)[:3]] < _QUIET_SINCE:
        return
    try:
        ours = ours or _caches_of_user() / "penchant" / "compiled"
        # What one CPU runs may crash another that sees the same home.
        folder = ours / f"jaxlib-{jaxlib}-{_kind_of_cpu()}"
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        make_room(ours, MOST_BYTES)
    except (OSError, RuntimeError):  # no home, or one that is not ours to write into
        return
    if os.access(folder, os.W_OK):
        _set(WHERE, str(folder))
        # Many small programs take longer than the few large ones.
        _set("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", 0.0)


def _set(name: str, value: str | float) -> None:
    """Set what JAX reads of the environment, once, when it is loaded."""
    if name not in os.environ:
        os.environ[name] = str(value)
        if jax := sys.modules.get("jax"):
            jax.config.update(name.lower(), value)


def make_room(folder: Path, most: int) -> None:
    """Remove the oldest files in and below ``folder`` beyond ``most`` bytes.

    JAX's own bound looks at every file for each that it writes. Raises ``OSError``.
    """
    for _, size, path in sorted(_files(folder), reverse=True):
        most -= size
        if most < 0:
            path.unlink(missing_ok=True)


def _files(folder: Path) -> Iterator[tuple[float, int, Path]]:
    """When each file was written, its bytes, and where it is."""
    for path in folder.rglob("*-cache"):
        with suppress(FileNotFoundError):  # another process may make room too
            status = path.stat()
            yield status.st_mtime, status.st_size, path


def _caches_of_user() -> Path:
    """Where programs keep what they can make again, by the rule of the platform."""
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches"
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local")
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")


def _kind_of_cpu() -> str:
    """Eight digits, the same for CPUs that run the same code."""
    told = [platform.machine()]
    try:
        with Path("/proc/cpuinfo").open(encoding="utf-8") as cpus:
            first = takewhile(str.strip, cpus)  # of perhaps hundreds
            told += [line for line in first if line.startswith(_OF_A_CPU)]
    except OSError:  # not Linux
        told.append(platform.processor())
    return f"{crc32(''.join(told).encode()):08x}"
