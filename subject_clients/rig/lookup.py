"""Functions of a lab that a rig's file names as ``module:name``."""

import importlib
import os
import sys
from collections.abc import Callable
from typing import Any

from pydantic import BaseModel

from subject_clients.rig.adapter import RigFault

WHERE = r"^[A-Za-z_][\w.]*:[A-Za-z_]\w*$"


def found(section: BaseModel, name: str) -> Callable[..., Any] | None:
    """The function that an option names, or None where it names none.

    Modules of the folder that the client is started in count. Raises
    :class:`RigFault`.
    """
    where: str | None = getattr(section, name)
    if where is None:
        return None
    if (here := os.getcwd()) not in sys.path:  # noqa: PTH109 - sys.path holds text
        sys.path.insert(0, here)
    module, _, function = where.partition(":")
    try:
        called = getattr(importlib.import_module(module), function)
    except (ImportError, AttributeError) as error:
        raise RigFault(f"hardware.{name} is {where}: {error}") from error
    if not callable(called):
        raise RigFault(f"hardware.{name} is {where}, which is no function")
    result: Callable[..., Any] = called
    return result
