"""What a human session leaves on this computer: tables, a log, and where it was."""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from server.human_task import HumanStudy
from subject_clients.human.task import consent_sha256


def now_iso() -> str:
    """The time, with its zone."""
    return datetime.now(UTC).isoformat(timespec="seconds")


class Progressed:
    """How far a participant has come before the session: kept until it ends.

    Whoever was interrupted neither consents nor practises a second time.
    """

    def __init__(self, folder: Path, name: str, study: HumanStudy) -> None:
        """For a participant of a study; what an earlier run left is read."""
        self._path = folder / f"{name}_{study.study}.unfinished.json"
        self._consent = consent_sha256(study.task)
        self.said: dict[str, Any] = {}
        if self._path.exists():
            said = json.loads(self._path.read_text(encoding="utf-8"))
            if said.get("consent_sha256") == self._consent:
                self.said = said

    @property
    def ready(self) -> bool:
        """Whether consent and practice are done."""
        return bool(self.said.get("ready"))

    def agreed(self) -> None:
        """The participant consents, now."""
        self.said = {"consent_sha256": self._consent, "consent_at": now_iso()}

    def begin(self) -> None:
        """From here on a session may be under way."""
        self.said["ready"] = True
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._path.write_text(json.dumps(self.said), encoding="utf-8")

    def end(self) -> None:
        """There is nothing to go on with."""
        self._path.unlink(missing_ok=True)

    def capabilities(self) -> dict[str, str]:
        """For the server: which text was agreed to, and when."""
        kept = ("consent_sha256", "consent_at")
        return {name: self.said[name] for name in kept if self.said.get(name)}


class DataFiles:
    """The files that PsychoPy users know: a CSV, a psydat and a log of each run."""

    def __init__(self, folder: Path, name: str, study: str, info: dict[str, Any]):
        """``info`` goes with every row."""
        from psychopy import data, logging

        when = datetime.now().astimezone().strftime("%Y-%m-%d_%Hh%M.%S.%f")[:-3]
        folder.mkdir(parents=True, exist_ok=True)
        self._base = str(folder / f"{name}_{study}_{when}")
        self._log: Any = logging
        self._file: Any = logging.LogFile(
            f"{self._base}.log", level=logging.EXP, filemode="w"
        )
        about = {"participant": name, "study": study, "date": when, **info}
        # Saved by ourselves: PsychoPy would give each save another name.
        self._table: Any = data.ExperimentHandler(
            name=study,
            extraInfo=about,
            savePickle=False,
            saveWideText=False,
            dataFileName=self._base,
        )

    @property
    def csv(self) -> Path:
        """One row a trial."""
        return Path(f"{self._base}.csv")

    def note(self, what: str) -> None:
        """A line in the log, with the window's time."""
        self._log.exp(what)

    def row(self, values: dict[str, Any]) -> None:
        """A trial is over: its row is in the CSV on return."""
        for name, value in values.items():
            self._table.addData(name, value)
        self._table.nextEntry()
        self._save_csv()
        self._log.flush()

    def close(self) -> None:
        """Write the psydat too."""
        self._save_csv()
        self._table.saveAsPickle(self._base, fileCollisionMethod="overwrite")
        self._log.flush()

    def _save_csv(self) -> None:
        """Whole or not at all: the program may be killed at any moment."""
        part = Path(f"{self._base}.part.csv")
        self._table.saveAsWideText(str(part), delim="comma")
        part.replace(self.csv)
