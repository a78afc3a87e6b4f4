"""From the options of the command line to a session in a window."""

from dataclasses import dataclass, replace
from pathlib import Path

from server.human_task import HumanStudy
from subject_clients.handover import Handover
from subject_clients.human.session import Capabilities, Participant, Session
from subject_clients.human.task import Site
from subject_clients.human.window import Display, Screen
from subject_clients.loop import Subject
from subject_clients.outbox import Outbox
from subject_clients.transport import TRANSPORTS


@dataclass(frozen=True)
class Options:
    """Those of ``penchant subject human``."""

    name: str | None
    url: str
    token: str | None = None
    dialog: bool = False
    group: str | None = None
    rig: str | None = None
    screen: int = 0
    full_screen: bool = True
    size: tuple[int, int] = (1024, 768)
    width_cm: float | None = None
    distance_cm: float | None = None
    monitor: str | None = None
    units: str = "deg"
    stimuli: Path | None = None
    data: Path = Path("data")
    transport: str = "socket"
    patience: float = 60.0

    def display(self) -> Display:
        """Where the window opens; raises ``ValueError`` without a calibration."""
        return Display(
            self.screen,
            self.full_screen,
            self.size,
            self.units,
            self.monitor,
            self.width_cm,
            self.distance_cm,
        )


def start(options: Options) -> str:
    """One session; returns how it ended.

    Raises ``ValueError`` and ``OSError`` with what to do.
    """
    _check_installed()
    display = options.display()
    site = Site(options.url, options.token)
    study = site.study()
    name, group = options.name, options.group
    if options.dialog:
        name, group = _asked(name or "", group or "", study)
    if not name:
        raise ValueError("who takes part? Give a pseudonym: --name p01, or --dialog")
    folder = options.stimuli or site.stimuli(options.data / "stimuli" / study.study)
    screen = Screen(display)
    try:
        return play(screen, study, folder, replace(options, name=name, group=group))
    finally:
        screen.close()


def play(
    screen: Screen, study: HumanStudy, stimuli: Path | None, options: Options
) -> str:
    """One session in a window that is open; returns how it ended.

    ``stimuli`` is the folder of their files. Raises as :func:`start`.
    """
    name = options.name
    assert name is not None
    options.data.mkdir(parents=True, exist_ok=True)
    box = options.data / f"{name}_{study.study}.outbox"
    with Outbox(box, to=options.url) as outbox:

        def connect(hand: Handover, capabilities: Capabilities) -> Subject:
            return Subject(
                name,
                hand,
                TRANSPORTS[options.transport](options.url, options.patience),
                options.token,
                sleep=hand.sleep,
                group=options.group,
                outbox=outbox,
                rig=options.rig,
                capabilities=capabilities,
            )

        who = Participant(name, options.data)
        return Session(screen, study, who, stimuli, connect).run()


def _check_installed() -> None:
    """Raise ``ValueError`` where PsychoPy is missing, or cannot start."""
    try:
        import psychopy  # noqa: F401
    except ImportError as error:
        raise ValueError(
            "this needs PsychoPy: pip install 'penchant[human]' from the clone, in a "
            f"virtual environment of its own ({error})"
        ) from error


def _asked(name: str, group: str, study: HumanStudy) -> tuple[str, str | None]:
    """Participant and group, from a dialog; raises ``ValueError`` if it is closed."""
    from psychopy import data, gui

    asked = {
        "participant": name,
        "group": group,
        "study": study.study,
        "date": data.getDateStr(),
    }
    dialog = gui.DlgFromDict(
        asked, title=study.task.title, fixed=["study", "date"], sortKeys=False
    )
    if not dialog.OK:
        raise ValueError("the dialog was closed: no session was begun")
    return asked["participant"].strip(), asked["group"].strip() or None
