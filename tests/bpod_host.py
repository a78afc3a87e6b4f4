"""The computer of a Bpod, to be killed: runs one trial at the port that is named."""

import sys

from bpod_rig import SLOW_VALVE, bpod, trial


def main(port: str) -> None:
    valves = {"left_valve": SLOW_VALVE, "right_valve": SLOW_VALVE}
    rig = bpod(port, window_s=2.0, **valves).open()
    rig.next_trial(trial(valid_s=4.0))
    print("runs", flush=True)
    rig.what_happened()


if __name__ == "__main__":
    main(sys.argv[1])
