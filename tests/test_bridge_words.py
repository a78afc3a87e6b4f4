"""The words of the bridge: what is written can be read, and all of it is documented."""

import json
import re
import struct
from pathlib import Path
from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pythonosc.osc_packet import OscPacket

from subject_clients.rig.adapter import RigFault
from subject_clients.rig.bridge import BridgeRig, BridgeSection, short
from subject_clients.rig.bridge_words import (
    FromRig,
    HappenedWord,
    ToRig,
    TrialWord,
    Word,
    read,
    written,
)
from subject_clients.rig.config import RigFile
from subject_clients.rig.osc import FROM_RIG, TO_RIG, Osc, OscWire, single
from subject_clients.rig.serial_board import SerialWire, framed, unframed

ROOT = Path(__file__).parent.parent
DOCS = (ROOT / "docs" / "rigs-bridge.md").read_text(encoding="utf-8")

volumes = st.floats(0, 1e5)
seconds = st.floats(0, 1e6)
names = st.text(st.characters(codec="ascii", categories=("L", "N")), min_size=1)
numbers = st.floats(allow_nan=False, allow_infinity=False)

trials = st.builds(
    TrialWord,
    uid=names,
    index=st.integers(0, 10_000),
    training=st.booleans(),
    stimulus=st.dictionaries(names, numbers | st.text() | st.booleans()),
    left_microlitre=volumes,
    right_microlitre=volumes,
    automatic_microlitre=volumes,
    limit_microlitre=volumes,
    left_aversive_s=seconds,
    valid_s=seconds,
    extra=st.dictionaries(names, numbers),
)
accounts = st.builds(
    HappenedWord,
    uid=names,
    outcome=st.sampled_from(["responded", "omission", "premature", "aborted"]),
    side=st.sampled_from(["left", "right", None]),
    reaction_time_s=st.none() | seconds,
    delivered_microlitre=volumes,
    counts=st.dictionaries(names, numbers),
)


@given(accounts, st.booleans())
def test_what_a_rig_writes_is_read_as_it_was(word: HappenedWord, brief: bool) -> None:
    assert read(written(word, brief)) == word


@given(trials)
def test_a_brief_line_says_the_same(word: TrialWord) -> None:
    """And survives its frame; the board, too, finds no end of line in it."""
    line = SerialWire(None).encode(word)
    content = unframed(line.rstrip(b"\n"))
    assert content is not None
    assert b"\n" not in content
    assert TrialWord.model_validate_json(content) == word


@given(trials, st.integers(0), st.integers(1, 255))
def test_no_single_damaged_byte_passes(word: TrialWord, at: int, change: int) -> None:
    line = bytearray(framed(written(word, brief=True).encode()).rstrip(b"\n"))
    before = bytes(line)
    line[at % len(line)] ^= change
    assert unframed(bytes(line)) is None or bytes(line).upper() == before.upper()


@given(st.binary())
def test_bytes_of_any_kind_are_a_word_or_a_fault(raw: bytes) -> None:
    try:
        word = read(raw)
    except RigFault:
        return
    assert isinstance(word, Word)


@given(st.recursive(st.none() | st.booleans() | numbers | st.text(), st.lists))
def test_json_of_any_kind_is_a_word_or_a_fault(value: Any) -> None:
    for what in ("happened", "hello", "given"):
        with pytest.raises(RigFault, match="not understood"):
            read(json.dumps({"what": what, "uid": value, "name": value}) + "}")


@given(trials)
def test_a_trial_over_osc_is_what_it_was_but_for_the_last_digits(
    word: TrialWord,
) -> None:
    """Within 32 bits, and a limit never above what it was."""
    shown = {"orientation_deg": 45.0, "name": "bar"}
    word = word.model_copy(update={"stimulus": shown, "extra": {"window_s": 2.0}})
    section = Osc(stimulus=["name", "orientation_deg"], extra=["window_s"])
    wire = OscWire.__new__(OscWire)
    wire._section = section
    packet = OscPacket(wire.encode(word))
    got = {m.message.address: m.message.params for m in packet.messages}
    assert list(got) == [
        f"/penchant/{a}" for a in ("stimulus", "extra", "times", "trial")
    ]
    assert got["/penchant/stimulus"] == [word.uid, "bar", 45.0]
    assert got["/penchant/extra"] == [word.uid, 2.0]
    for address in ("times", "trial"):
        for name, value in zip(
            TO_RIG[address], got[f"/penchant/{address}"], strict=True
        ):
            wanted = getattr(word, name)
            if isinstance(wanted, float):
                assert wanted * (1 - 1e-6) - 1e-40 <= value <= wanted
            else:
                assert value == wanted


