"""A live study that limits what its animals are given, over all studies and rigs."""

from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from small_study import Clock, facts, hello, open_desk, send, small_study, snapshot
from small_study import study_text as text_of

from server.desk import Desk
from server.events import (
    AlarmRaised,
    Responded,
    RewardGiven,
    RuleFired,
    SessionEnded,
    SessionOpened,
)
from server.holds import Holds
from server.journal import Journal, JournalError
from server.ledger import Ledger
from server.protocol import Assignment, Noted
from server.safety import day_start
from server.study import replay

DAY_S = 86_400.0
TRIAL, SESSION, DAY = 3.0, 10.0, 14.0
CAPS = f"""
[safety]
trial_microlitre = {TRIAL}
session_microlitre = {SESSION}
day_microlitre = {DAY}
trial_s = 10.0
"""


def text(more: str = "", name: str = "small") -> str:
    """The small study with limits, and more lines in their section."""
    return text_of(responses=CAPS + more).replace('"small"', f'"{name}"')


class Lab(NamedTuple):
    """A live study with its journal, and a clock at noon."""

    desk: Desk
    journal: Journal
    clock: Clock

    def come(self, subject: str = "mouse-1", **more: Any) -> str:
        """A subject that weighs enough begins a session."""
        self.weigh(subject)
        reply = hello(self.desk, subject, **more)
        assert isinstance(reply, Assignment), reply
        return reply.session

    def weigh(self, subject: str = "mouse-1", grams: float = 24.0) -> Any:
        """It is weighed; at free water it had 25 g."""
        return send(
            self.desk, "weigh", subject=subject, grams=grams, baseline_grams=25.0
        )

    def due(self, session: str) -> Any:
        """The trial that is due."""
        return send(self.desk, "next", session=session)

    def answer(self, session: str, microlitre: float = 0.0, **more: Any) -> Any:
        """A response to it, with what the rig gave."""
        index = len(self.desk.state.sessions[session].answers)
        reward = {"reward": {"microlitre": microlitre}} if microlitre else {}
        message = {"session": session, "uid": f"{session}/{index}", "value": 0.5}
        return self.desk.handle("respond", message | reward | more)

    def give(self, session: str, uid: str, microlitre: float) -> Any:
        """The rig reports a free reward."""
        reward = {"microlitre": microlitre, "how": "free"}
        return send(self.desk, "rewarded", session=session, uid=uid, reward=reward)

    def breaches(self) -> list[str]:
        """What the journal says was outside a limit."""
        alarms = facts(self.journal, AlarmRaised)
        return [alarm.detail for alarm in alarms if alarm.name == "breach"]


@contextmanager
def opened(
    folder: Path, clock: Clock | None = None, more: str = "", name: str = "small"
) -> Iterator[Lab]:
    """A live study in the database of a folder; closed in the end."""
    if clock is None:
        clock = Clock()
        clock.now = day_start(1_700_000_000.0) + DAY_S / 2
    study = small_study(text(more, name))
    with closing(Journal(folder / "lab.db", name)) as journal:
        yield Lab(open_desk(journal, clock, study=study, mode="live"), journal, clock)


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Lab]:
    with opened(tmp_path) as one:
        yield one


def ledger(lab: Lab, subject: str = "mouse-1") -> float:
    """What the database says a subject was given today."""
    return Ledger(lab.journal.engine).given(subject, day_start(lab.clock.now))


# --- grants --------------------------------------------------------------------


def test_grants_shrink_with_what_was_given(lab: Lab) -> None:
    session = lab.come()
    granted = []
    trial = lab.due(session)
    while trial:
        granted.append(trial.grant.max_microlitre)
        assert trial.grant.valid_s == 10.0
        trial = lab.answer(session, trial.grant.max_microlitre).next
    assert granted == [3.0, 3.0, 3.0, 1.0] + [0.0] * 8
    assert ledger(lab) == SESSION
    assert not lab.breaches()


