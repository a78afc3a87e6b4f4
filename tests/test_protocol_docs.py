"""What is documented of the protocol is what the code says and a server does."""

import ast
import json
import re
import runpy
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from live_server import door_of
from small_study import Clock, hello, open_desk, send, small_study, study_text
from werkzeug.exceptions import default_exceptions

from server.app import create_app
from server.journal import Journal
from server.protocol import ANSWERS, REPLIES, REQUESTS, Assignment, Control, Noted
from server.roles import MAY

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs" / "protocol"
README = (DOCS / "README.md").read_text(encoding="utf-8")
WRITER = runpy.run_path(str(DOCS / "write.py"))
REFUSALS = WRITER["refusals"](README)
KINDS = [*REQUESTS, *REPLIES, "control"]

SAFE = study_text(
    session='response = "choice"\ntest_repeats = 2',
    responses="""
[safety]
trial_microlitre = 4.0
session_microlitre = 1000.0
day_microlitre = 1500.0
""",
)
"""The study of the documented conversation."""

STEP = re.compile(
    r"^```json (?P<kind>\w+)\n(?P<text>.*?)^```$|^<!-- (?P<aside>.*?) -->$",
    re.MULTILINE | re.DOTALL,
)


def test_what_is_checked_in_is_what_would_be_written() -> None:
    written = WRITER["files"]()
    checked_in = {
        path.name: path.read_text(encoding="utf-8")
        for path in DOCS.iterdir()
        if path.suffix == ".json" or path.name == "messages.md"
    }
    assert checked_in == written, "run: python docs/protocol/write.py"
    assert {name.removesuffix(".json") for name in written} == {*KINDS, "messages.md"}


@pytest.mark.parametrize("kind", KINDS)
def test_each_message_and_field_is_explained(kind: str) -> None:
    model = (REQUESTS | REPLIES | {"control": Control})[kind]
    text = (DOCS / "messages.md").read_text(encoding="utf-8")
    section = text.partition(f"\n### {kind}\n")[2].partition("\n### ")[0]
    assert "```json" in section
    for field in set(model.model_fields) - {"type", "token"}:
        assert f"| `{field}` | " in section
    for link in re.findall(r"\]\(#(\w+)\)", section):
        assert f"\n### {link}\n" in text.lower()


def test_every_message_has_its_place() -> None:
    assert list(ANSWERS) == list(REQUESTS)
    assert set(REQUESTS) | {"status"} == set().union(*MAY.values())
    roles = re.findall(
        r"^\| (\w+) \| [^|`]*?(?:everything|messages|nothing)", README, 8
    )
    assert set(roles) == set(MAY)


# --- the conversation ----------------------------------------------------------


class Said(NamedTuple):
    """A message of the conversation, or what happens beside it."""

    kind: str
    content: Any


def conversation() -> list[Said]:
    return [
        Said(found["kind"], json.loads(found["text"]))
        if found["kind"]
        else Said("aside", found["aside"])
        for found in STEP.finditer(README)
    ]


def test_the_documented_conversation_is_what_a_server_says(journal: Journal) -> None:
    """Over Socket.IO, with all that is pushed."""
    clock = Clock()
    desk = open_desk(journal, clock, study=small_study(SAFE), mode="live")
    app, socketio = create_app(door_of(desk))
    client = socketio.test_client(app)
    reply: dict[str, Any] = {}
    asked, pushed = "", list[dict[str, Any]]()
    drawn: dict[str, str] = {}  # uids of wishes, by those in the documentation
    for kind, content in conversation():
        if kind == "aside":
            happen(desk, clock, content)
        elif kind in REQUESTS:
            assert not pushed, pushed
            if content.get("uid") in drawn:
                content["uid"] = drawn[content["uid"]]
            asked, reply = kind, client.emit(kind, content, callback=True)
            pushed = [p["args"][0] for p in client.get_received()]
        elif kind == "control":
            assert pushed.pop(0) == content
        else:
            assert shape(reply) == shape(content)
            for said, came in zip(
                content.get("rewards", []), reply.get("rewards", []), strict=True
            ):
                drawn[said["uid"]] = came["uid"]
            answers = {one.model_fields["type"].default for one in ANSWERS[asked]}
            assert kind in {*answers, "refusal"}
    assert not pushed
    client.disconnect()


def happen(desk: Any, clock: Clock, aside: str) -> None:
    """What the conversation says happens beside it."""
    if later := re.fullmatch(r"(\d+) seconds later", aside):
        clock.now += int(later[1])
        return
    for mouse in re.findall(r"mouse-\d", aside):
        weighed = send(desk, "weigh", subject=mouse, grams=21.0, baseline_grams=24.0)
        assert isinstance(weighed, Noted)
        assert isinstance(hello(desk, mouse), Assignment)


def shape(value: Any) -> Any:
    """All of a message but its coordinates, and what was drawn."""
    if isinstance(value, dict):
        drawn = {"label", "rewarded"} | ({"uid"} if "type" not in value else set())
        return {
            key: type(part) if key.endswith("_deg") or key in drawn else shape(part)
            for key, part in value.items()
        }
    if isinstance(value, list):
        return [shape(part) if isinstance(part, dict) else type(part) for part in value]
    return value


def test_the_conversation_has_every_message() -> None:
    said = {kind for kind, _ in conversation()}
    assert set(KINDS) <= said
    done = [content for kind, content in conversation() if kind == "done"]
    assert any(one["emergency"] for one in done)


# --- refusals ------------------------------------------------------------------


def raised() -> Iterator[tuple[int, str]]:
    """Status and pattern of the name of every refusal in the server's code."""
    for path in (ROOT / "server").glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not isinstance(node, ast.Call):
                continue
            match node:
                case ast.Call(
                    func=ast.Name(id="ProtocolError"),
                    args=[ast.Constant(value=int(status)), name, *_],
                ):
                    yield status, pattern(name)
                case ast.Call(func=ast.Name(id="Refusal"), keywords=keywords):
                    given = {k.arg: k.value for k in keywords}
                    if isinstance(given["status"], ast.Constant):
                        stated = ast.literal_eval(given["status"])
                        yield stated, pattern(given["error"])
                case ast.Call(func=ast.Name(id="ProtocolError")):
                    raise AssertionError(f"{path}: a status that is no literal")


def pattern(name: ast.expr) -> str:
    if isinstance(name, ast.Constant):
        return re.escape(str(name.value))
    assert isinstance(name, ast.JoinedStr)
    return "".join(
        re.escape(str(part.value)) if isinstance(part, ast.Constant) else r"\w+"
        for part in name.values
    )


def of_http() -> dict[str, int]:
    """Refusals of the web framework, by name."""
    return {
        kind().name.lower().replace(" ", "_"): status
        for status, kind in default_exceptions.items()
    }


def test_every_refusal_of_the_server_is_in_the_table() -> None:
    rows = [(status, error) for status, error, _, _ in REFUSALS]
    in_code = list(raised())
    assert len(in_code) > 20
    for status, name in in_code:
        assert [row for row in rows if row[0] == status and re.fullmatch(name, row[1])]
    for status, error in rows:
        assert of_http().get(error) == status or any(
            status == other and re.fullmatch(name, error) for other, name in in_code
        ), f"{error} is in the table, but never sent"
    assert len(set(rows)) == len(rows)
    assert [status for status, _ in rows] == sorted(status for status, _ in rows)


def test_the_table_names_messages_that_there_are() -> None:
    for _, error, to, _ in REFUSALS:
        named = re.findall(r"`(\w+)`", to)
        assert to == "any" or set(named) <= set(REQUESTS), error
        assert (to == "any") != bool(named)
