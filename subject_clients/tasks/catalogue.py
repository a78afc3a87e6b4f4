"""Every task by its name in a rig's file."""

from subject_clients.tasks.fly_group import FlyGroup
from subject_clients.tasks.go_no_go import GoNoGo
from subject_clients.tasks.task import Task
from subject_clients.tasks.two_port import TwoPort

TASKS: dict[str, type[TwoPort] | type[GoNoGo] | type[FlyGroup]] = {
    "fly_group": FlyGroup,
    "go_no_go": GoNoGo,
    "two_port": TwoPort,
}

__all__ = ["TASKS", "Task"]
