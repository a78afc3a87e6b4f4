"""OSC and ZeroMQ: the example programs as peers, over real sockets."""

import contextlib
import json
import logging
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import zmq
from board import soon
from bridge_peers import Fate, Relay, free_port, peer
from pythonosc.osc_message_builder import OscMessageBuilder
from pythonosc.osc_packet import OscPacket

from subject_clients.rig import bridge
from subject_clients.rig.adapter import RigFault
from subject_clients.rig.bridge import BridgeRig
from subject_clients.rig.osc import Osc
from subject_clients.rig.self_check import BEHAVIOURS, Behaviour, SelfCheck
from subject_clients.rig.zeromq import ZeroMq
from subject_clients.tasks.trial import Poke, Reinforcer, RigTrial
from subject_clients.tasks.two_port import TwoPort

Opened = Callable[..., BridgeRig]


def always(_: int, __: bytes) -> int:
    """A good network."""
    return 1


def trial(uid: str = "s/0", valid_s: float = 20.0) -> RigTrial:
    pays = Reinforcer(3.0)
    return RigTrial(uid, 0, True, {}, pays, pays, limit_microlitre=3.0, valid_s=valid_s)


@pytest.fixture
def held() -> Iterator[contextlib.ExitStack]:
    with contextlib.ExitStack() as stack:
        yield stack


def over_osc(
    held: contextlib.ExitStack,
    log: Path | str = "",
    to: Fate = always,
    back: Fate = always,
    **options: Any,
) -> BridgeRig:
    """The OSC peer behind a relay."""
    rig_port, client_port = free_port(), free_port()
    relay = Relay(rig_port, client_port, to, back)
    held.callback(relay.close)
    held.enter_context(
        peer("osc_peer.py", rig_port, relay.back_port, *([log] * bool(log)))
    )
    section = Osc(port=relay.port, listen_port=client_port, response_s=0.3, **options)
    rig = section.open()
    held.callback(rig.close)
    return rig


def over_zeromq(
    held: contextlib.ExitStack, log: Path | str = "", **options: Any
) -> BridgeRig:
    """The ZeroMQ peer."""
    address = f"tcp://127.0.0.1:{free_port(socket.SOCK_STREAM)}"
    held.enter_context(peer("zeromq_peer.py", address, *([log] * bool(log))))
    rig = ZeroMq(address=address, response_s=0.3, **options).open()
    held.callback(rig.close)
    return rig


# --- whole self-checks ---------------------------------------------------------------


SOME: tuple[Behaviour, ...] = ("never", "premature", "double")


@pytest.mark.parametrize(
    "behaviours", [SOME, pytest.param(BEHAVIOURS, marks=pytest.mark.slow)]
)
@pytest.mark.parametrize("way", [over_osc, over_zeromq])
def test_every_behaviour_earns_what_its_task_says(
    held: contextlib.ExitStack,
    tmp_path: Path,
    way: Any,
    behaviours: tuple[Behaviour, ...],
) -> None:
    """By the log of the valve that the peer writes."""
    rig = way(held, tmp_path / "valve", alive_s=0.04)
    task = TwoPort(reward_microlitre=3, test_microlitre=1)
    check = SelfCheck(rig, task, 4.0)
    findings = [check.check(behaviour) for behaviour in behaviours]
    assert not [fault for finding in findings for fault in finding.faults]
    lines = [line.split() for line in (tmp_path / "valve").read_text().splitlines()]
    assert len({uid for _, uid, _ in lines}) == len(lines)
    assert sum(float(ul) for *_, ul in lines) == sum(f.microlitre for f in findings)
    assert sum(f.expected_microlitre for f in findings) >= 14


# --- a bad network -------------------------------------------------------------------


def every_third_lost(number: int, _: bytes) -> int:
    return int(number % 3 != 1)


def all_twice(_: int, __: bytes) -> int:
    return 2


