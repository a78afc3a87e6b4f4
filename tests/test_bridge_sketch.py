"""The example sketch, line by line: what it refuses, and what it does once only."""

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from board import RIGHT_SENSOR, STIMULUS, Board, compiled, soon
from board_talk import Plain

from subject_clients.rig.bridge_words import (
    Alive,
    Fault,
    Hello,
    RewardWord,
    SafeWord,
    Started,
    TrialWord,
)
from subject_clients.rig.serial_board import framed
from subject_clients.tasks.trial import Reinforcer, RigTrial

MS_PER_MICROLITRE = 8.0
GRAIN_MS = 0.3
"""How well the log of the pins knows an opening."""

Boards = Callable[[float], Board]


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The sketch, compiled once."""
    return compiled(tmp_path_factory.mktemp("sketch"))


@pytest.fixture
def switch_on(program: Path, tmp_path: Path) -> Iterator[Boards]:
    """Switches on a board whose clock has a speed."""
    with contextlib.ExitStack() as stack:
        yield lambda speed: stack.enter_context(Board(program, tmp_path, speed))


def trial(
    left: float = 0.0, right: float = 3.0, uid: str = "s/0", **fields: Any
) -> RigTrial:
    fields = {"limit_microlitre": max(left, right), "valid_s": 20.0, **fields}
    return RigTrial(uid, 0, True, {}, Reinforcer(left), Reinforcer(right), **fields)


@pytest.fixture
def plain(switch_on: Boards) -> Iterator[tuple[Plain, Board]]:
    board = switch_on(2)
    talk = Plain(board)
    yield talk, board
    talk.port.close()


def test_a_trial_that_comes_twice_runs_once(plain: tuple[Plain, Board]) -> None:
    talk, board = plain
    word = TrialWord.of(trial(), "s/0", 20.0, 5.0)
    talk.say(word)
    talk.say(word)
    assert talk.hear("started") == talk.hear("started") == Started(uid="s/0")
    assert soon(lambda: board.was_high(STIMULUS))
    board.poke(RIGHT_SENSOR)
    happened = talk.hear("happened")
    talk.say(word)
    assert talk.hear("happened") == happened
    talk.say(TrialWord.of(trial(uid="s/1"), "s/1", 20.0, 0.1))
    assert talk.hear("happened").outcome == "omission"
    talk.say(word)  # late, after another one
    assert talk.hear("fault") == Fault(uid="s/0", reason="this trial has run")
    assert len(board.openings) == 1


def test_damaged_and_endless_lines_are_asked_for_again(
    plain: tuple[Plain, Board],
) -> None:
    talk, board = plain
    whole = talk.wire.encode(TrialWord.of(trial(), "s/0", 20.0, 5.0))
    for place in range(3, len(whole) - 1, 7):
        bad = bytearray(whole)
        bad[place] ^= 0x20
        talk.port.write(bytes(bad))
        talk.hear("again")
    talk.port.write(b"x" * 3000 + b"\n")
    talk.hear("again")
    talk.port.write(framed(b'{"what":"' + b"y" * 400 + b'"}'))
    talk.hear("again")
    for odd in (b"", b"{", b'{"what":"trial","uid":"', b"[[[", b'{"what":"trial"}'):
        talk.port.write(framed(odd))
    talk.say(Alive())
    assert talk.hear("alive").uid == ""  # it runs nothing, and goes on
    talk.port.write(whole)
    talk.hear("started")
    assert not board.openings


def test_a_trial_that_comes_after_its_safe_does_not_run(
    plain: tuple[Plain, Board],
) -> None:
    talk, board = plain
    talk.say(SafeWord(uid="s/0"))
    talk.hear("safe")
    word = TrialWord(uid="s/0", automatic_microlitre=2, limit_microlitre=2)
    talk.say(word)
    assert talk.hear("fault").reason == "this trial has run"
    talk.say(word.model_copy(update={"uid": "s/1", "response_s": 0.1}))
    assert talk.hear("happened").delivered_microlitre == 2
    assert len(board.openings) == 1


def test_a_board_that_started_anew_wants_a_hello(switch_on: Boards) -> None:
    """It knows nothing of the trials that it ran before."""
    board = switch_on(2)
    talk = Plain(board, hello=False)
    for word in (
        TrialWord(uid="s/0", automatic_microlitre=2, limit_microlitre=2),
        RewardWord(uid="free/0", microlitre=2.0),
    ):
        talk.say(word)
        assert talk.hear("fault").reason == "say hello first"
    assert not board.openings
    talk.port.close()


def test_what_is_above_the_limits_of_the_board_is_refused(
    plain: tuple[Plain, Board],
) -> None:
    talk, board = plain
    for field in ("left_microlitre", "automatic_microlitre", "limit_microlitre"):
        talk.say(TrialWord.model_validate({"uid": f"s/{field}", field: 6.5}))
        assert "MOST_TRIAL_MICROLITRE" in talk.hear("fault").reason
    odd: dict[str, dict[str, Any]] = {
        "longer than MOST_AVERSIVE_MS": {"left_aversive_s": 61.0},
        "valid_s is too short for the window": {"valid_s": 2, "extra": {"window_s": 2}},
    }
    for i, (reason, fields) in enumerate(odd.items()):
        talk.say(TrialWord.model_validate({"uid": f"odd/{i}", **fields}))
        assert talk.hear("fault").reason == reason
    talk.say(RewardWord(uid="free/0", microlitre=7.0))
    assert "MOST_TRIAL_MICROLITRE" in talk.hear("fault").reason
    assert not board.openings


def test_nothing_is_given_after_its_time_nor_above_the_limit_of_the_trial(
    plain: tuple[Plain, Board],
) -> None:
    talk, board = plain
    talk.say(TrialWord(uid="s/0", automatic_microlitre=3, limit_microlitre=2))
    talk.say(Alive())
    talk.say(SafeWord())
    talk.hear("safe")
    for uid, fields in {
        "s/late": {"valid_s": 0.605},  # 16 ms do not fit in what is left
        "s/limit": {"limit_microlitre": 1.0},
        "s/dry": {"limit_microlitre": 0.0},
    }.items():
        wanted = {"automatic_microlitre": 2.0, "limit_microlitre": 2.0, **fields}
        extra = {"window_s": 0.4}
        talk.say(TrialWord.model_validate({"uid": uid, "extra": extra, **wanted}))
        talk.hear("happened")
        talk.say(Alive())
    (opening,) = board.openings
    assert opening.ms == pytest.approx(8, abs=GRAIN_MS)


def test_the_board_has_a_limit_of_its_own_in_all(switch_on: Boards) -> None:
    """6 microlitre at a time, until its 2000 are given; restarts of a client or not."""
    board = switch_on(8)
    talk = Plain(board)
    given = 0.0
    for i in range(340):
        if i % 100 == 99:
            talk.say(Hello(session=f"another {i}"))
            talk.hear("hello")
        talk.say(RewardWord(uid=f"free/{i}", microlitre=6.0))
        while (reply := talk.hear("given", "fault")).what == "fault":
            talk.say(Hello(session=f"late {i} {given}"))  # we were too slow for it
            talk.hear("hello")
            talk.say(RewardWord(uid=f"free/{i}/again", microlitre=6.0))
        given += reply.microlitre
    assert given == pytest.approx(2000, abs=0.5)
    total_ms = sum(one.ms for one in board.openings)
    assert total_ms / MS_PER_MICROLITRE == pytest.approx(2000, rel=0.02)
    talk.say(
        TrialWord(
            uid="s/0",
            automatic_microlitre=3,
            limit_microlitre=3,
            extra={"window_s": 0.1},
        )
    )
    assert talk.hear("fault").reason == "MOST_SESSION_MICROLITRE is spent"
    talk.port.close()


def test_a_free_reward_is_told_as_what_it_was(plain: tuple[Plain, Board]) -> None:
    talk, board = plain
    shown = TrialWord(uid="s/0", right_microlitre=2, limit_microlitre=2)
    talk.say(shown)
    assert soon(lambda: board.was_high(STIMULUS))
    talk.say(RewardWord(uid="free/0", microlitre=6.0))
    board.sense(RIGHT_SENSOR)
    assert talk.hear("given").microlitre == 6.0
    assert talk.hear("happened").delivered_microlitre == 2.0
    talk.say(RewardWord(uid="free/0", microlitre=6.0))  # comes twice
    assert talk.hear("given").microlitre == 6.0
    assert len(board.openings) == 2
