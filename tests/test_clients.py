"""Clients: the session loop, the ways to carry messages, the adapters."""

import threading
from collections.abc import Callable
from typing import Any

import click
import pytest
import requests
from live_server import serving
from small_study import CHOICE, be_born, facts, hello, open_desk, send, small_study

import subject_clients.transport
from server.desk import Desk
from server.events import ClientSeen, Responded, SessionEnded, SessionOpened
from server.journal import Journal, JournalError
from server.protocol import (
    Ack,
    Alive,
    Assignment,
    Done,
    Refusal,
    Reply,
    Trial,
    Wait,
)
from subject_clients.adapter import Adapter, Answer, GiveUp
from subject_clients.catalogue import ADAPTERS, adapter_class
from subject_clients.loop import Refused, Subject
from subject_clients.simulated import Simulated, run_subjects
from subject_clients.terminal import Terminal
from subject_clients.transport import TRANSPORTS, InMemory

SESSION = "c0-g0-i0-a0"


def trial(index: int, label: float | None = None) -> Trial:
    """A trial of a session with two; training has a label."""
    return Trial(
        uid=f"{SESSION}/{index}",
        index=index,
        phase="test" if label is None else "training",
        x=[0.5],
        stimulus={"angle_deg": 45.0},
        feedback=None if label is None else {"label": label},
    )


def assignment(**changes: Any) -> Assignment:
    """A session of two trials."""
    plain: dict[str, Any] = {
        "protocol": 1,
        "session": SESSION,
        "response": "graded",
        "training_trials": 1,
        "test_trials": 1,
        "next_trial": 0,
        "lease_s": 40.0,
        "heartbeat_s": 10.0,
    }
    return Assignment(**plain | changes)


class Script:
    """A transport that says what it is told to, and remembers what it heard."""

    def __init__(self, *replies: Reply) -> None:
        self._replies = list(replies)
        self.heard: list[tuple[str, dict[str, Any]]] = []
        self.beats = threading.Semaphore(0)

    def send(self, kind: str, message: dict[str, Any]) -> Reply:
        if kind == "heartbeat":
            self.beats.release()
            return Alive(lease_s=40.0)
        self.heard.append((kind, message))
        return self._replies.pop(0)

    def close(self) -> None:
        pass


class Watcher:
    """Answers 0.25 to every trial, and gives up where it is told to."""

    simulated = False

    def __init__(self, give_up_at: int | None = None, reason: str = "thirsty") -> None:
        self.shown: list[Trial] = []
        self._give_up_at, self._reason = give_up_at, reason

    def begin(self, assignment: Assignment) -> None:
        assert assignment.session == SESSION

    def present(self, trial: Trial) -> Answer:
        if trial.index == self._give_up_at:
            raise GiveUp(self._reason)
        self.shown.append(trial)
        return Answer(value=0.25, reaction_time_s=0.5)


def run(adapter: Adapter, script: Script, **options: Any) -> Done:
    """One session of mouse-1."""
    return Subject("mouse-1", adapter, script, **options).run_session()


# --- the loop ------------------------------------------------------------------


def test_a_session_is_hello_next_and_responses() -> None:
    script = Script(
        assignment(),
        trial(0, 0.5),
        Ack(uid=f"{SESSION}/0", next=trial(1), done=False),
        Ack(uid=f"{SESSION}/1", next=None, done=True),
    )
    watcher = Watcher()
    done = run(watcher, script, token="sesame")
    assert not done.study
    assert [t.index for t in watcher.shown] == [0, 1]
    assert [kind for kind, _ in script.heard] == ["hello", "next", "respond", "respond"]
    assert all(message["token"] == "sesame" for _, message in script.heard)
    assert script.heard[0][1] == {
        "protocol": 1,
        "subject": "mouse-1",
        "simulated": False,
        "token": "sesame",
    }
    assert script.heard[3][1]["uid"] == f"{SESSION}/1"
    assert script.heard[3][1]["value"] == 0.25


def test_told_to_wait_it_waits_and_asks_again() -> None:
    slept: list[float] = []
    wait = Wait(retry_after_s=0.7, reason="full")
    over = Done(study=True, reason="the study is finished")
    assert run(Watcher(), Script(wait, wait, over), sleep=slept.append) == over
    assert slept == [0.7, 0.7]


def test_a_session_that_is_over_when_asked_for_its_trial() -> None:
    over = Done(study=False, reason="session finished")
    assert run(Watcher(), Script(assignment(), over)) == over


def test_a_refusal_is_raised_with_its_reason() -> None:
    refusal = Refusal(status=401, error="unauthorised", detail="a token is required")
    with pytest.raises(Refused, match=r"hello was refused .*: a token is required"):
        run(Watcher(), Script(refusal))


@pytest.mark.parametrize("reason", ["thirsty", "", "z" * 5000])
def test_an_adapter_that_gives_up_abandons_the_session(
    desk: Desk, journal: Journal, reason: str
) -> None:
    watcher = Watcher(give_up_at=1, reason=reason)
    done = Subject("mouse-1", watcher, InMemory(desk.handle)).run_session()
    assert "abandoned" in done.reason
    (ended,) = facts(journal, SessionEnded)
    assert ended.status == "abandoned"
    assert ended.reason.startswith(reason[:1000])
    assert len(facts(journal, Responded)) == 1