def test_what_was_promised_is_not_granted(lab: Lab) -> None:
    session = lab.come()
    for _ in range(2):
        lab.answer(session, TRIAL)
    order = {"session": session, "reason": "well done"}
    refused = send(lab.desk, "give_reward", microlitre=1.5, **order)
    assert (refused.status, refused.error) == (409, "cap")
    assert "6 of 10 given in this session" in refused.detail
    assert isinstance(send(lab.desk, "give_reward", microlitre=1.0, **order), Noted)
    assert lab.due(session).grant.max_microlitre == TRIAL  # 10 - 6 - 1
    refused = send(lab.desk, "give_reward", microlitre=0.5, **order)
    assert refused.error == "cap"  # the grant of the trial under way comes first
    (wish,) = send(lab.desk, "heartbeat", session=session).rewards
    lab.answer(session, TRIAL)
    lab.give(session, wish.uid, wish.microlitre)
    assert lab.due(session).grant.max_microlitre == 0
    assert ledger(lab) == SESSION
    assert not lab.breaches()


steps = st.lists(st.tuples(st.floats(0, 1), st.floats(0.001, 4)), max_size=12)


@settings(max_examples=8, deadline=None)
@given(first=steps, second=steps)
def test_no_cap_is_ever_passed_over_two_studies_and_a_restart(
    tmp_path_factory: pytest.TempPathFactory,
    first: list[tuple[float, float]],
    second: list[tuple[float, float]],
) -> None:
    """A rig that keeps to its grants and an operator who asks for more."""
    folder = tmp_path_factory.mktemp("lab")
    clock, total = None, 0.0
    for name, moves in (("small", first), ("other", second)):
        with opened(folder, clock, name=name) as lab:
            session, clock = lab.come(), lab.clock
            of_session = _play(lab, session, moves[:6])
        with opened(folder, clock, name=name) as lab:
            of_session += _play(lab, session, moves[6:])
            send(lab.desk, "abandon", session=session, reason="home")
            total += of_session
            assert of_session <= SESSION + 1e-6
            assert total <= DAY + 1e-6
            assert ledger(lab) == pytest.approx(total)
            assert not lab.breaches()


def _play(lab: Lab, session: str, moves: list[tuple[float, float]]) -> float:
    """Some share of each grant is given, and each wish that was not refused."""
    given = 0.0
    for share, wish in moves:
        trial = lab.due(session)
        if lab.due(session).type != "trial":
            break
        assert trial.grant.max_microlitre <= TRIAL
        earned = round(share * trial.grant.max_microlitre, 3)
        order = {"session": session, "microlitre": wish, "reason": "x"}
        wished = isinstance(send(lab.desk, "give_reward", **order), Noted)
        lab.answer(session, min(earned, trial.grant.max_microlitre))
        given += min(earned, trial.grant.max_microlitre)
        if wished:
            (free,) = send(lab.desk, "heartbeat", session=session).rewards
            lab.give(session, free.uid, free.microlitre)
            given += free.microlitre
    return given


def test_the_day_is_over_all_studies_and_ends_at_midnight(tmp_path: Path) -> None:
    with opened(tmp_path) as lab:
        session = lab.come()
        for _ in range(12):
            lab.answer(session, lab.due(session).grant.max_microlitre)
        with opened(tmp_path, lab.clock, name="other") as other:
            second = other.come()
            for expected in (3.0, 1.0, 0.0):
                assert other.due(second).grant.max_microlitre == expected
                other.answer(second, expected)
            assert ledger(other) == DAY
            lab.clock.now += DAY_S
            assert ledger(other) == 0
            # Of the session of yesterday 6 are left, of today all.
            for expected in (3.0, 3.0, 0.0):
                assert other.due(second).grant.max_microlitre == expected
                other.answer(second, expected)
            assert not other.breaches()


