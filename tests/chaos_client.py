"""Scripted subjects that survive whatever is done to them; run as a program.

    python tests/chaos_client.py URL FOLDER FIRST COUNT TRANSPORT SEED

``COUNT`` of them at a time, each with an outbox, a name and a memory of its own in
``FOLDER``, so that a program killed and started again goes on where it was. JAX is
not needed.
"""

import json
import os
import random
import sys
import threading
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

from server.protocol import Ack, Assignment, Refusal, Reply, Trial
from subject_clients.adapter import Answer, GiveUp
from subject_clients.line import Refused
from subject_clients.loop import Subject
from subject_clients.outbox import Outbox
from subject_clients.transport import TRANSPORTS, Heard, Transport

THINKS_S = (0.05, 0.4)
"""Shortest and longest reaction."""

OUTBOX, MEMORY, BORN = "outbox.jsonl", "memory.jsonl", "born"
"""Files in the folder of a subject."""

ACKNOWLEDGED, TROUBLES, FAULT = "acknowledged.jsonl", "troubles.jsonl", "fault.txt"
"""Files there for the test: acknowledged responses, refusals, what must not be."""


class Log:
    """JSON lines, each of which is in the file when ``add`` returns."""

    def __init__(self, path: Path) -> None:
        self._file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)

    def add(self, line: dict[str, Any]) -> None:
        os.write(self._file, json.dumps(line).encode() + b"\n")


class Witness:
    """A transport that notes which responses were acknowledged, and what was said."""

    def __init__(self, inner: Transport, acknowledged: Log, troubles: Log) -> None:
        self._inner = inner
        self._acknowledged, self._troubles = acknowledged, troubles

    def send(self, kind: str, message: dict[str, Any]) -> Reply:
        reply = self._inner.send(kind, message)
        if isinstance(reply, Ack):
            keys = ("outcome", "value", "reaction_time_s")
            said = {key: message[key] for key in keys}
            self._acknowledged.add({"uid": reply.uid, "asked": message["uid"], **said})
        if isinstance(reply, Refusal):
            status, detail = reply.status, reply.detail
            self._troubles.add(
                {"kind": kind, "status": status, "error": reply.error, "why": detail}
            )
        return reply

    def listen(self, heard: Heard | None) -> None:
        self._inner.listen(heard)

    def close(self) -> None:
        self._inner.close()


class Nearest:
    """Answers with the label of the nearest stimulus of the training.

    Reaction times are drawn anew whenever a trial is shown: a message said again in
    other words would be found out. What was learnt is on disk before it is answered.
    """

    simulated = True

    def __init__(
        self,
        memory: Path,
        random_: random.Random,
        sleep: Callable[[float], object] = time.sleep,
    ) -> None:
        self._path, self._random, self._sleep = memory, random_, sleep
        self._session, self._shown = "", list[tuple[list[float], float]]()
        if memory.exists():
            for line in map(json.loads, memory.read_text().splitlines()):
                self._session = line["session"]
                self._shown.append((line["x"], line["label"]))

    def begin(self, assignment: Assignment) -> None:
        learnt = min(assignment.next_trial, assignment.training_trials)
        if assignment.session != self._session:
            if learnt:
                raise GiveUp("has not seen the training of this session")
            self._path.unlink(missing_ok=True)
            self._session, self._shown = assignment.session, []
        if len(self._shown) < learnt:
            raise GiveUp("has seen a part of the training only")

    def present(self, trial: Trial) -> Answer:
        reaction_s = round(self._random.uniform(*THINKS_S), 6)
        self._sleep(reaction_s)
        if trial.feedback is None:
            value = nearest(self._shown, trial.x)
            return Answer(value=value, reaction_time_s=reaction_s)
        if trial.index == len(self._shown):  # else shown before
            label = float(trial.feedback["label"])
            line = {"session": self._session, "x": trial.x, "label": label}
            Log(self._path).add(line)
            self._shown.append((trial.x, label))
        return Answer(reaction_time_s=reaction_s)


def nearest(shown: list[tuple[list[float], float]], x: list[float]) -> float:
    """The label of the stimulus shown that is nearest to ``x``, the first of equals."""

    def distance(one: tuple[list[float], float]) -> float:
        return sum((a - b) ** 2 for a, b in zip(one[0], x, strict=True))

    return min(shown, key=distance)[1]


def live(url: str, folder: Path, transport: str, random_: random.Random) -> None:
    """One subject after the other, a session each, until the study is over."""
    acknowledged, troubles = Log(folder / ACKNOWLEDGED), Log(folder / TROUBLES)
    wire = Witness(TRANSPORTS[transport](url), acknowledged, troubles)
    born, over = folder / BORN, False
    number = int(born.read_text()) if born.exists() else 0
    with Outbox(folder / OUTBOX, "chaos") as outbox:
        while not over:
            adapter = Nearest(folder / MEMORY, random_)
            subject = Subject(f"{folder.name}-{number}", adapter, wire, outbox=outbox)
            try:
                over = subject.run_session().study
            except Refused:
                continue  # noted above; the same subject comes again
            except ConnectionError as error:
                troubles.add({"kind": "line", "status": 0, "error": str(error)})
                continue
            number += 1
            half = born.with_suffix(".half")
            half.write_text(str(number))
            half.replace(born)
    wire.close()


def main() -> None:
    """A thread for each subject; status 1 if one of them met what must not be."""
    url, into, first, count, transport, seed = sys.argv[1:]
    faults = []

    def guarded(place: int) -> None:
        folder = Path(into) / f"subject-{place}"
        folder.mkdir(parents=True, exist_ok=True)
        try:
            live(url, folder, transport, random.Random(f"{seed} {place}"))
        except BaseException:
            (folder / FAULT).write_text(traceback.format_exc())
            faults.append(place)

    places = range(int(first), int(first) + int(count))
    threads = [threading.Thread(target=guarded, args=(place,)) for place in places]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    sys.exit(bool(faults))


if __name__ == "__main__":
    main()
