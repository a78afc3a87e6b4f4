"""A program that speaks Open Sound Control over UDP, such as Bonsai.

A datagram may get lost or come twice: what matters is acknowledged and said again.
"""

import logging
import socket
import struct
import time
from collections import deque
from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import Field

from subject_clients.rig.adapter import RigFault
from subject_clients.rig.bridge import BridgeRig, BridgeSection, missing
from subject_clients.rig.bridge_words import FromRig, Play, ToRig, TrialWord, checked

_LOG = logging.getLogger(__name__)

ROOT = "/penchant/"

TO_RIG: dict[str, tuple[str, ...]] = {
    "hello": ("version", "session"),
    "times": (
        "uid",
        "response_s",
        "left_aversive_s",
        "right_aversive_s",
        "automatic_aversive_s",
    ),
    "trial": (
        "uid",
        "index",
        "training",
        "left_microlitre",
        "right_microlitre",
        "automatic_microlitre",
        "limit_microlitre",
        "valid_s",
    ),
    "reward": ("uid", "microlitre", "side"),
    "safe": ("uid", "reason"),
    "alive": ("uid",),
}
"""Arguments of each address, in order; ``stimulus``, ``extra``, ``play`` are longer."""

FROM_RIG: dict[str, tuple[str, ...]] = {
    "hello": (
        "version",
        "session",
        "name",
        "trial_microlitre",
        "session_microlitre",
        "watchdog_s",
        "plays",
        "gives",
    ),
    "started": ("uid",),
    "ready": ("uid",),
    "happened": (
        "uid",
        "outcome",
        "side",
        "reaction_time_s",
        "response_time_s",
        "delivered_microlitre",
        "delivered_after_s",
        "rig_clock_s",
    ),
    "given": ("uid", "microlitre"),
    "safe": ("reason",),
    "fault": ("uid", "reason"),
    "alive": ("uid",),
}
"""The same of the rig; ``happened`` may go on with ``delivered_how`` and counts."""

_UNKNOWN = {
    "side",
    "reaction_time_s",
    "response_time_s",
    "delivered_after_s",
    "rig_clock_s",
}
"""Where ``none``, or a time below 0, says that it is not known."""

_Port = Annotated[int, Field(ge=1, le=65_535)]
_Names = list[Annotated[str, Field(min_length=1)]]


class Osc(BridgeSection):
    """A program that hears OSC at one port and tells it to another."""

    host: str = "127.0.0.1"
    """Where the program runs."""
    port: _Port = 5005
    """Where it hears."""
    listen_host: str = "127.0.0.1"
    """The address of this computer at which it is heard."""
    listen_port: _Port = 5006
    stimulus: _Names = Field(default=[])
    """Parameters of the stimulus, in the order in which they are sent."""
    extra: _Names = Field(default=[])
    """Numbers of the task, in the order in which they are sent."""

    def open(self) -> BridgeRig:
        """Take the port; raises :class:`RigFault`."""
        try:
            import pythonosc.osc_bundle_builder  # noqa: F401 - is it there?
        except ImportError as error:
            raise missing("python-osc") from error
        return BridgeRig(OscWire(self), self)


class OscWire:
    """Datagrams to and from one program."""

    uid_most = 100

    def __init__(self, section: Osc) -> None:
        """Take the port; raises :class:`RigFault`."""
        self._section = section
        self._come: deque[tuple[str, list[Any]]] = deque()
        where = (section.listen_host, section.listen_port)
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        try:
            self._peer = (socket.gethostbyname(section.host), section.port)
            self._socket.bind(where)
        except OSError as error:
            self._socket.close()
            raise RigFault(
                f"cannot hear OSC at {where[0]}:{where[1]}: {error}. Does another "
                "program use this port?"
            ) from error

    def encode(self, word: ToRig) -> bytes:
        """A message; a trial is a bundle of several, which come together or not."""
        if isinstance(word, TrialWord):
            return _bundle(
                _message("stimulus", [word.uid, *self._stimulus(word)]),
                _message("extra", [word.uid, *self._extra(word)]),
                _of(word, "times"),
                _of(word, "trial"),
            )
        if isinstance(word, Play):
            script = [one for poke in word.pokes for one in poke]
            return bytes(_message("play", [word.uid, *script]).dgram)
        return bytes(_of(word, word.what).dgram)

    def send(self, content: bytes, urgent: bool) -> None:
        """At once."""
        del urgent
        self._socket.sendto(content, self._peer)

    def receive(self, timeout_s: float) -> FromRig | None:
        """The next message from the program's computer."""
        until = time.monotonic() + timeout_s
        while not self._come:
            left_s = until - time.monotonic()
            if left_s <= 0:
                return None
            self._hear(left_s)
        address, arguments = self._come.popleft()
        if not address.startswith(ROOT):
            _LOG.info("not ours, ignored: %s", address)
            return None
        return _word(address.removeprefix(ROOT), arguments)

    def close(self) -> None:
        """Let go of the port."""
        self._socket.close()

    def _hear(self, timeout_s: float) -> None:
        from pythonosc.osc_packet import OscPacket, ParseError

        self._socket.settimeout(timeout_s)
        try:
            datagram, (host, port) = self._socket.recvfrom(65_535)
        except (TimeoutError, ConnectionError):  # Windows tells of a port without owner
            return
        if host != self._peer[0]:
            _LOG.warning("a stranger speaks, ignored: %s:%d", host, port)
            return
        try:
            messages = [timed.message for timed in OscPacket(datagram).messages]
        except (ParseError, ValueError, IndexError) as error:
            raise RigFault(
                f"the rig sent {datagram!r:.80}, which is not OSC: {error}"
            ) from error
        self._come.extend((message.address, message.params) for message in messages)

    def _stimulus(self, word: TrialWord) -> list[Any]:
        return _listed("stimulus", self._section.stimulus, word.stimulus)

    def _extra(self, word: TrialWord) -> list[Any]:
        return _listed("extra", self._section.extra, word.extra)


