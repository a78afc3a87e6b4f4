"""Finished rows of a long computation, so that run again it goes on with the others."""

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

Row = dict[str, Any]
"""What was found: JSON."""


class FinishedRows:
    """Rows in a file of JSON, each with the settings that it was found with.

    A row is found again where any setting is another.
    """

    def __init__(self, file: Path, begins: Callable[[str], None]) -> None:
        """``begins`` is told the title of each row that is not there yet.

        Raises:
            ValueError: the file is none that was written here.
        """
        self._file, self._begins = file, begins
        self.ran: list[str] = []
        """Rows that were not in the file."""
        self.seconds: dict[str, float] = {}
        """What each row that was asked for took when it was found."""
        self._rows: dict[str, Row] = {}
        if file.is_file():
            try:
                rows = json.loads(file.read_text(encoding="utf-8"))
                if not all(isinstance(row["seconds"], float) for row in rows.values()):
                    raise ValueError("a row does not say how long it took")
            except (ValueError, TypeError, AttributeError, KeyError) as fault:
                raise ValueError(
                    f"{file} is no file of finished rows ({fault}); move it away, "
                    "and they will be found again"
                ) from fault
            self._rows = rows

    def row(self, title: str, settings: Row, find: Callable[[], Row]) -> Row:
        """The row of some settings (JSON), found if it is not there."""
        name = json.dumps(settings, sort_keys=True)
        if name not in self._rows:
            self._begins(title)
            self.ran.append(name)
            start = time.perf_counter()
            found = find()
            self._rows[name] = {"seconds": time.perf_counter() - start, **found}
            self._write()
        self.seconds[name] = self._rows[name]["seconds"]
        return self._rows[name]

    def _write(self) -> None:
        """Whole or not at all: a run may be ended at any moment."""
        half = self._file.with_suffix(".part")
        half.write_text(json.dumps(self._rows) + "\n", encoding="utf-8")
        half.replace(self._file)
