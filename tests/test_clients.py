"""Clients: the ways to carry messages, and the adapters."""

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import click
import flask
import flask_socketio
import pytest
import requests
from live_server import serving
from scripted import Rig, assignment, trial
from small_study import CHOICE, be_born, facts, hello, open_desk, send, small_study
from werkzeug.serving import make_server

import subject_clients.transport
from server.desk import Desk
from server.events import ClientSeen, Responded, SessionEnded, SessionOpened
from server.journal import Journal, JournalError
from server.protocol import Assignment, Control, Done, Trial
from subject_clients.adapter import Answer, GiveUp
from subject_clients.loop import Subject
from subject_clients.simulated import Simulated, run_subjects
from subject_clients.terminal import Terminal
from subject_clients.transport import TRANSPORTS, InMemory

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


@pytest.mark.parametrize(("status", "paused_s"), [(429, [1.0] * 3), (503, [0.2] * 3)])
def test_refusals_that_pass_are_waited_for(
    monkeypatch: pytest.MonkeyPatch,
    impatient: list[float],
    status: int,
    paused_s: list[float],
) -> None:
    busy = f'{{"type": "refusal", "status": {status}, "error": "e", "detail": "d"}}'
    pages = [busy.encode()] * 3

    def post(*_: Any, **__: Any) -> requests.Response:
        response = requests.Response()
        good = b'{"type": "done", "study": true, "reason": "over"}'
        response._content = pages.pop(0) if pages else good
        return response

    monkeypatch.setattr(requests.Session, "post", post)
    wire = TRANSPORTS["http"]("http://127.0.0.1:9", patience_s=10.0)
    assert isinstance(wire.send("hello", {}), Done)
    assert impatient == paused_s
    wire.close()


@pytest.fixture
def echo() -> Iterator[str]:
    """A server that answers with the study that it was asked for, and pushes."""
    app = flask.Flask("echo")
    socketio = flask_socketio.SocketIO(app, async_mode="threading")

    def answer(*_: Any, **__: Any) -> dict[str, Any]:
        study = flask.request.args.get("study", "none")
        return {"type": "noted", "detail": f"{flask.request.path} {study}"}

    def answer_and_push(*_: Any) -> dict[str, Any]:
        flask_socketio.emit("control", {"some": "thing of a later release"})
        pushed = Control(session="c0-g0-i0-a0", what="reward")
        flask_socketio.emit("control", pushed.model_dump())
        return answer()

    app.post("/prefix/api/v1/<kind>")(answer)
    app.post("/api/v1/<kind>")(answer)
    socketio.on_event("hello", answer_and_push)
    server = make_server("127.0.0.1", 0, app, threaded=True)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.mark.parametrize("name", TRANSPORTS)
def test_a_url_may_name_the_study(echo: str, name: str) -> None:
    for url, expected in (
        (f"{echo}?study=apple", "apple"),
        (f"{echo}/?study=apple", "apple"),
        (f"{echo}/", "none"),
    ):
        wire = TRANSPORTS[name](url, patience_s=5.0)
        assert getattr(wire.send("hello", {}), "detail", "").split()[1] == expected
        wire.close()


def test_http_keeps_the_path_of_a_url(echo: str) -> None:
    wire = TRANSPORTS["http"](f"{echo}/prefix/?study=pear", patience_s=5.0)
    reply = wire.send("next", {})
    assert getattr(reply, "detail", "") == "/prefix/api/v1/next pear"
    wire.close()


def test_what_a_server_pushes_is_heard(
    echo: str, caplog: pytest.LogCaptureFixture
) -> None:
    heard: list[Control] = []
    arrived = threading.Event()

    def hear(control: Control) -> None:
        heard.append(control)
        arrived.set()

    wire = TRANSPORTS["socket"](echo, patience_s=5.0)
    wire.send("hello", {})  # nobody listens yet
    wire.listen(hear)
    wire.close()
    wire.send("hello", {})  # over another connection
    assert arrived.wait(10)
    wire.close()
    assert heard == [Control(session="c0-g0-i0-a0", what="reward")]
    assert "does not know" in caplog.text


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


class InTrial(Rig):
    """A rig whose first trial lasts until it is told what it waits for."""

    def __init__(self, told: str) -> None:
        super().__init__()
        self.in_trial = threading.Event()
        self._told = told

    def begin(self, assignment: Assignment) -> None:
        self.session = assignment.session

    def present(self, trial: Trial) -> Answer:
        self.in_trial.set()
        assert getattr(self, self._told).wait(5)  # sooner than a heartbeat would be
        return super().present(trial)


@pytest.mark.parametrize("order", ["stop", "give_reward"])
def test_orders_reach_a_rig_within_its_trial(
    desk: Desk, journal: Journal, order: str
) -> None:
    """Over Socket.IO at once: a heartbeat would take 7.5 s."""
    stop = order == "stop"
    rig = InTrial("is_safe" if stop else "was_given")
    what = {"emergency": True} if stop else {"microlitre": 2.5}
    with serving(desk) as url, ThreadPoolExecutor() as pool:
        wire = TRANSPORTS["socket"](url, patience_s=10.0)
        done = pool.submit(Subject("mouse-1", rig, wire).run_session)
        assert rig.in_trial.wait(10)
        reply = send(desk, order, session=rig.session, reason="thirst", **what)
        assert reply.type == "noted"
        assert done.result(20).emergency == stop
        wire.close()
    assert rig.given == ([] if stop else [2.5])
    assert len(rig.safe) == stop
    assert len(facts(journal, Responded)) == (1 if stop else 12)


# --- adapters ------------------------------------------------------------------


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
