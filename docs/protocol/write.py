"""Write what `server/protocol.py` says: a JSON Schema per message, and `messages.md`.

Who may send a message comes from `server/roles.py`; examples and refusals from the
conversation and the table in `README.md`.
"""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from server.app import protocol_schema
from server.protocol import (
    ANSWERS,
    REPLIES,
    REQUESTS,
    Control,
    FreeReward,
    Grant,
    Reward,
)
from server.roles import MAY

HERE = Path(__file__).parent

UNITS = {"_s": "s", "microlitre": "µl", "grams": "g"}
"""Units, by how the name of a field ends."""

PARTS: dict[str, type[BaseModel]] = {
    "Reward": Reward,
    "Grant": Grant,
    "FreeReward": FreeReward,
}
"""Objects within messages."""

OF_TRANSPORT = {"type", "token"}
"""Fields that mean the same everywhere, and are explained once."""

INTRODUCTION = """\
# All messages

Written by `python docs/protocol/write.py` from `server/protocol.py`; do not edit. How
the messages follow each other is in [README.md](README.md), a JSON Schema of each in
the file of its name.

Every message to the server may hold `token`, the secret of whoever sends it (text of
512 characters at most), unless the header `Authorization: Bearer` has it. Every reply
says in `type` what it is. A *name* has 1 to 64 letters, digits and `_.:-`, the first of
them a letter or digit. Numbers are finite, and fields not listed here are refused.
"""


def conversation(readme: str) -> list[tuple[str, str]]:
    """The examples of the README, as kinds and JSON, in order."""
    return re.findall(r"^```json (\w+)\n(.*?)^```$", readme, re.MULTILINE | re.DOTALL)


def refusals(readme: str) -> list[tuple[int, str, str, str]]:
    """The README's table: status, error, which messages, when."""
    rows = re.findall(
        r"^\| (\d{3}) \| `(\w+)` \| (.+?) \| (.+?) \|$", readme, re.MULTILINE
    )
    return [(int(status), error, to, when) for status, error, to, when in rows]


def files() -> dict[str, str]:
    """All that is written, by file name."""
    schema = protocol_schema()
    content = schema["requests"] | schema["replies"] | schema["pushes"]
    written = {f"{k}.json": json.dumps(s, indent=2) + "\n" for k, s in content.items()}
    readme = (HERE / "README.md").read_text(encoding="utf-8")
    return written | {"messages.md": "\n".join(_messages(readme))}


def _messages(readme: str) -> Iterator[str]:
    examples: dict[str, str] = {}
    for kind, text in conversation(readme):
        examples.setdefault(kind, text)
    yield INTRODUCTION
    yield "## To the server\n"
    for kind, model in REQUESTS.items():
        yield from _message(kind, model, examples)
        yield from _answers(kind, readme)
    yield "## Replies\n"
    for kind, reply in REPLIES.items():
        yield from _message(kind, reply, examples)
        to = [_link(k) for k, answers in ANSWERS.items() if reply in answers]
        yield f"Answers {', '.join(to) or 'any message'}.\n"
    yield "## Pushed over Socket.IO\n"
    yield from _message("control", Control, examples)
    yield "## Parts of messages\n"
    for name, part in PARTS.items():
        yield f"### {name}\n\n{_prose(part.__doc__)}\n"
        yield from _table(part)


def _message(
    kind: str, model: type[BaseModel], examples: dict[str, str]
) -> Iterator[str]:
    yield f"### {kind}\n\n{_prose(model.__doc__)}\n"
    yield from _table(model)
    yield f"```json\n{examples[kind]}```\n"


def _answers(kind: str, readme: str) -> Iterator[str]:
    roles = [role for role, kinds in MAY.items() if kind in kinds]
    of_any = "[any message](README.md#refusals)"
    replies = [_link(r) for r, model in REPLIES.items() if model in ANSWERS[kind]]
    refused = [
        f"`{error}`" for _, error, to, _ in refusals(readme) if f"`{kind}`" in to
    ]
    yield f"Sent by: {', '.join(roles)}. Answered with {' or '.join(replies)}."
    too = f"with {', '.join(refused)}, and " if refused else ""
    yield f"Refused {too}as {of_any}.\n"


