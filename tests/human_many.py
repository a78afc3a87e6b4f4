"""Sessions in one window, one after the other: human_many.py URL DATA COUNT.

Runs where PsychoPy is; spares a robot the wait for its start.
"""

import sys
from pathlib import Path

from subject_clients.human.start import Options, play
from subject_clients.human.task import Site
from subject_clients.human.window import Screen

if __name__ == "__main__":
    url, data, count = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3])
    many = [
        Options(
            name=f"robot-{number}",
            url=url,
            data=data,
            full_screen=False,
            size=(1024, 768),
            width_cm=30,
            distance_cm=57,
        )
        for number in range(count)
    ]
    screen = Screen(many[0].display())
    study = Site(url).study()
    for options in many:
        print(play(screen, study, None, options), flush=True)
    screen.close()