def test_what_was_given_is_known_after_a_restart(tmp_path: Path) -> None:
    with opened(tmp_path) as lab:
        session = lab.come()
        lab.answer(session, 3.0)
        lab.give(session, "by-hand", 2.5)
        lab.give(session, "by-hand", 2.5)  # sent again
        lab.answer(session, 3.0)
        before = snapshot(lab.desk.state)
        assert lab.due(session).grant.max_microlitre == 1.5
    with opened(tmp_path, lab.clock) as lab:
        assert snapshot(lab.desk.state) == before
        assert lab.due(session).grant.max_microlitre == 1.5
        again: Any = {"uid": f"{session}/1", "reward": {"microlitre": 3.0}}
        assert lab.answer(session, **again).next
        lab.give(session, "by-hand", 2.5)
        assert ledger(lab) == 8.5
        assert len(facts(lab.journal, RewardGiven)) == 1
        history = Ledger(lab.journal.engine).history("mouse-1")
        assert [g.granted for g in history.rewards] == [True, False, True]


# --- breaches ------------------------------------------------------------------


def test_a_breach_is_stored_counted_and_told(lab: Lab) -> None:
    session = lab.come()
    assert lab.answer(session, 5.0).next
    (detail,) = lab.breaches()
    assert "the grant allowed 3" in detail
    assert facts(lab.journal, Responded)[0].rewards[0]["microlitre"] == 5.0
    assert lab.due(session).grant.max_microlitre == TRIAL
    lab.answer(session, 3.0)
    assert lab.due(session).grant.max_microlitre == 2.0  # it counts
    assert ledger(lab) == 8.0
    seen = lab.desk.look()
    assert seen
    assert [(b.subject, b.detail) for b in seen[0].breaches] == [("mouse-1", detail)]
    lab.clock.now += DAY_S
    seen = lab.desk.look()
    assert seen
    assert not seen[0].breaches  # of yesterday


def test_a_reward_that_comes_after_its_grant_is_a_breach(lab: Lab) -> None:
    session = lab.come()
    lab.answer(session, 1.0, clocks={"reward_after_s": 9.0})
    assert not lab.breaches()
    lab.answer(session, 1.0, clocks={"reward_after_s": 11.0})
    assert "11 s after a grant of 10 s" in lab.breaches()[0]


def test_two_rewards_on_one_grant_are_a_breach(lab: Lab) -> None:
    session = lab.come()
    send(
        lab.desk,
        "rewarded",
        session=session,
        uid="valve-stuck",
        reward={"microlitre": 1.0, "how": "automatic"},
    )
    lab.answer(session, 1.0)
    assert "number 2 on one grant" in lab.breaches()[-1]


def test_a_reward_after_an_emergency_stop_is_a_breach(lab: Lab) -> None:
    """However small: the rig was to be dry."""
    session = lab.come()
    send(lab.desk, "stop", session=session, reason="fire", emergency=True)
    assert lab.answer(session, 1.0).done
    assert "emergency" in lab.breaches()[0]
    assert ledger(lab) == 1.0


def test_a_breach_in_the_trial_of_a_stop_is_told_too(lab: Lab) -> None:
    session = lab.come()
    send(lab.desk, "stop", session=session, reason="valve stuck", emergency=True)
    assert lab.answer(session, 9.0).done
    assert "the grant allowed 3" in lab.breaches()[0]
    assert ledger(lab) == 9.0
    assert len(facts(lab.journal, SessionEnded)) == 1


def test_a_subject_that_goes_on_at_another_rig_is_let_in(tmp_path: Path) -> None:
    """Its session at the first was lost: what that holds is free once it is over."""
    more = text_of(study='exposure = "carry_over"', session="shared_stimuli = false")
    with closing(Journal(tmp_path / "lab.db", "small")) as journal:
        clock = Clock()
        clock.now = day_start(1_700_000_000.0) + DAY_S / 2
        study = small_study(more + CAPS)
        lab = Lab(open_desk(journal, clock, study=study, mode="live"), journal, clock)
        first = lab.come(rig="box-1")
        clock.now += 31.0
        assert hello(lab.desk, "mouse-1", rig="box-2").type == "wait"
        second = hello(lab.desk, "mouse-1", rig="box-2").session
        assert lab.desk.state.sessions[first].status == "abandoned"
        assert lab.desk.state.sessions[second].opened.rig == "box-2"