def test_the_lease_is_renewed_while_a_subject_takes_its_time() -> None:
    script = Script(
        assignment(heartbeat_s=0.001), trial(0), Done(study=False, reason="")
    )

    class Slow(Watcher):
        def present(self, _: Trial) -> Answer:
            for _beat in range(5):
                assert script.beats.acquire(timeout=10)
            raise GiveUp("enough")

    run(Slow(), script)
    assert threading.active_count() < 20  # and its thread is gone
    assert script.heard[-1][0] == "abandon"


def test_what_no_wire_can_carry_is_the_fault_of_the_adapter() -> None:
    class Wild(Watcher):
        def present(self, _: Trial) -> Answer:
            return Answer(value=float("nan"))

    with pytest.raises(ValueError, match="not JSON compliant"):
        run(Wild(), Script(assignment(), trial(0, 0.5)))


# --- transports ----------------------------------------------------------------


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Time that passes only when a transport waits."""
    waits: list[float] = []

    class Time:
        sleep = waits.append

        @staticmethod
        def monotonic() -> float:
            return sum(waits)

    monkeypatch.setattr(subject_clients.transport, "time", Time)
    return waits


@pytest.mark.parametrize("name", TRANSPORTS)
def test_a_server_that_stays_away_is_given_up(
    name: str, impatient: list[float]
) -> None:
    wire = TRANSPORTS[name]("http://127.0.0.1:9", patience_s=2.0)
    with pytest.raises(
        ConnectionError, match=r"no answer from http://127\.0\.0\.1:9 for 2"
    ):
        wire.send("hello", {})
    assert 2.0 <= sum(impatient) < 3.0
    wire.close()


@pytest.mark.parametrize("name", TRANSPORTS)
def test_a_message_is_sent_until_it_is_stored(
    journal: Journal,
    name: str,
    impatient: list[float],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    desk = open_desk(journal)
    append, failures = desk._journal.append, [JournalError("full")] * 3

    def sometimes(*args: Any) -> Any:
        if failures:
            raise failures.pop()
        return append(*args)

    monkeypatch.setattr(desk._journal, "append", sometimes)
    with serving(desk) as url:
        wire = TRANSPORTS[name](url, patience_s=10.0)
        reply = wire.send("hello", {"protocol": 1, "subject": "mouse-1"})
        wire.close()
    assert isinstance(reply, Assignment)
    assert len(impatient) == 3
    assert len(facts(journal, SessionOpened)) == 1


def test_an_answer_that_is_no_reply_counts_as_none(
    monkeypatch: pytest.MonkeyPatch, impatient: list[float]
) -> None:
    """As from a proxy whose server is away, or from another program at that port."""
    pages = [
        b"<html>Bad gateway</html>",
        b"[]",
        b'{"type": "pizza"}',
        b'{"type": "done"}',
    ]
    good = b'{"type": "done", "study": true, "reason": "over"}'

    def post(*_: Any, **__: Any) -> requests.Response:
        response = requests.Response()
        response._content = pages.pop(0) if pages else good
        return response

    monkeypatch.setattr(requests.Session, "post", post)
    wire = TRANSPORTS["http"]("http://127.0.0.1:9", patience_s=10.0)
    assert wire.send("hello", {}) == Done(study=True, reason="over")
    assert len(impatient) == 4
    wire.close()


@pytest.mark.parametrize("name", TRANSPORTS)
def test_a_client_may_hang_up_and_go_on(
    desk: Desk, journal: Journal, name: str
) -> None:
    with serving(desk) as url:
        wire = TRANSPORTS[name](url, patience_s=10.0)
        message = {"protocol": 1, "subject": "mouse-1"}
        first = wire.send("hello", message)
        wire.close()
        wire.close()
        assert wire.send("hello", message) == first
        wire.close()
    seen = [fact.what for fact in facts(journal, ClientSeen)]
    assert "returned" in seen


def test_in_memory_nothing_crosses_that_a_wire_would_refuse(desk: Desk) -> None:
    wire = InMemory(desk.handle)
    with pytest.raises((TypeError, ValueError)):
        wire.send("hello", {"protocol": 1, "subject": "m", "capabilities": {1j: 1}})
    with pytest.raises((TypeError, ValueError)):
        wire.send("hello", {"protocol": 1, "subject": object()})


# --- adapters ------------------------------------------------------------------


@pytest.mark.parametrize("name", ADAPTERS)
def test_each_adapter_can_be_had_by_its_name(name: str) -> None:
    adapter = adapter_class(name)
    assert isinstance(adapter.simulated, bool)
    assert callable(adapter.begin)
    assert callable(adapter.present)


def test_a_simulated_subject_learns_what_it_was_shown() -> None:
    """Its answers follow the labels of the training, not those of another's."""
    answers = []
    for sign in (1.0, -1.0):
        subject = be_born(small_study())
        subject.begin(assignment(training_trials=6))
        for i in range(6):
            x = [i / 3 - 1, 0.3, 0.1]
            shown = trial(i, label=sign * x[0]).model_copy(update={"x": x})
            assert subject.present(shown).value is None  # it just watches
        asked = trial(6).model_copy(update={"x": [0.9, 0.3, 0.1]})
        answers.append(subject.present(asked).value)
        assert subject.present(asked).value == answers[-1]
    assert answers[0] is not None
    assert answers[1] == pytest.approx(-answers[0], abs=1e-5)
    assert answers[0] > 0.5


