"""Journals that the tests of exports share: a dry run, and a live study by hand."""

from dataclasses import replace
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from small_study import CHOICE, small_study
from small_study import played as played_in
from test_analysis import a_response, a_session, by_hand

from analysis.metadata import Metadata, parse_metadata
from server.events import (
    ClientSeen,
    DroppedOut,
    Event,
    Fact,
    Halted,
    Responded,
    RewardGiven,
    SessionEnded,
    Weighed,
)
from server.steps import opening

COMPLETE = """
[dataset]
title = "What mice find easy"
authors = ["Curie, Marie", "Noether, Emmy"]
license = "CC-BY-4.0"
keywords = ["mice"]
[lab]
institution = "University of Somewhere"
experimenters = ["Curie, Marie"]
protocol = "Licence 1"
timezone = "Europe/London"
[subjects]
species = "Mus musculus"
sex = "U"
age = "P90D"
[subject."mouse-07"]
sex = "F"
date_of_birth = 2001-06-01
"""
SESSION = "c0-g0-i0-a0"
RIGHT = [True, False]


def dry() -> list[Event]:
    """What an in-process dry run writes of two sessions: tests only, and no times."""
    facts: list[Fact] = []
    for name in (SESSION, "c0-g0-i1-a0"):
        opened = a_session(name, subject=f"sim-{name}", right_rewarded=RIGHT)
        told = Responded(
            name, [2, 3], ["responded"] * 2, [1.0, -1.0], [None] * 2, [None] * 2
        )
        facts += [opened, told, SessionEnded(name, "finished", "", 0.1, 0.02, 0.3, 2)]
    every = [opening(small_study(CHOICE), "dry-run"), *facts]
    return [Event(i, 1e9 + (i > 0), fact) for i, fact in enumerate(every)]


@cache
def played() -> list[Event]:
    """A whole in-process dry run."""
    with TemporaryDirectory() as folder:
        return played_in(Path(folder), CHOICE)


def complete() -> Metadata:
    """All that archives ask for."""
    return parse_metadata(COMPLETE)


def answered(trial: int, value: float | None, **more: Any) -> Responded:
    """A choice, at a second of its own, with what a rig says."""
    return replace(a_response(SESSION, trial, value), **more)


def live(subject: str = "mouse-07", name: str = SESSION) -> list[Event]:
    """A live session of choices: four trials, rewards, an order, its end."""
    opened = a_session(name, subject=subject, right_rewarded=RIGHT, rig="box-1")
    reward = {"microlitre": 3.0, "how": "earned"}
    answers = [
        answered(0, 1.0, rewards=[reward]),
        answered(1, None, outcomes=["premature"]),
        answered(2, -1.0),
        answered(3, None, reaction_times_s=[None]),
    ]
    return by_hand(
        small_study(CHOICE),
        Weighed(subject, 21.5, 25.0, "op"),
        opened,
        *[replace(answer, session=name) for answer in answers],
        RewardGiven(name, subject, "u", 2.0, "free"),
        Halted("", "pause", f"ask {subject}", "op"),
        ClientSeen(name, subject, "disconnected"),
        SessionEnded(name, "finished", f"{subject} slept", 0.1, 0.02, 0.3, 2),
        DroppedOut(subject, "ill", "op"),
    )