def test_a_grant_of_before_a_restart_still_counts(tmp_path: Path) -> None:
    """The animal may get it yet: no other grant may rely on it."""
    with opened(tmp_path) as lab:
        clock, session = lab.clock, lab.come()
        lab.due(session)
    with opened(tmp_path, clock) as lab:
        guard = lab.desk._guard
        elsewhere = replace(
            lab.desk.state.sessions[session],
            opened=replace(lab.desk.state.sessions[session].opened, session="another"),
        )
        assert guard._granted_elsewhere(elsewhere) == TRIAL
        clock.now += 11.0  # it ran out
        assert guard._granted_elsewhere(elsewhere) == 0


def test_no_listener_keeps_a_reply_or_a_place_from_anyone(lab: Lab) -> None:
    """What is stored is acknowledged; an animal is free when its session is over."""

    def fail(_: Any) -> None:
        raise RuntimeError("no room on the socket")

    session = lab.come()
    lab.desk.told = fail
    assert lab.answer(session).type == "ack"
    reply = send(lab.desk, "abandon", session=session, reason="home")
    assert reply.type == "done"
    assert Holds(lab.journal.engine).held("subject", "mouse-1") is None


# --- weights -------------------------------------------------------------------


def test_an_animal_too_light_begins_nothing(lab: Lab) -> None:
    refused = hello(lab.desk, "mouse-1")
    assert (refused.status, refused.error) == (403, "weight")
    assert "no weight is known" in refused.detail
    lab.weigh(grams=19.9)  # 79.6 % of 25
    assert "79.6%" in hello(lab.desk, "mouse-1").detail
    assert "+21%" in lab.weigh(grams=24.0).detail  # another animal, or the scale?
    lab.clock.now += DAY_S + 1
    assert "weigh the animal again" in hello(lab.desk, "mouse-1").detail
    assert not facts(lab.journal, SessionOpened)
    lab.weigh()
    assert isinstance(hello(lab.desk, "mouse-1"), Assignment)


def test_a_weight_is_known_to_the_other_study(tmp_path: Path) -> None:
    with opened(tmp_path) as lab, opened(tmp_path, lab.clock, name="other") as other:
        lab.weigh()
        assert isinstance(hello(other.desk, "mouse-1"), Assignment)


# --- rules ---------------------------------------------------------------------

FOUR_TRIALS = 'session_trials = 4\nrules = ["trials"]\n'


def test_a_rule_that_advises_fires_once_and_ends_nothing(tmp_path: Path) -> None:
    with opened(tmp_path, more=FOUR_TRIALS) as lab:
        session = lab.come()
        acks = [lab.answer(session) for _ in range(12)]
        assert [ack.done for ack in acks] == [False] * 11 + [True]
        (fired,) = facts(lab.journal, RuleFired)
        assert (fired.session, fired.trial, fired.rule) == (session, 3, "trials")
        assert not fired.acted
        assert facts(lab.journal, SessionEnded)[0].status == "finished"


def test_a_rule_that_acts_ends_the_session(tmp_path: Path) -> None:
    with opened(tmp_path, more=FOUR_TRIALS + 'act = "stop"\n') as lab:
        session = lab.come()
        acks = [lab.answer(session, 1.0) for _ in range(4)]
        assert [ack.done for ack in acks] == [False, False, False, True]
        assert acks[-1].next is None
        (fired,) = facts(lab.journal, RuleFired)
        assert (fired.trial, fired.acted) == (3, True)
        assert fired.detail == "4 trials of 4"
        (ended,) = facts(lab.journal, SessionEnded)
        assert (ended.status, ended.error) == ("abandoned", None)
        assert "trials" in ended.reason
        assert ledger(lab) == 4.0
        assert hello(lab.desk, "mouse-1").type == "done"
        # Its last response is acknowledged again, as any.
        again: Any = {"uid": f"{session}/3", "reward": {"microlitre": 1.0}}
        assert lab.answer(session, **again) == acks[-1]
        study = small_study(text(FOUR_TRIALS + 'act = "stop"\n'))
        state = replay(study, facts(lab.journal))
        assert snapshot(state) == snapshot(lab.desk.state)


