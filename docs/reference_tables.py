"""Directives that write reference pages from the code, so that none can be stale.

``study-file`` and ``rig-file``: every key with its kind, default and meaning.
``command-line``: every command's own help. ``journal-facts``: what is stored.
"""

import dataclasses
import inspect
import re
import sys
from collections.abc import Iterator, Mapping
from typing import Any

import click
from docutils import nodes  # type: ignore[import-untyped]
from pydantic import BaseModel, TypeAdapter
from sphinx.application import Sphinx
from sphinx.pycode import ModuleAnalyzer
from sphinx.util.docutils import SphinxDirective

from meta_learner.families import FAMILIES
from penchant import main
from server import events
from server.sections import StudyFile
from server.template import TEMPLATE
from simulated_subjects.catalogue import LEARNERS
from simulated_subjects.responses import RESPONSE_MODELS
from stimuli.catalogue import SPACES
from subject_clients.rig.catalogue import HARDWARE, hardware_class
from subject_clients.rig.config import LimitsSection, RigSection
from subject_clients.tasks.catalogue import TASKS

CATALOGUES: dict[str, tuple[str, Mapping[str, type[Any]]]] = {
    "stimuli": ("space", SPACES),
    "labelling": ("family", FAMILIES),
    "simulated_subject": ("learner", LEARNERS),
    "simulated_responses": ("", RESPONSE_MODELS),
}
"""Sections whose options are those of what they name: its key, and what there is."""

PLAIN = {
    "training_repeats": "how often each training stimulus is shown",
    "step_size": "initial standard deviation of a strategy, or the gradient's rate; "
    "without it the search's own",
    "generalisation_weight": "of the generalisation error",
    "label_distribution_weight": "of a penalty on the label distribution",
    "orthogonality_weight": "of a penalty on overlap with earlier components",
    "at_least": "sessions before which a study is not ended",
    "trial_microlitre": "most in a trial",
    "session_microlitre": "most in a session",
    "title": "heading of the pages",
    "fixation_s": "the cross before a stimulus",
    "feedback_s": 'of training, and of "Too slow"',
    "thanks": "the last page",
}
"""What code and template leave to the name of a key."""

OURS = ("meta_learner", "server", "simulated_subjects", "stimuli", "subject_clients")

Schema = dict[str, Any]


# --- study file ----------------------------------------------------------------


def study_file() -> Iterator[str]:
    """Every section of a study file, as Markdown."""
    for section, field in StudyFile.model_fields.items():
        yield f"## [{section}]"
        if section in CATALOGUES:
            yield from _catalogue(section)
        elif section == "groups":
            yield prose(GROUPS)
        else:
            model = _model(field.annotation)
            yield prose(inspect.getdoc(model))
            yield from rows(model.model_json_schema(), said_of(section, model))


GROUPS = """Groups of subjects, ``[groups.NAME]``, each with the learner that stands in
for it in a dry run: the options of ``[simulated_subject]``, or none in a live study.
``[objective]`` then has an ``aim``."""


def _catalogue(section: str) -> Iterator[str]:
    choice, catalogue = CATALOGUES[section]
    if choice:
        known = ", ".join(f"`{name}`" for name in catalogue)
        yield f"`{choice}` is one of {known}. The other keys are options of it."
    else:
        yield "The options of the study's kind of `response`, in a dry run."
    for name, entry in catalogue.items():
        yield f'### `{choice} = "{name}"`' if choice else f"### `{name}`"
        yield prose(inspect.getdoc(entry))
        yield from rows(TypeAdapter(entry).json_schema(), attribute_docs(entry))
    if section == "simulated_subject":
        yield (
            "Any learner also takes `label_noise`, the standard deviation of the "
            "noise with which it perceives its training labels; 0 by default."
        )


def said_of(section: str, model: type[BaseModel]) -> dict[str, str]:
    """The meaning of each key of a section, where anything says it."""
    commented = comments(TEMPLATE).get(section, {})
    return PLAIN | attribute_docs(model) | {k: v for k, v in commented.items() if v}


def comments(template: str) -> dict[str, dict[str, str]]:
    """What the comments of a template say of each key, by section."""
    found: dict[str, dict[str, str]] = {}
    section = key = ""
    for line in template.splitlines():
        if header := re.match(r"(?:# )?\[([\w.]+)\]", line):
            section, key = header[1], ""
        elif entry := re.match(r"(?:# )?(\w+) = .*?(?:\s+# (.*))?$", line):
            key = entry[1]
            found.setdefault(section, {}).setdefault(key, entry[2] or "")
        elif key and (more := re.match(r"#?\s{8,}#\s*(.*)$", line)):
            found[section][key] += f" {more[1]}"
        else:
            key = ""
    return found


def attribute_docs(entry: type[Any]) -> dict[str, str]:
    """The docstrings below the fields of a class, and of those it is made from."""
    found: dict[str, str] = {}
    for base in reversed(entry.__mro__):
        if base.__module__ in sys.modules and base.__module__.split(".")[0] in OURS:
            docs = ModuleAnalyzer.for_module(base.__module__).find_attr_docs()
            found |= {
                name: " ".join(lines)
                for (owner, name), lines in docs.items()
                if owner == base.__qualname__
            }
    return found


def _model(annotation: Any) -> type[BaseModel]:
    """The section's class, also where the section may be left out."""
    options = [annotation, *getattr(annotation, "__args__", ())]
    return next(o for o in options if isinstance(o, type) and issubclass(o, BaseModel))


# --- tables --------------------------------------------------------------------


