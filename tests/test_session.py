"""Sessions under any sequence of messages, silences and restarts.

A hypothesis state machine drives a desk as subjects, a clock and a power cut
would, keeps its own short account of what was promised to whom, and compares.
"""

from collections import Counter
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from small_study import (
    Clock,
    hello,
    open_desk,
    run_one,
    send,
    snapshot,
)

from server.events import (
    Fact,
    Quarantined,
    Responded,
    SessionOpened,
)
from server.journal import Journal
from server.protocol import Ack, Alive, Assignment, Done, Refusal, Reply, Trial, Wait
from server.session import trial

LEASE_S = 30.0
answers = st.fixed_dictionaries(
    {"value": st.floats(-1, 1)}, optional={"reaction_time_s": st.floats(0, 5)}
) | st.sampled_from([{"outcome": "omission"}, {"outcome": "premature"}])


class Subjects(RuleBasedStateMachine):
    """Subjects with a will of their own, at one desk."""

    subjects = Bundle("subjects")
    sessions = Bundle("sessions")
    answered = Bundle("answered")

    def __init__(self) -> None:
        super().__init__()
        self.clock = Clock()
        # Without a disk: some hundred times as fast, and the same SQL.
        self.journal = Journal(":memory:", "small")
        self.desk = open_desk(self.journal, self.clock)
        self.facts: list[Fact] = []
        self.born = self.waits = 0
        self.acknowledged: dict[str, dict[str, Any]] = {}

    def teardown(self) -> None:
        self.restart()
        self.finish_the_study()
        self.journal.close()

    # --- what subjects do ------------------------------------------------------

    @rule(target=sessions)
    def a_new_subject_comes(self) -> str:
        self.born += 1
        return self._hello(f"mouse-{self.born}")

    @rule(target=sessions, number=st.integers(1, 20))
    def a_subject_comes_back(self, number: int) -> str:
        return self._hello(f"mouse-{min(number, self.born) or 1}")

    def _hello(self, subject: str) -> str:
        reply = hello(self.desk, subject)
        if isinstance(reply, Assignment):
            assert self._session(reply.session).opened.subject == subject
            return reply.session
        assert isinstance(reply, Wait | Done)
        if isinstance(reply, Done):
            assert reply.study == self.desk.state.finished
        return "none"

    @rule(target=answered, session=sessions, answer=answers, count=st.integers(1, 12))
    def it_responds(
        self, session: str, answer: dict[str, Any], count: int
    ) -> tuple[str, int, dict[str, Any]]:
        due = send(self.desk, "next", session=session)
        first = due.index if isinstance(due, Trial) else 0
        for _ in range(count):
            if not isinstance(due, Trial):
                break
            before = len(self._stored(Responded))
            reply = self._respond(session, due.index, answer)
            assert isinstance(reply, Ack)
            # On disk before it is acknowledged.
            stored = self._stored(Responded)
            assert len(stored) == before + 1
            assert stored[-1].trials == [due.index]
            assert stored[-1].values == [answer.get("value")]
            self.acknowledged[due.uid] = answer
            assert reply.done == (reply.next is None)
            due = reply.next
        return session, first, answer

    @rule(what=answered)
    def it_sends_a_response_again(self, what: tuple[str, int, dict[str, Any]]) -> None:
        session, index, answer = what
        if self.acknowledged.get(f"{session}/{index}") != answer:
            return
        before = self._stored(Responded, Quarantined)
        reply = self._respond(session, index, answer)
        assert isinstance(reply, Ack)
        assert reply.uid == f"{session}/{index}"
        assert self._stored(Responded, Quarantined) == before

    @rule(what=answered)
    def it_changes_its_mind(self, what: tuple[str, int, dict[str, Any]]) -> None:
        session, index, answer = what
        if f"{session}/{index}" not in self.acknowledged:
            return
        before = self._stored(Responded)
        other = answer | {"reaction_time_s": 9.0}
        reply = self._respond(session, index, other)
        assert isinstance(reply, Refusal)
        assert reply.error == "conflict"
        assert self._stored(Responded) == before
        kept = self._stored(Quarantined)[-1]
        assert kept.message["uid"] == f"{session}/{index}"
        assert kept.message["reaction_time_s"] == 9.0

    @rule(session=sessions, ahead=st.integers(1, 30))
    def it_responds_out_of_order(self, session: str, ahead: int) -> None:
        known = self.desk.state.sessions.get(session)
        index = ahead + (len(known.answers) if known else 0)
        before = self._stored(Responded, Quarantined)
        reply = self._respond(session, index, {"value": 0.0})
        assert isinstance(reply, Refusal)
        assert self._stored(Responded, Quarantined) == before

    @rule(session=sessions)
    def it_sends_a_heartbeat(self, session: str) -> None:
        reply = send(self.desk, "heartbeat", session=session)
        known = self.desk.state.sessions.get(session)
        expected = Refusal if known is None else Done if known.over else Alive
        assert isinstance(reply, expected)

    @rule(session=consumes(sessions))
    def it_gives_up(self, session: str) -> None:
        reply = send(self.desk, "abandon", session=session, reason="asleep")
        assert isinstance(reply, Done | Refusal)

    def _respond(self, session: str, index: int, answer: dict[str, Any]) -> Reply:
        uid = f"{session}/{index}"
        reply: Reply = send(self.desk, "respond", session=session, uid=uid, **answer)
        return reply

    # --- what the world does ---------------------------------------------------

    @rule(seconds=st.floats(0, 10))
    def time_passes(self, seconds: float) -> None:
        self.clock.now += seconds

    @rule()
    def all_fall_silent_for_longer_than_a_lease(self) -> None:
        send(self.desk, "heartbeat", session="none")  # after a restart leases run anew
        self.clock.now += LEASE_S + 1
        send(self.desk, "heartbeat", session="none")
        assert not any(s.status == "open" for s in self.desk.state.sessions.values())

    @rule(session=sessions)
    def its_connection_breaks(self, session: str) -> None:
        self.desk.disconnected(session)

    @rule()
    def restart(self) -> None:
        before = snapshot(self.desk.state)
        self.facts = []
        self.desk = open_desk(self.journal, self.clock)
        assert snapshot(self.desk.state) == before

    @precondition(lambda self: self.born > 3)
    @rule()
    def finish_the_study(self) -> None:
        """However it got there, newcomers can always bring it to its end."""
        done = False
        for number in range(50):
            name = f"late-{self.born}-{number}"
            done = done or run_one(self.desk.handle, name, sleep=self._wait).study
        self.born += 1
        assert done
        assert self.desk.state.finished

    def _wait(self, _: float) -> None:
        assert self.waits < 100, "no candidate ever comes free"
        self.waits += 1
        self.clock.now += LEASE_S + 1

    # --- what always holds -----------------------------------------------------

    @invariant()
    def each_trial_is_answered_once_and_in_order(self) -> None:
        next_trial: Counter[str] = Counter()
        for fact in self._stored(Responded):
            for index in fact.trials:
                assert index == next_trial[fact.session]
                next_trial[fact.session] += 1

    @invariant()
    def what_was_acknowledged_is_on_disk(self) -> None:
        stored = {
            f"{fact.session}/{fact.trials[0]}": fact.values[0]
            for fact in self._stored(Responded)
        }
        for uid, answer in self.acknowledged.items():
            assert stored[uid] == answer.get("value")

    @invariant()
    def no_candidate_is_with_two_subjects(self) -> None:
        """But for those that were lost and come back when it is scored already."""
        state = self.desk.state
        held = Counter(
            s.opened.candidate
            for s in state.sessions.values()
            if s.status == "open"
            and state.is_current(s.opened)
            and not state.scores.scored[state.place(s.opened)]
        )
        assert max(held.values(), default=1) == 1

    @invariant()
    def a_naive_subject_has_one_session(self) -> None:
        begun = Counter(fact.subject for fact in self._stored(SessionOpened))
        assert max(begun.values(), default=1) == 1

    @invariant()
    def the_study_can_go_on(self) -> None:
        state = self.desk.state
        held = [s for s in state.sessions.values() if s.status == "open"]
        assert state.finished or state.free() or held

    @invariant()
    def test_trials_carry_no_feedback(self) -> None:
        for session in self.desk.state.sessions.values():
            index = session.due
            if index is None or session.over:
                continue
            shown = trial(session, self.desk.state.study.labeller.space, index)
            training = index < session.opened.training_trials
            assert (shown.phase == "training") == training
            assert (shown.feedback is not None) == training

    def _stored(self, *kinds: type[Fact]) -> list[Any]:
        """Facts on disk, of which only the new ones are read."""
        new = self.journal.read(after=len(self.facts) - 1)
        self.facts += [event.fact for event in new]
        return [fact for fact in self.facts if isinstance(fact, kinds)]

    def _session(self, name: str) -> Any:
        return self.desk.state.sessions[name]


def test_sessions_survive_any_sequence_of_messages() -> None:
    run_state_machine_as_test(
        Subjects,
        settings=settings(
            max_examples=60,
            stateful_step_count=30,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
