"""Reading of pickled image sets, as others publish them, without running their code."""

import pickle
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

_ARRAY_MODULES = ("numpy._core.multiarray", "numpy.core.multiarray")
_BUFFER_MODULES = ("numpy._core.numeric", "numpy.core.numeric")
_PLAIN = re.compile(r"[<>|=]?[biufSU]\d+")
"""Types of numbers and strings, as NumPy writes them down."""


def read_pickle(path: Path) -> Any:
    """What a pickle holds: arrays, lists, dicts, strings and numbers, nothing else.

    Strings of Python 2 become text. Raises ``ValueError`` with the file if it cannot
    be read or holds anything else; nothing of what it names is called then.
    """
    try:
        with path.open("rb") as file:
            return _Plain(file, encoding="latin1").load()
    except FileNotFoundError as error:
        raise ValueError(f"{path}: no such file") from error
    except Exception as error:  # a bad pickle raises whatever its bytes lead to
        raise ValueError(
            f"{path}: expected a pickle of arrays, lists, dicts, strings and numbers "
            f"alone, got: {error}"
        ) from error


def read_entries(path: Path, names: tuple[str, ...]) -> dict[Any, Any]:
    """A pickled dict with at least the entries ``names``.

    Raises ``ValueError`` with the file if it is none.
    """
    held = read_pickle(path)
    if not isinstance(held, dict):
        raise ValueError(f"{path}: expected a pickled dict, got {type(held).__name__}")
    # What Python 2 pickled and Python 3 pickled anew has bytes as names.
    named = {k.decode("latin1") if isinstance(k, bytes) else k: held[k] for k in held}
    if not {*names} <= named.keys():
        raise ValueError(
            f"{path}: expected a dict with {' and '.join(names)}, "
            f"got {', '.join(map(str, named))}"
        )
    return named


def whole_numbers(path: Path, values: Any) -> NDArray[np.int64]:
    """A list of whole numbers as an array ``(n,)``.

    Raises ``ValueError`` with the file it was read from if it is none.
    """
    try:
        numbers = np.asarray(values)
    except ValueError:
        numbers = np.empty(())
    if numbers.ndim != 1 or (numbers.dtype.kind not in "iu" and len(numbers)):
        raise ValueError(f"{path}: expected a list of whole numbers as labels")
    return numbers.astype(np.int64)


class _Plain(pickle.Unpickler):
    """Finds what NumPy's arrays are rebuilt with, and refuses all other names."""

    def find_class(self, module_name: str, global_name: str, /) -> Any:
        """What stands for a name of the pickle."""
        if module_name in _ARRAY_MODULES and global_name in _ARRAYS:
            return _ARRAYS[global_name]
        if module_name in _BUFFER_MODULES and global_name == "_frombuffer":
            return _made(_array_of_buffer)
        if module_name == "numpy" and global_name == "ndarray":
            return np.ndarray
        if module_name == "numpy" and global_name == "dtype":
            return _made(_plain_type)
        if module_name == "_codecs" and global_name == "encode":
            return _made(_latin)
        raise pickle.UnpicklingError(f"it asks for {module_name}.{global_name}")


def _made(function: Callable[..., Any]) -> Callable[..., Any]:
    """A function of its own for each pickle, which may set attributes of it."""

    def made(*values: Any) -> Any:
        return function(*values)

    return made


def _plain_type(name: Any, *_: bool) -> np.dtype[Any]:
    if not isinstance(name, str) or not _PLAIN.fullmatch(name):
        raise pickle.UnpicklingError(f"it has an array of type {name!r}")
    return np.dtype(name)


def _array_of_buffer(
    buffer: Any, dtype: np.dtype[Any], shape: tuple[int, ...], order: Any
) -> np.ndarray[Any, Any]:
    return np.frombuffer(buffer, dtype).reshape(shape, order=order)


def _latin(text: str, encoding: str) -> bytes:
    """Bytes, which old pickle protocols write as text."""
    if encoding not in ("latin1", "latin-1"):
        raise pickle.UnpicklingError(f"it has bytes as text in {encoding!r}")
    return text.encode("latin1")


_EMPTY = np.empty(0)
_ARRAYS = {
    "_reconstruct": _EMPTY.__reduce__()[0],
    "scalar": np.float64(0).__reduce__()[0],
}
"""What NumPy's own pickles call, by name, wherever this version of it keeps that."""
