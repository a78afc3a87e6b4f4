"""A PsychoPy script of one's own whose trials come from a Penchant server.

Start `penchant serve examples/psychopy/orientation.toml`, then, where PsychoPy is:

    python examples/psychopy/own_script.py p01 http://127.0.0.1:5000

Killed, it goes on at the trial that was due when it is started with the same name.
"""

import sys

from psychopy import core, data, visual
from psychopy.hardware import keyboard

from subject_clients.human.trials import PenchantTrials

KEYS = {"f": -1.0, "j": 1.0}
PAUSE_S, SHOWN_S, FEEDBACK_S, ANSWER_WITHIN_S = 0.4, 0.5, 0.5, 3.0

participant, url = sys.argv[1:3]
folder = sys.argv[3] if len(sys.argv) > 3 else "data"

exp = data.ExperimentHandler(
    "orientation",
    extraInfo={"participant": participant},
    dataFileName=f"{folder}/{participant}_{data.getDateStr()}",
)
window = visual.Window((1024, 768), units="height", color="grey", checkTiming=False)
grating = visual.GratingStim(window, mask="gauss", size=0.5, sf=12)
words = visual.TextStim(window, height=0.05)
keys = keyboard.Keyboard()
for stimulus in (grating, words):  # the first time takes long
    stimulus.draw()
window.clearBuffer()

trials = PenchantTrials(participant, url, outbox=f"{folder}/{participant}.outbox")
exp.addLoop(trials)


def show_for(seconds: float, stimulus: visual.TextStim | None = None) -> None:
    """A stimulus, or nothing, for some time."""
    clock = core.Clock()
    while clock.getTime() < seconds:
        if stimulus is not None:
            stimulus.draw()
        window.flip()


def answer() -> tuple[float | None, float | None]:
    """Show the grating until a key is pressed; its value, and seconds."""
    keys.clearEvents()
    window.callOnFlip(keys.clock.reset)
    clock = core.Clock()
    while clock.getTime() < ANSWER_WITHIN_S:
        if clock.getTime() < SHOWN_S:
            grating.draw()
        window.flip()
        pressed = keys.getKeys([*KEYS, "escape"], waitRelease=False)
        if pressed and pressed[0].name == "escape":
            trials.finished = True  # leaves the session at the next trial
            return None, None
        if pressed:
            return KEYS[pressed[0].name], pressed[0].rt
    return None, None


for trial in trials:
    grating.ori = trial.ori
    show_for(PAUSE_S)
    value, rt = answer()
    trials.respond(value, rt=rt)
    if trial.rewarded is not None:
        right = KEYS[{"left": "f", "right": "j"}[trial.rewarded]] == value
        words.text = "+1" if right else "0"
        show_for(FEEDBACK_S, words)
    while not trials.ready():  # a frame at a time, so that nothing ever hangs
        window.flip()
    exp.nextEntry()

print(trials.reason)
window.close()
core.quit()  # the experiment handler saves its table and psydat