def test_a_trial_shown_again_is_watched_once() -> None:
    once, twice = be_born(small_study()), be_born(small_study())
    for subject, repeats in ((once, 1), (twice, 2)):
        subject.begin(assignment(training_trials=2))
        for i in range(2):
            for _ in range(repeats):
                subject.present(
                    trial(i, 0.5 - i).model_copy(update={"x": [1.0, i, 0.0]})
                )
    asked = trial(2).model_copy(update={"x": [0.0, 1.0, 0.0]})
    assert once.present(asked) == twice.present(asked)


def test_a_simulated_subject_resumes_only_what_it_has_seen() -> None:
    subject = be_born(small_study())
    with pytest.raises(GiveUp):
        subject.begin(assignment(next_trial=3))
    subject.begin(assignment())
    subject.present(trial(0, 0.5))
    subject.begin(assignment(next_trial=1))  # it remembers


def test_subjects_stop_at_the_first_fault_of_any(desk: Desk) -> None:
    """Rather than wait for ever for the generation of one that is gone."""

    class Broken(Simulated):
        def present(self, _: Trial) -> Answer:
            raise ZeroDivisionError

    def born_broken(group: str) -> Simulated:
        study = small_study()
        return Broken(study.learners[group], study.responses, study.seed)

    with pytest.raises(ZeroDivisionError):
        run_subjects("sim", 2, born_broken, lambda: InMemory(desk.handle))


def test_many_subjects_at_once_finish_the_study(desk: Desk, journal: Journal) -> None:
    run_subjects(
        "sim",
        3,
        lambda group: be_born(small_study(), group),
        lambda: InMemory(desk.handle),
    )
    assert desk.state.finished
    names = [fact.subject for fact in facts(journal, SessionOpened)]
    assert len(names) == len(set(names)) == 8


class Typed:
    """A person at a terminal who types what is given."""

    def __init__(self, *typed: Any) -> None:
        self._typed = list(typed)

    def __call__(self, prompt: str) -> str:
        print(prompt)
        what = self._typed.pop(0)
        if isinstance(what, type):
            raise what
        return str(what)


Person = Callable[..., Terminal]


@pytest.fixture
def person(monkeypatch: pytest.MonkeyPatch) -> Person:
    """Makes a terminal with a person at it."""

    def sit_down(*typed: Any) -> Terminal:
        monkeypatch.setattr(click.termui, "visible_prompt_func", Typed(*typed))
        return Terminal()

    return sit_down


def test_a_person_is_asked_until_the_answer_is_one(
    person: Person, capsys: pytest.CaptureFixture[str]
) -> None:
    terminal = person("seven", "1.01", "nan", "-0.5")
    terminal.begin(assignment())
    answer = terminal.present(trial(0, label=0.125))
    assert answer.value == -0.5
    assert answer.reaction_time_s is not None
    assert answer.reaction_time_s >= 0
    out = capsys.readouterr().out
    assert "angle_deg 45.0" in out
    assert "label: 0.125" in out


def test_a_person_chooses_left_or_right(person: Person) -> None:
    terminal = person("x", "l", "r")
    terminal.begin(assignment(response="choice"))
    assert terminal.present(trial(0, 0.5)).value == -1.0
    assert terminal.present(trial(1)).value == 1.0


@pytest.mark.parametrize("interrupt", [KeyboardInterrupt, EOFError])
def test_ctrl_c_at_the_prompt_abandons_the_session(
    desk: Desk, journal: Journal, person: Person, interrupt: type[BaseException]
) -> None:
    terminal = person("0.5", "0.5", interrupt)
    Subject("p01", terminal, InMemory(desk.handle)).run_session()
    (ended,) = facts(journal, SessionEnded)
    assert (ended.status, ended.reason) == ("abandoned", "left at the terminal")
    assert len(facts(journal, Responded)) == 2
    assert hello(desk, "p02").session == "c0-g0-i0-a1"


def test_a_person_sees_no_label_in_the_test(
    journal: Journal, person: Person, capsys: pytest.CaptureFixture[str]
) -> None:
    desk = open_desk(journal, study=small_study(CHOICE))
    terminal = person(*["l"] * 18)
    Subject("p01", terminal, InMemory(desk.handle)).run_session()
    assert capsys.readouterr().out.count("rewarded:") == 6
    session = facts(journal, SessionOpened)[0].session
    assert isinstance(send(desk, "next", session=session), Done)
