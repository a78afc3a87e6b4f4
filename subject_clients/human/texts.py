"""What a human reads where the study file says nothing."""

from server.human_task import HumanTask

GRADED = (
    "You will see one picture after the other. Each has a value between "
    "{left} and {right}.\n\n"
    "Say which by a mark on the scale below the picture: move the mouse and click, "
    "or use the arrow keys and press Enter.\n\n"
    "At first you are shown the true value after each answer. Learn from it: later "
    "there are new pictures, and nobody tells."
)

CHOICE = (
    "You will see one picture after the other. Each belongs to one of two sides: "
    "{left} or {right}.\n\n"
    "Press {first} for {left}, {second} for {right}.\n\n"
    "At first you are shown after each answer which side it was. Learn from it: later "
    "there are new pictures, and nobody tells."
)

PRACTICE_GRADED = (
    "First some practice in answering, without pictures.\n\n"
    "An arrow points at a place on the scale. Put your mark there."
)

PRACTICE_CHOICE = (
    "First some practice in answering, without pictures.\n\n"
    "An arrow points to a side. Press the key of that side: {first} or {second}."
)

PRACTISED = "Now the session begins. There are at most {trials} pictures."

WELCOME_BACK = "Welcome back.\n\nThe session goes on where it was interrupted."

BREAK = "{done} of {trials} are done. Take the time you need."

LEAVE = "If you leave now, this session cannot be gone on with later."

GO_ON = "Space bar: go on"

AGREE = "Y: I agree        N: I do not agree"

LEAVE_KEYS = "L: leave        Space bar: go on"

DECLINED = "You did not agree. Nothing was recorded."

LEFT = "You have left the session. What you did until then is saved."

STOPPED = "The session was stopped."

WAITING = "One moment, please ..."

TOO_SLOW = "Too slow"

TRUE_VALUE = "true value"


def key_name(key: str) -> str:
    """A key as a person calls it."""
    arrows = {"left": "left arrow key", "right": "right arrow key"}
    return arrows.get(key, key.upper())


def filled(text: str, task: HumanTask, **more: object) -> str:
    """One of the texts above with the names of a task's sides and keys."""
    first, second = map(key_name, task.keys)
    words = {"left": task.left, "right": task.right, "first": first, "second": second}
    return text.format(**words, **more)


def instructions(task: HumanTask, response: str) -> list[str]:
    """The pages of a task, or one that says how to answer."""
    standard = filled(CHOICE if response == "choice" else GRADED, task)
    return list(task.instructions) or [standard]