# --- one place at a time -------------------------------------------------------


def test_a_subject_is_in_one_study_at_a_time(tmp_path: Path) -> None:
    with opened(tmp_path) as lab, opened(tmp_path, lab.clock, name="other") as other:
        session = lab.come()
        refused = hello(other.desk, "mouse-1")
        assert (refused.status, refused.error) == (409, "subject_busy")
        assert f"session {session} of study small" in refused.detail
        assert isinstance(hello(lab.desk, "mouse-1"), Assignment)  # its own goes on
        lab.clock.now += 31.0  # silent, but it may come back
        send(lab.desk, "heartbeat", session="none")
        assert lab.desk.state.sessions[session].status == "lost"
        assert hello(other.desk, "mouse-1").error == "subject_busy"
        send(lab.desk, "abandon", session=session, reason="home")
        assert isinstance(hello(other.desk, "mouse-1"), Assignment)
        assert not facts(lab.journal, SessionOpened)[1:]


def test_a_rig_has_one_subject_at_a_time(tmp_path: Path) -> None:
    with opened(tmp_path) as lab, opened(tmp_path, lab.clock, name="other") as other:
        session = lab.come("mouse-1", rig="rig-1")
        for one in (lab, other):
            one.weigh("mouse-2")
            refused = hello(one.desk, "mouse-2", rig="rig-1")
            assert (refused.status, refused.error) == (409, "rig_busy")
            assert not facts(one.journal, SessionOpened)[one is lab :]
        elsewhere = hello(lab.desk, "mouse-1", rig="rig-2")
        assert elsewhere.error == "subject_busy"
        lab.come("mouse-3", rig="rig-2")
        for _ in range(12):
            lab.answer(session)
        assert other.come("mouse-2", rig="rig-1")


def test_who_is_where_is_known_after_a_restart(tmp_path: Path) -> None:
    with opened(tmp_path, name="other") as other:
        clock = other.clock
        with opened(tmp_path, clock) as lab:
            session = lab.come(rig="rig-1")
        with opened(tmp_path, clock) as lab:
            for who in ({"subject": "mouse-1"}, {"subject": "mouse-2", "rig": "rig-1"}):
                other.weigh(who["subject"])
                assert hello(other.desk, **who).status == 409
            send(lab.desk, "drop_out", subject="mouse-1", reason="ill")
            assert lab.desk.state.sessions[session].status == "abandoned"
            assert other.come("mouse-2", rig="rig-1")


def test_what_cannot_be_given_back_at_once_is_given_back_later(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The end of a session is recorded whatever becomes of the look-up tables."""
    session = lab.come(rig="rig-1")

    def full(*_: Any) -> None:
        raise JournalError("database or disk is full")

    with monkeypatch.context() as patch:
        patch.setattr(Holds, "release", full)
        for _ in range(12):
            lab.answer(session)
    assert [end.session for end in facts(lab.journal, SessionEnded)] == [session]
    assert lab.come("mouse-2", rig="rig-1")


def test_a_rehearsal_weighs_and_holds_nobody(tmp_path: Path) -> None:
    study = small_study(text())
    with closing(Journal(tmp_path / "lab.db", "small")) as journal:
        desk = open_desk(journal, study=study)
        session = hello(desk, "sim-1", simulated=True).session
        assert send(desk, "next", session=session).grant.max_microlitre == TRIAL
        uid, reward = f"{session}/0", {"microlitre": TRIAL}
        send(desk, "respond", session=session, uid=uid, value=0.5, reward=reward)
        assert Ledger(journal.engine).given("sim-1", 0.0) == 0
        assert Holds(journal.engine).held("subject", "sim-1") is None