def rows(schema: Schema, meanings: Mapping[str, str]) -> Iterator[str]:
    """A table of the keys of a section; nothing where there are none."""
    properties: dict[str, Schema] = schema.get("properties", {})
    if not properties:
        return
    lines = ["| key | what it takes | default | |", "| --- | --- | --- | --- |"]
    for key, said in properties.items():
        meaning = said.get("description") or meanings.get(key, "")
        takes = kind(said, schema.get("$defs", {}))
        default = (
            "**required**" if key in schema.get("required", ()) else _default(said)
        )
        lines.append(f"| `{key}` | {takes} | {default} | {cell(prose(meaning))} |")
    yield "\n".join(lines)


def kind(schema: Schema, named: Mapping[str, Schema]) -> str:
    """What a key takes, in words."""
    if "$ref" in schema:
        schema = named[schema["$ref"].rpartition("/")[2]]
        return f"a table: {', '.join(f'`{key}`' for key in schema['properties'])}"
    if "anyOf" in schema:
        options = [o for o in schema["anyOf"] if o.get("type") != "null"]
        return " or ".join(kind(option, named) for option in options)
    if "enum" in schema:
        return " or ".join(f"`{_toml(value)}`" for value in schema["enum"])
    if "const" in schema:
        return f"`{_toml(schema['const'])}`"
    if schema.get("type") == "array":
        item = schema.get("items") or (schema.get("prefixItems") or [{}])[0]
        return f"list: {kind(item, named)}"
    words = {"string": "text", "object": "table", "boolean": "`true` or `false`"}
    type_ = str(schema.get("type", "anything"))
    word = words.get(type_, type_)
    bounds = [
        f"{sign} {schema[bound]:,}"
        for bound, sign in (
            ("exclusiveMinimum", ">"),
            ("minimum", "≥"),
            ("exclusiveMaximum", "<"),
            ("maximum", "≤"),
        )
        if bound in schema
    ]
    return ", ".join([word, *bounds])


def _default(schema: Schema) -> str:
    value = schema.get("default")
    return "none" if value is None else f"`{_toml(value)}`"


def _toml(value: Any) -> str:
    if isinstance(value, str):
        return f'"{value}"'
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(_toml, value))}]"
    return str(value)


def cell(text: str) -> str:
    """Text that fits in a cell of a table."""
    return " ".join(text.split()).replace("|", r"\|")


def prose(text: str | None) -> str:
    """A docstring, or part of one, as Markdown."""
    text = re.sub(r":\w+:`~?([^`]+)`", r"`\1`", text or "")
    return text.replace("``", "`")


# --- rigs, commands, journal ---------------------------------------------------


def rig_file() -> Iterator[str]:
    """Every section of a rig's file, as Markdown."""
    for name, model in (("rig", RigSection), ("limits", LimitsSection)):
        yield f"## [{name}]"
        yield prose(inspect.getdoc(model))
        yield from rows(model.model_json_schema(), attribute_docs(model))
    yield "## [task]"
    for name, task in TASKS.items():
        yield f'### `task = "{name}"`'
        yield from _options(task)
    yield "## [hardware]"
    for name in HARDWARE:
        yield f'### `hardware = "{name}"`'
        yield from _options(hardware_class(name))


def _options(entry: Any) -> Iterator[str]:
    yield prose(inspect.getdoc(entry))
    yield from rows(entry.model_json_schema(), attribute_docs(entry))


def command_line() -> Iterator[str]:
    """The help of every command, as the command gives it."""
    context = click.Context(main, info_name="penchant", max_content_width=88)
    yield _help(main, context)
    for name, command in sorted(main.commands.items()):
        yield f"## penchant {name}"
        yield from _commands(command, f"penchant {name}", context)


def _commands(command: Any, path: str, parent: click.Context) -> Iterator[str]:
    context = click.Context(command, info_name=path.rpartition(" ")[2], parent=parent)
    yield _help(command, context)
    if isinstance(command, click.Group):
        for name in command.list_commands(context):
            sub = command.get_command(context, name)
            yield f"### {path} {name}"
            yield from _commands(sub, f"{path} {name}", context)


def _help(command: click.Command, context: click.Context) -> str:
    return f"```text\n{command.get_help(context)}\n```"


def journal_facts() -> Iterator[str]:
    """Every kind of event, with its fields."""
    for name, entry in inspect.getmembers(events, dataclasses.is_dataclass):
        if entry.__module__ != events.__name__:
            continue
        yield f"## {name}"
        yield prose(inspect.getdoc(entry))
        if fields := dataclasses.fields(entry):
            yield "\n".join(
                ["| field | |", "| --- | --- |"]
                + [f"| `{f.name}` | `{_annotation(f.type)}` |" for f in fields]
            )


def _annotation(kind: Any) -> str:
    said = kind if isinstance(kind, str) else getattr(kind, "__name__", str(kind))
    said = said if not getattr(kind, "__args__", ()) else str(kind)
    return said.replace("typing.", "").replace("|", r"\|")


# --- Sphinx --------------------------------------------------------------------

PAGES = {
    "study-file": study_file,
    "rig-file": rig_file,
    "command-line": command_line,
    "journal-facts": journal_facts,
}


class Written(SphinxDirective):
    """A page, or part of one, that the code writes."""

    def run(self) -> list[nodes.Node]:
        """Its Markdown, parsed as if it stood there."""
        text = "\n\n".join(PAGES[self.name]())
        return self.parse_text_to_nodes(text, allow_section_headings=True)


def setup(app: Sphinx) -> dict[str, bool]:
    """One directive a page."""
    for name in PAGES:
        app.add_directive(name, Written)
    return {"parallel_read_safe": True}
