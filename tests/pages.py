"""Pages of the documentation as programs: their blocks are run in order, in a folder.

A page is run as a reader would: commands in one shell, Python in one namespace. What is
ours beside Sybil, which finds the blocks:

- a block whose first line is ``# NAME.toml`` or ``# NAME.py`` is saved under that name;
- ``<!-- not run: REASON -->`` before a block leaves it out, and says why;
- ``<!-- invisible-code-block: sh`` (or python) does what a reader need not see.

The default address of the server is moved to a free port, in text and in options.
"""

import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tomllib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from markdown_it import MarkdownIt
from sybil import Document, Example, Region, Sybil
from sybil.evaluators.python import PythonEvaluator
from sybil.evaluators.skip import Skipper
from sybil.parsers.markdown import CodeBlockParser
from sybil.parsers.markdown.lexers import DirectiveInHTMLCommentLexer

from server.serve_cli import free_port
from server.study_file import Study
from server.template import TEMPLATE
from subject_clients.rig.config import RigFile

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"

NOT_CODE = {"text", "json", "matlab", "nginx"}
"""Languages of blocks that are shown and not run; JSON is read."""

PENCHANT = """#!{python}
import click
from penchant import main

def moved(command):
    if isinstance(command, click.Group):
        context = click.Context(command)
        names = command.list_commands(context)
        return {{n: moved(command.get_command(context, n)) for n in names}}
    usual = {{"url": "http://127.0.0.1:{port}", "port": {port}}}
    there = {{p.name: p.default for p in command.params if p.name in usual}}
    return {{n: usual[n] for n, default in there.items() if "5000" in str(default)}}

if __name__ == "__main__":
    main(default_map=moved(main), prog_name="penchant")
"""
"""The command line, with another port as its default."""


LASTING = re.compile(
    r"^(penchant serve|python examples/bridge/)(?!.*--help)", re.MULTILINE
)
"""Commands that go on until they are stopped."""

AWAIT = """until curl -sf -o healthz http://127.0.0.1:{port}/healthz; do
    kill -0 $server || {{ cat server.log; exit 1; }}
    sleep 0.2
done
rm -f healthz"""
"""Until the server answers, or has ended."""


class Page:
    """One page under way: a folder, a shell, a port."""

    def __init__(self, folder: Path) -> None:
        """Begin in an empty folder."""
        self.folder = folder / "work"
        self.folder.mkdir()
        self.port = free_port()
        self.said = ""
        """What the last commands printed."""
        programs = folder / "bin"
        programs.mkdir()
        script = programs / "penchant"
        script.write_text(PENCHANT.format(python=sys.executable, port=self.port))
        script.chmod(0o755)
        (programs / "python").symlink_to(sys.executable)
        ours = [str(programs), str(Path(sys.executable).parent)]
        path = os.pathsep.join([*ours, os.environ["PATH"]])
        self._shell = subprocess.Popen(
            ["bash", "-eu", "-o", "pipefail"],
            cwd=self.folder,
            env={
                **os.environ,
                "PATH": path,
                "PYTHONPATH": str(ROOT),
                "PENCHANT_CLONE": str(ROOT),
                "COLUMNS": "88",
                "NO_COLOR": "1",
            },
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,  # so that what it began can be ended with it
        )

    def moved(self, text: str) -> str:
        """A block with the port of this run."""
        return text.replace(":5000", f":{self.port}")

    def run(self, commands: str) -> str:
        """What commands print; they fail where a command does.

        A server is a block of its own, and goes on until another begins: readers give
        it a terminal of its own.
        """
        moved = self.moved(commands).strip()
        lasting = LASTING.match(moved)
        if not lasting:
            assert not LASTING.search(moved), f"a server, and more:\n{commands}"
            return self._typed(moved)
        self._typed(
            'if [ -n "${server:-}" ]; then kill $server; wait $server || true; fi'
        )
        self.said = self._typed(f"{moved} > server.log 2>&1 &\nserver=$!")
        if "penchant serve" in moved:
            self._typed(AWAIT.format(port=self.port))
        return self.said

    def _typed(self, commands: str) -> str:
        stdin, stdout = self._shell.stdin, self._shell.stdout
        assert stdin is not None
        assert stdout is not None
        block = self.folder.parent / "block.sh"
        block.write_text(commands + "\n")
        stdin.write(f". {block} < /dev/null; echo; echo '=== done ==='\n")
        stdin.flush()
        lines: list[str] = []
        for line in stdout:
            if line == "=== done ===\n":
                self.said = "".join(lines)
                return self.said
            lines.append(line)
        code = self._shell.wait()
        raise AssertionError(f"ended with {code}:\n{commands}\n{''.join(lines)}")

    def close(self) -> None:
        """End the shell and all that it left running."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._shell.pid, signal.SIGTERM)
        assert self._shell.stdin is not None
        assert self._shell.stdout is not None
        with contextlib.suppress(BrokenPipeError):
            self._shell.stdin.close()
        self._shell.stdout.read()  # until the last of them is gone
        self._shell.stdout.close()
        self._shell.wait()


# --- blocks --------------------------------------------------------------------


def sh(example: Example) -> None:
    """Commands, whatever they print."""
    _page(example).run(example.parsed)


def console(example: Example) -> None:
    """Commands after ``$``, and what they print; ``...`` stands for anything."""
    page = _page(example)
    for command, expected in re.findall(
        r"^\$ (.*(?:\\\n.*)*)\n((?:(?!\$ ).*\n?)*)", example.parsed, re.MULTILINE
    ):
        said = page.run(command)
        parts = map(re.escape, page.moved(expected).strip().split("..."))
        pattern = r"\s*" + ".*?".join(parts) + r"\s*"
        assert re.fullmatch(pattern, said, re.DOTALL), f"{command} printed\n{said}"


def python(example: Example) -> None:
    """Python, in one namespace a page; a file where it is named."""
    page = _page(example)
    example.parsed = type(example.parsed)(
        page.moved(example.parsed), example.parsed.offset, example.parsed.line_offset
    )
    if _saved(example):
        compile(example.parsed, example.path, "exec")
        return
    with contextlib.chdir(page.folder):
        PythonEvaluator()(example)


def toml(example: Example) -> None:
    """A study file, a rig's file, or some sections of either."""
    page = _page(example)
    text = page.moved(example.parsed)
    content = tomllib.loads(text)
    saved = _saved(example)
    with contextlib.chdir(page.folder):
        if "rig" in content:
            RigFile(saved or _written(page.folder / "rig.toml", text))
        elif "study" in content:
            Study(text)
        elif set(content) & {"limits", "task", "hardware"}:
            _check_rig(page.folder, content)
        elif content.keys() == {"left_valve"}:
            _check_rig(page.folder, {"hardware": content})
        else:
            Study(_dumped(_around(content) | content))


