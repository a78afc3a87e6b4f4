"""A rig's computer, to be killed or frozen: runs one trial on the board of a port.

Arguments: the port, and the trial as JSON fields of ``RigTrial``.
"""

import json
import sys

from subject_clients.rig.serial_board import SerialBoard
from subject_clients.tasks.trial import Reinforcer, RigTrial


def main(port: str, fields: str) -> None:
    wanted = json.loads(fields)
    for name in ("left", "right", "automatic"):
        wanted[name] = Reinforcer(*wanted.get(name, ()))
    trial = RigTrial("host/0", 0, True, {}, **wanted)
    rig = SerialBoard(port=port, boot_s=0.2, alive_s=0.1).open()
    rig.next_trial(trial)
    print("runs", flush=True)
    print(rig.what_happened(), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
