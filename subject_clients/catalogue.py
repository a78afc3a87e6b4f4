"""Every adapter by its name on the command line, imported only when asked for."""

from importlib import import_module
from typing import Any

ADAPTERS: dict[str, str] = {
    "simulated": "subject_clients.simulated:Simulated",
    "terminal": "subject_clients.terminal:Terminal",
}


def adapter_class(name: str) -> Any:
    """The class of an adapter; raises ``KeyError`` for an unknown name."""
    module, _, cls = ADAPTERS[name].partition(":")
    return getattr(import_module(module), cls)
