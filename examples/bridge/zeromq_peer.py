"""The rig's side of ``hardware = "zeromq"``, to begin from.

    python examples/bridge/zeromq_peer.py tcp://127.0.0.1:5557

Replace ``Box`` by your rig. Each message is answered at once, and there are many in a
second: it must never wait.
"""

import json
import sys
from typing import Any

import zmq
from made_up_box import Box  # type: ignore[import-not-found]


def answer(message: dict[str, Any], box: Box) -> dict[str, Any]:
    """What to say to a message of Penchant."""
    box.heard()  # the watchdog: the computer lives
    what, uid = message["what"], message.get("uid", "")
    if what == "hello":
        return {"what": "hello", "session": message["session"], **box.hello(message)}
    if what == "trial":
        if why := box.start(message):
            return {"what": "fault", "uid": uid, "reason": why}
        return box.happened(uid) or {"what": "started", "uid": uid}
    if what == "play":
        box.script[uid] = message["pokes"]
        return {"what": "ready", "uid": uid}
    if what == "reward":
        return {"what": "given", "uid": uid, "microlitre": box.give(message)}
    if what == "safe":
        box.make_safe(uid)
        return {"what": "safe"}
    return box.happened(uid) or {"what": "alive", "uid": box.running}  # "alive"


if __name__ == "__main__":
    socket = zmq.Context().socket(zmq.REP)
    socket.bind(sys.argv[1])
    box = Box(sys.argv[2] if len(sys.argv) > 2 else None)
    while True:
        if socket.poll(5):  # ms
            socket.send_json(answer(json.loads(socket.recv()), box))
        box.tend()