@given(st.floats(0, 1e6))
def test_a_single_is_the_nearest_that_is_not_more(value: float) -> None:
    got = single(value)
    assert got <= value
    assert struct.unpack(">f", struct.pack(">f", got))[0] == got


@given(names)
def test_a_short_uid_tells_trials_apart(uid: str) -> None:
    long = "session-of-a-subject-with-a-long-name/" + uid + "x"
    assert len(short(long, 40)) <= 40
    assert short(long, 40) != short(long + "y", 40)
    assert short(uid[:40], 40) == uid[:40]


class Broken(SerialWire):
    """A wire with an error that nobody expects."""

    def __init__(self, error: Exception) -> None:
        super().__init__(None)
        self._error = error

    def send(self, content: bytes, urgent: bool) -> None:
        del content, urgent
        raise self._error

    def receive(self, timeout_s: float) -> FromRig | None:
        del timeout_s
        raise self._error

    def close(self) -> None:
        """Nothing to let go of."""


@pytest.mark.parametrize(
    "error", [RuntimeError("odd"), OSError("odd"), KeyError("odd")]
)
def test_nobody_waits_for_a_wire_that_broke(error: Exception) -> None:
    with pytest.raises(RigFault, match=r"connection to the rig is lost: .*odd"):
        BridgeRig(Broken(error), BridgeSection())


# --- documentation --------------------------------------------------------------------


def _table(title: str) -> dict[str, set[str]]:
    """Fields by message, as a table of the documentation has them."""
    found: dict[str, set[str]] = {}
    message = ""
    for line in DOCS.partition(f"### {title}\n")[2].split("\n## ")[0].split("\n"):
        if line.startswith("### "):
            break
        cells = [cell.strip() for cell in line.strip("| ").split(" | ")]
        quoted = [match for cell in cells for match in re.findall(r"^`(\w+)`$", cell)]
        if line.startswith("| `"):
            message = quoted.pop(0)
            found[message] = set()
        field = next((f for f in quoted if f not in ANSWERS.get(message, ())), None)
        if message and field and line.startswith("| "):
            found[message].add(field)
    return found


ANSWERS = {
    "hello": ("hello",),
    "trial": ("started",),
    "play": ("ready",),
    "reward": ("given",),
    "safe": ("safe",),
}


@pytest.mark.parametrize(
    ("title", "words"), [("To the rig", ToRig), ("From the rig", FromRig)]
)
def test_every_field_of_every_message_is_documented(title: str, words: Any) -> None:
    expected = {
        word.model_fields["what"].default: set(word.model_fields) - {"what"}
        for word in get_args(words)
    }
    assert _table(title) == expected


@pytest.mark.parametrize("ways", [TO_RIG, FROM_RIG])
def test_every_osc_address_is_documented_with_its_arguments(
    ways: dict[str, tuple[str, ...]],
) -> None:
    for address, arguments in ways.items():
        rows = [
            row
            for row in DOCS.split("\n")
            if row.startswith(f"| `/penchant/{address}`")
        ]
        told = [re.findall(r"`(\w+)`", row.split(" | ", 2)[2]) for row in rows]
        known = [tuple(n for n in one if n in arguments) for one in told]
        assert arguments in known, address
        assert len(arguments) <= 8  # which is all that Bonsai reads


def test_every_option_is_documented() -> None:
    for name in BridgeSection.model_fields:
        assert f"`{name}`" in DOCS


@pytest.mark.parametrize("name", ["serial", "osc", "zeromq"])
def test_the_example_files_are_sound(name: str) -> None:
    file = RigFile(ROOT / "examples" / "rigs" / f"{name}.toml")
    assert file.rig.hardware == name
    assert isinstance(file.hardware(), BridgeSection)