@pytest.mark.parametrize("fate", [every_third_lost, all_twice])
def test_lost_and_double_datagrams_change_nothing(
    held: contextlib.ExitStack, tmp_path: Path, fate: Fate
) -> None:
    rig = over_osc(held, tmp_path / "valve", fate, fate, alive_s=0.05)
    for i in range(4):
        rig.play([Poke(0.02, "right")])
        rig.next_trial(trial(f"s/{i}"))
        happened = rig.what_happened()
        assert (happened.side, happened.delivered_microlitre) == ("right", 3.0)
        assert happened.response_time_s == pytest.approx(0.02, abs=1e-6)
    rig.give_reward(2.0)
    lines = [line.split() for line in (tmp_path / "valve").read_text().splitlines()]
    assert [ul for *_, ul in lines] == ["3"] * 4 + ["2"]


def test_a_trial_that_nobody_acknowledges_is_a_fault(
    held: contextlib.ExitStack,
) -> None:
    def no_trials(_: int, content: bytes) -> int:
        return int(b"/penchant/trial" not in content)

    rig = over_osc(held, to=no_trials, answer_s=0.6)
    with pytest.raises(RigFault, match=r"did not acknowledge trial s/0 within 0.6 s"):
        rig.next_trial(trial())


def test_a_rig_that_does_not_confirm_its_safe_state_hears_no_more(
    held: contextlib.ExitStack, tmp_path: Path
) -> None:
    """So that its watchdog does what it was told; the trial gives nothing any more."""
    silent = threading.Event()

    def no_safe(_: int, content: bytes) -> int:
        if silent.is_set() and b"/penchant/alive" in content:
            raise AssertionError("it still says that it lives")
        return int(b"/penchant/safe" not in content)

    rig = over_osc(held, tmp_path / "valve", to=no_safe, answer_s=0.3)
    rig.play([Poke(2.5, "right")])
    rig.next_trial(trial())
    with pytest.raises(RigFault, match=r"look at it now. Its watchdog acts after 2 s"):
        rig.safe_state("emergency")
    silent.set()
    assert not soon((tmp_path / "valve").exists, 2.8)


# --- a peer that dies ----------------------------------------------------------------