def _listed(what: str, names: list[str], values: Mapping[str, Any]) -> list[Any]:
    """Values in the order of the rig's file; none may be left out in silence."""
    if set(names) != set(values):
        raise RigFault(
            f"hardware.{what} lists {names}, and a trial has {sorted(values)}: list "
            "these, in the order in which your program wants them"
        )
    found = [values[name] for name in names]
    for name, value in zip(names, found, strict=True):
        if not isinstance(value, str | int | float):
            raise RigFault(
                f"{what} {name} is {value!r:.80}: OSC takes numbers and text"
            )
    return found


def _of(word: ToRig, address: str) -> Any:
    values = [getattr(word, name) for name in TO_RIG[address]]
    return _message(address, [single(value) for value in values])


def single(value: Any) -> Any:
    """A number as OSC carries it, which never is more: a limit stays a limit."""
    if not isinstance(value, float):
        return value
    packed = struct.pack(">f", value)
    (near,) = struct.unpack(">f", packed)
    if near > value:  # all of these are 0 or above: one step down
        (near,) = struct.unpack(">f", (int.from_bytes(packed) - 1).to_bytes(4))
    return near


def _message(address: str, arguments: list[Any]) -> Any:
    """Text as ``s``, counts and yes or no as ``i``, all other numbers as ``f``."""
    from pythonosc.osc_message_builder import OscMessageBuilder

    builder = OscMessageBuilder(ROOT + address)
    for argument in arguments:
        if isinstance(argument, str):
            builder.add_arg(argument, "s")
        elif isinstance(argument, bool | int):
            builder.add_arg(int(argument), "i")
        else:
            builder.add_arg(argument, "f")
    return builder.build()


def _bundle(*messages: Any) -> bytes:
    from pythonosc.osc_bundle_builder import IMMEDIATELY, OscBundleBuilder

    builder = OscBundleBuilder(IMMEDIATELY)
    for message in messages:
        builder.add_content(message)
    return bytes(builder.build().dgram)


def _word(what: str, arguments: list[Any]) -> FromRig:
    """A message of the rig; raises :class:`RigFault`."""
    names = FROM_RIG.get(what)
    more = arguments[len(names or ()) :]
    if names is None or len(arguments) < len(names) or (more and what != "happened"):
        raise RigFault(
            f"the rig sent {ROOT}{what} {arguments!r:.160}, expected "
            f"{', '.join(names) if names else 'one of ' + ', '.join(FROM_RIG)}"
        )
    fields = dict(zip(names, arguments, strict=False))
    for name in _UNKNOWN & fields.keys():
        value = fields[name]
        if value in ("none", "") or (isinstance(value, float | int) and value < 0):
            fields[name] = None
    if more:
        fields["delivered_how"] = more[0]
        fields["counts"] = _pairs(more[1:])
    return checked({"what": what, **fields}, [ROOT + what, *arguments])


def _pairs(flat: list[Any]) -> dict[Any, Any]:
    if len(flat) % 2:
        raise RigFault(
            f"expected pairs of a count's name and number, got {flat!r:.160}"
        )
    return dict(zip(flat[::2], flat[1::2], strict=True))
