"""The rig's side of ``hardware = "osc"``, to begin from.

    python examples/bridge/osc_peer.py 5005 5006      # hears at, speaks to

Replace ``Box`` by your rig. Datagrams may get lost or come twice: the same uid never
runs twice, and what happened is told again when it is asked for (``alive``).
"""

import socket
import sys
from typing import Any

from made_up_box import Box  # type: ignore[import-not-found]
from pythonosc.osc_message_builder import OscMessageBuilder
from pythonosc.osc_packet import OscPacket

TRIAL = ["uid", "index", "training", "left_microlitre", "right_microlitre"]
TRIAL += ["automatic_microlitre", "limit_microlitre", "valid_s"]
TIMES = ("uid", "response_s", "left_aversive_s", "right_aversive_s")


def answer(what: str, args: list[Any], box: Box, bundle: dict[str, Any]) -> list[Any]:
    """The name and the arguments of what to say; nothing to parts of a trial."""
    box.heard()
    uid = args[0]
    if what == "stimulus":
        bundle["stimulus"] = args[1:]
    elif what == "times":
        bundle.update(zip(TIMES, args, strict=False))
    elif what == "trial":
        why = box.start({**bundle, **dict(zip(TRIAL, args, strict=True))})
        if why:
            return ["fault", uid, why]
        return told(box, uid) or ["started", uid]
    elif what == "play":
        box.script[uid] = list(zip(args[1::2], args[2::2], strict=True))
        return ["ready", uid]
    elif what == "hello":
        me = box.hello({"session": args[1]})
        limits = [me["trial_microlitre"], me["session_microlitre"], me["watchdog_s"]]
        return ["hello", 1, args[1], me["name"], *limits, 1, 1]
    elif what == "reward":
        order = {"uid": uid, "microlitre": args[1], "side": args[2]}
        return ["given", uid, box.give(order)]
    elif what == "safe":
        box.make_safe(uid)
        return ["safe", ""]
    elif what == "alive":
        return told(box, uid) or ["alive", box.running]
    return []


def told(box: Box, uid: str) -> list[Any]:
    """What happened, if that trial is over: times below 0 are not known."""
    result = box.happened(uid)
    if result is None:
        return []
    seconds = result.get("response_time_s", -1.0)
    given = result["delivered_microlitre"]
    side = result.get("side") or "none"
    return [
        "happened",
        uid,
        result["outcome"],
        side,
        seconds,
        seconds,
        given,
        -1.0,
        -1.0,
    ]


def packed(what: str, args: list[Any]) -> bytes:
    """A message as a datagram: numbers as float, text as string."""
    builder = OscMessageBuilder("/penchant/" + what)
    for arg in args:
        builder.add_arg(arg)
    return bytes(builder.build().dgram)


if __name__ == "__main__":
    wire = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    wire.bind(("127.0.0.1", int(sys.argv[1])))
    wire.settimeout(0.005)
    box = Box(sys.argv[3] if len(sys.argv) > 3 else None)
    while True:
        try:
            heard: dict[str, Any] = {}  # of one bundle: a trial comes in several parts
            for timed in OscPacket(wire.recv(65535)).messages:
                what = timed.message.address.removeprefix("/penchant/")
                if say := answer(what, timed.message.params, box, heard):
                    there = ("127.0.0.1", int(sys.argv[2]))
                    wire.sendto(packed(say[0], say[1:]), there)
        except TimeoutError:
            pass
        box.tend()