def read_json(example: Example) -> None:
    """JSON that can be read."""
    json.loads(example.parsed)


def _page(example: Example) -> Page:
    page = example.namespace["page"]
    assert isinstance(page, Page)
    return page


def _saved(example: Example) -> Path | None:
    """The file that a block with its name in the first line was saved as."""
    named = re.match(r"# ([\w-]+\.(?:toml|py))\n", example.parsed)
    if named is None:
        return None
    page = _page(example)
    return _written(page.folder / named[1], page.moved(example.parsed))


def _written(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


def _around(content: dict[str, Any]) -> dict[str, Any]:
    """What some sections of a study file may stand in: those of the template."""
    template = tomllib.loads(TEMPLATE)
    if "groups" in content:  # each has a stand-in of its own
        del template["simulated_subject"]
    if content.get("session", {}).get("response") == "choice":
        del template["simulated_responses"]  # of graded answers
    return template


def _check_rig(folder: Path, sections: dict[str, Any]) -> None:
    """Sections of a rig's file, in place of those of the Bpod's."""
    content = tomllib.loads((ROOT / "examples/rigs/bpod.toml").read_text())
    for name, section in sections.items():
        content[name] = content.get(name, {}) | section
    RigFile(_written(folder / "sections.toml", _dumped(content)))


def _dumped(content: dict[str, Any], prefix: str = "") -> str:
    """TOML of sections of values; enough for study files and those of rigs."""
    tables = {key: value for key, value in content.items() if isinstance(value, dict)}
    lines = [f"[{prefix[:-1]}]"] if prefix else []
    lines += [f"{k} = {json.dumps(v)}" for k, v in content.items() if k not in tables]
    below = [_dumped(value, f"{prefix}{key}.") for key, value in tables.items()]
    return "\n".join([*lines, *below]) + "\n"


# --- pages ---------------------------------------------------------------------


class NotRun:
    """``<!-- not run: REASON -->`` before a block that no test can run."""

    def __init__(self) -> None:
        """A skipper of Sybil's, by another name."""
        self._lexer = DirectiveInHTMLCommentLexer("not run")
        self._skipper = Skipper("not run")

    def __call__(self, document: Document) -> Iterable[Region]:
        """Each mark of a page."""
        for mark in self._lexer(document):
            reason = mark.lexemes["arguments"].strip()
            yield Region(mark.start, mark.end, ("next", repr(reason)), self._skipper)


LANGUAGES = {
    "sh": sh,
    "console": console,
    "python": python,
    "toml": toml,
    "json": read_json,
}
PARSERS = [CodeBlockParser(language, run) for language, run in LANGUAGES.items()]

PAGES = sorted(
    path
    for path in DOCS.rglob("*.md")
    if path.relative_to(DOCS).parts[0] not in ("protocol", "gallery", "_build")
)
"""What people wrote; the protocol's and the gallery's pages have tests of their own."""


def parsed(path: Path) -> Document:
    """A page with its blocks and marks found."""
    return Sybil([*PARSERS, NotRun()]).parse(path)


def languages(path: Path) -> list[str]:
    """The language of each block of code; "indented" for those without a fence."""
    tokens = MarkdownIt().parse(path.read_text(encoding="utf-8"))
    fences = [t.info.split() or [""] for t in tokens if t.type == "fence"]
    indented = [t for t in tokens if t.type == "code_block"]
    found = [words[0] for words in fences if not words[0].startswith("{")]
    return found + ["indented"] * len(indented)


def reasons(path: Path) -> list[str]:
    """Why blocks of a page are not run."""
    marks = DirectiveInHTMLCommentLexer("not run")(parsed(path))
    return [str(mark.lexemes["arguments"]).strip() for mark in marks]


@contextlib.contextmanager
def begun(folder: Path) -> Iterator[Page]:
    """A page under way, ended with all that it began."""
    page = Page(folder)
    try:
        yield page
    finally:
        page.close()
        shutil.rmtree(page.folder, ignore_errors=True)