def _table(model: type[BaseModel]) -> Iterator[str]:
    schema = model.model_json_schema()
    required = schema.get("required", [])
    comes = issubclass(model, (*REQUESTS.values(), Reward))
    yield "| field | content | if left out | |" if comes else "| field | content | |"
    yield "| --- | --- | --- | --- |" if comes else "| --- | --- | --- |"
    for name, field in schema["properties"].items():
        if name in OF_TRANSPORT:
            continue
        default = "required" if name in required else _code(field.get("default"))
        cells = [f"`{name}`", _content(name, field), default, _meaning(field)]
        yield f"| {' | '.join(cells if comes else cells[:2] + cells[3:])} |"
    yield ""


def _content(name: str, field: dict[str, Any]) -> str:
    """What a field holds: type, range and unit."""
    kinds = [_kind(part) for part in field.get("anyOf", [field])]
    units = [unit for ending, unit in UNITS.items() if name.endswith(ending)]
    if units:
        kinds[0] += f", in {units[0]}"
    return ", or ".join(kinds)


def _kind(schema: dict[str, Any]) -> str:
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        return f"[{name}](#{name.lower()})"
    if "enum" in schema:
        return " or ".join(_code(value) for value in schema["enum"])
    match schema.get("type"):
        case "string" if "pattern" in schema:
            return "name"
        case "string":
            return "text" + _range(schema, "minLength", "maxLength", " characters")
        case "number" | "integer" as of:
            noun = "number" if of == "number" else "whole number"
            return noun + _range(schema, "minimum", "maximum")
        case "array":
            return f"list of {_kind(schema['items'])}s"
        case "object":
            return f"object{_values(schema)}"
        case other:
            return {"null": "null", "boolean": "true or false"}[str(other)]


def _values(schema: dict[str, Any]) -> str:
    """What an object with names of the client's choice holds."""
    within = [*schema.get("patternProperties", {}).values()]
    if not within:
        return ""
    kinds = [_kind(one) for one in within[0].get("anyOf", within)]
    return (
        f" of at most {schema['maxProperties']} names, each with {' or '.join(kinds)}"
    )


def _range(schema: dict[str, Any], low: str, high: str, of: str = "") -> str:
    least, most = schema.get(low), schema.get(high)
    above, below = schema.get("exclusiveMinimum"), schema.get("exclusiveMaximum")
    words = [
        f"from {least:g}" if least is not None else "",
        f"above {above:g}" if above is not None else "",
        f"to {most:,.0f}" if least is not None and most is not None else "",
        f"up to {most:,.0f}" if least is None and most is not None else "",
        f"below {below:,}" if below is not None else "",
    ]
    said = " ".join(filter(None, words))
    return f" {said}{of}" if said else ""


def _meaning(field: dict[str, Any]) -> str:
    parts = [field, *field.get("anyOf", [])]
    said: str = next((p["description"] for p in parts if "description" in p), "")
    return _prose(said).replace("\n", " ").replace("  ", " ")


def _prose(docstring: str | None) -> str:
    """Markdown of a docstring."""
    text = re.sub(r":class:`(\w+)`", lambda m: f"`{_kind_of(m[1])}`", docstring or "")
    lines = [line.strip() for line in text.replace("``", "`").strip().splitlines()]
    return "\n".join(lines)


def _kind_of(model: str) -> str:
    every = REQUESTS | REPLIES
    return next((k for k, one in every.items() if one.__name__ == model), model)


def _link(kind: str) -> str:
    return f"[{kind}](#{kind})"


def _code(value: Any) -> str:
    return f"`{value if isinstance(value, str) else json.dumps(value)}`"


if __name__ == "__main__":
    for file, text in files().items():
        (HERE / file).write_text(text, encoding="utf-8")