@pytest.mark.parametrize("again", [True, False])
def test_a_peer_that_dies_in_a_trial_is_a_fault(
    held: contextlib.ExitStack, again: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Started anew it knows nothing of the trial, and does not run it."""
    address = f"tcp://127.0.0.1:{free_port(socket.SOCK_STREAM)}"
    with peer("zeromq_peer.py", address) as first:
        rig = ZeroMq(address=address, answer_s=0.5).open()
        held.callback(rig.close)
        rig.next_trial(trial())
        first.kill()
        first.wait()
    if again:
        held.enter_context(peer("zeromq_peer.py", address))
    else:
        monkeypatch.setattr(bridge, "SILENT_S", 0.8)
    expected = "knows nothing of trial s/0" if again else r"silent for 0.8 s"
    with pytest.raises(RigFault, match=expected):
        rig.what_happened()


def test_a_request_that_gets_lost_is_made_again() -> None:
    """By a peer that takes a request, says nothing, and then lives on."""
    context = zmq.Context()
    address = f"tcp://127.0.0.1:{free_port(socket.SOCK_STREAM)}"
    served = threading.Thread(target=_forgetful, args=(context, address))
    served.start()
    rig = ZeroMq(address=address).open()
    rig.next_trial(trial())
    assert rig.what_happened().side == "left"
    rig.close()
    served.join()
    context.term()


def _forgetful(context: "zmq.Context[zmq.Socket[bytes]]", address: str) -> None:
    """Answers every second request of each kind, the first one never."""
    seen: dict[str, int] = {}
    with context.socket(zmq.ROUTER) as router:
        router.bind(address)
        while not seen.get("safe", 0) >= 2:
            *envelope, content = router.recv_multipart()
            message = json.loads(content)
            what = message["what"]
            seen[what] = seen.get(what, 0) + 1
            if seen[what] % 2 == 0:
                reply = json.dumps(_reply(message)).encode()
                router.send_multipart([*envelope, reply])


def _reply(message: dict[str, Any]) -> dict[str, Any]:
    what, uid = message["what"], message.get("uid", "")
    if what == "hello":
        limits = dict.fromkeys(("trial_microlitre", "session_microlitre"), 9.0)
        me = {"version": 1, "name": "forgetful", "watchdog_s": 1.0, **limits}
        return {"what": what, "session": message["session"], **me}
    if what == "trial":
        return {"what": "started", "uid": uid}
    if what == "safe":
        return {"what": "safe"}
    return {"what": "happened", "uid": uid, "side": "left"}


# --- what is not understood -----------------------------------------------------------

MALFORMED = {
    b"": "message that is not understood",
    b"[]": "message that is not understood",
    b"{": "message that is not understood",
    b'{"what":"gone"}': "message that is not understood",
    b'{"what":"happened","uid":"s/0","delivered_microlitre":-1}': "delivered_micro",
    b'{"what":"happened","uid":"s/0","delivered_microlitre":NaN}': "delivered_micro",
    b'{"what":"happened","uid":"s/0","reaction_time":0.3}': "reaction_time: Extra",
    b'{"what":"happened","uid":"s/0","side":"middle"}': "side",
    b'{"what":"happened","uid":"s/0","outcome":"great"}': "outcome",
    b"\xff\xfe": "message that is not understood",
}


@pytest.mark.parametrize("reply", MALFORMED)
def test_a_malformed_reply_is_a_fault_that_says_what(reply: bytes) -> None:
    context = zmq.Context()
    address = f"tcp://127.0.0.1:{free_port(socket.SOCK_STREAM)}"
    over = threading.Event()

    def serve() -> None:
        with context.socket(zmq.REP) as rep:
            rep.bind(address)
            while not over.is_set():
                if rep.poll(20):
                    message = json.loads(rep.recv())
                    good = json.dumps(_reply(message)).encode()
                    rep.send(reply if message["what"] == "alive" else good)

    served = threading.Thread(target=serve)
    served.start()
    rig = ZeroMq(address=address).open()
    with pytest.raises(RigFault, match=MALFORMED[reply]):
        _run(rig)
    rig.close()
    over.set()
    served.join()
    context.term()


def _run(rig: BridgeRig) -> None:
    rig.next_trial(trial())
    rig.what_happened()


def datagram(address: str, *arguments: Any) -> bytes:
    builder = OscMessageBuilder(address)
    for argument in arguments:
        builder.add_arg(argument)
    return bytes(builder.build().dgram)


TIMES = (0.1, 0.2, 3.0, 0.2, 9.0)
ODD = {
    datagram("/penchant/happened", "s/0", "responded"): "expected uid, outcome, side",
    datagram("/penchant/started"): "expected uid",
    datagram("/penchant/started", "s/0", 1): "expected uid",
    datagram("/penchant/gone", "s/0"): "expected one of hello, started",
    datagram("/penchant/happened", "s/0", "fine", "left", *TIMES): "outcome",
    datagram("/penchant/happened", "s/0", "responded", 1, *TIMES): "side",
    datagram(
        "/penchant/happened", "s/0", "responded", "left", *TIMES, "earned", "licks"
    ): "expected pairs",
    b"no OSC at all": "which is not OSC",
    b"#bundle\0": "which is not OSC",
}


class OscRig:
    """Both ends of an OSC rig in one process: the test says what the rig says."""

    def __init__(self, **options: Any) -> None:
        self.end = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.end.bind(("127.0.0.1", 0))
        self.there = ("127.0.0.1", free_port())
        self.heard: dict[str, list[Any]] = {}
        self._over = False
        self._thread = threading.Thread(target=self._run)
        self._thread.start()
        port = self.end.getsockname()[1]
        section = Osc(port=port, listen_port=self.there[1], **options)
        self.rig = section.open()

    def say(self, content: bytes) -> None:
        self.end.sendto(content, self.there)

    def _run(self) -> None:
        self.end.settimeout(0.05)
        while not self._over:
            with contextlib.suppress(TimeoutError):
                for timed in OscPacket(self.end.recv(65_535)).messages:
                    self._answer(timed.message.address, timed.message.params)

    def _answer(self, address: str, given: list[Any]) -> None:
        self.heard[address] = given
        if address.endswith("hello"):
            limits = (9.0, 99.0, 1.0, 0, 1)
            self.say(datagram(address, 1, given[1], "made by hand", *limits))
        elif address.endswith("trial"):
            self.say(datagram("/penchant/started", given[0]))
        elif address.endswith("safe"):
            self.say(datagram("/penchant/safe", "asked"))
        elif address.endswith("alive"):
            self.say(datagram("/penchant/alive", given[0]))

    def close(self) -> None:
        self.rig.close()
        self._over = True
        self._thread.join()
        self.end.close()


@pytest.mark.parametrize("odd", ODD)
def test_odd_datagrams_are_faults_that_say_what(odd: bytes) -> None:
    peer = OscRig()
    peer.rig.next_trial(trial())
    peer.say(odd)
    with pytest.raises(RigFault, match=ODD[odd]):
        peer.rig.what_happened()
    peer.close()


def test_late_double_and_foreign_replies_are_ignored(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO)
    peer = OscRig(stimulus=["orientation_deg", "name"], extra=["window_s"])
    stimulus = {"name": "bar", "orientation_deg": 45.0}
    shown = {**vars(trial()), "stimulus": stimulus, "extra": {"window_s": 2.0}}
    peer.rig.next_trial(RigTrial(**shown))
    assert not hasattr(peer.rig, "play")
    told = ("responded", "left", *TIMES)
    peer.say(datagram("/other/program", 1))
    peer.say(datagram("/penchant/happened", "s/earlier", *told))
    more = ("automatic", "licks", 7.0)
    peer.say(datagram("/penchant/happened", "s/0", *told, *more))
    peer.say(
        datagram(
            "/penchant/happened",
            "s/0",
            "omission",
            "none",
            *[-1.0] * 2,
            0.0,
            -1.0,
            -1.0,
        )
    )
    happened = peer.rig.what_happened()
    assert (happened.outcome, happened.side) == ("responded", "left")
    assert happened.counts == {"licks": 7.0}
    assert happened.delivered_how == "automatic"
    assert "ignored: /other/program" in caplog.text
    assert "s/earlier" in caplog.text
    assert peer.heard["/penchant/stimulus"] == ["s/0", 45.0, "bar"]
    assert peer.heard["/penchant/extra"] == ["s/0", 2.0]
    assert peer.heard["/penchant/trial"][3:7] == [3.0, 3.0, 0.0, 3.0]
    with pytest.raises(RigFault, match=r"lists \['orientation_deg', 'name'\], and a"):
        peer.rig.next_trial(trial("s/1"))
    peer.close()


# --- what is not there ----------------------------------------------------------------


def test_a_port_in_use_is_told() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
        other.bind(("127.0.0.1", 0))
        port = other.getsockname()[1]
        with pytest.raises(RigFault, match=f"cannot hear OSC at 127.0.0.1:{port}"):
            Osc(listen_port=port).open()
    with pytest.raises(RigFault, match=r"no rig said hello within 0.3 s"):
        Osc(port=free_port(), listen_port=free_port(), open_s=0.3).open()


@pytest.mark.parametrize(
    ("section", "module", "package"),
    [(Osc(), "pythonosc", "python-osc"), (ZeroMq(), "zmq", "pyzmq")],
)
def test_a_missing_package_is_told_with_its_extra(
    monkeypatch: pytest.MonkeyPatch, section: Any, module: str, package: str
) -> None:
    for name in [name for name in sys.modules if name.split(".")[0] == module]:
        monkeypatch.setitem(sys.modules, name, None)
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(RigFault, match=rf"{package} .* pip install 'penchant\[rig\]'"):
        section.open()
