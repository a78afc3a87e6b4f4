"""Which column of a foreign table is what: said by the user, or guessed by its name."""

import re
from collections.abc import Iterable, Mapping, Sequence

ROLES = (
    "stimulus",
    "label",
    "correct",
    "response",
    "outcome",
    "reaction_time",
    "phase",
    "subject",
    "session",
    "group",
    "trial",
    "time",
)
"""What a column can be; a stimulus may have several, one for each feature."""

_KNOWN = {
    "label": "label target targetlabel truelabel correctanswer corrans correctresponse "
    "category",
    "correct": "correct accuracy iscorrect keyrespcorr",
    "response": "response answer choice resp keyrespkeys sliderresponse judgement "
    "judgment rating",
    "outcome": "outcome",
    "reaction_time": "reactiontimes reactiontime rt rts rtms reactiontimems "
    "responsetimes responsetime keyresprt latency",
    "phase": "phase trialphase stage",
    "subject": "subject subjectid participant participantid subj subjidx subjectnr "
    "prolificpid workerid mouse animal",
    "session": "session sessionid eid runid",
    "group": "group",
    "trial": "trial trialindex trialnumber trialnr trialsthisn",
    "time": "recordedat",
}
"""Names by which columns are known (Penchant, PsychoPy, jsPsych), without what is
neither letter nor digit."""

_STIMULUS = re.compile(
    r"stim(ulus)?\d*(x|y|z|value)?|feature\d*|orientation(deg)?|direction(deg)?"
    r"|angle(deg)?|frequency(hz)?|contrast|signedcontrast|coherence|x\d*|y|z"
    r"|glomerulus\d+"
)
OURS = {"session", "trial", "phase", "stimulus", "label", "outcome", "response"}
"""Columns of a trials table of ours, whose features stand before the label."""


def columns_of(
    header: Sequence[str], said: Mapping[str, Sequence[str]]
) -> tuple[dict[str, list[str]], list[str]]:
    """The columns of each role, and what was guessed, in words.

    ``said`` is what the user said, by role. Raises ``ValueError`` where it names a
    column that is not there, and where stimulus, label or response stay unknown.
    """
    for role, names in said.items():
        if role not in ROLES:
            raise ValueError(f"unknown role {role!r}; known: {', '.join(ROLES)}")
        for name in names:
            if name not in header:
                raise ValueError(
                    f"there is no column {name!r} for {role}; the table has "
                    f"{', '.join(header)}"
                )
    found = {role: list(names) for role, names in said.items()}
    taken = {name for names in found.values() for name in names}
    guessed = []
    for role in ROLES:
        if role in found:
            continue
        names = _guess(role, [name for name in header if name not in taken], header)
        if names:
            found[role] = names
            taken.update(names)
            guessed.append(f"{role} is {' and '.join(map(repr, names))}")
    if "label" in found:
        found.pop("correct", None)
        guessed = [said for said in guessed if not said.startswith("correct is")]
    _check(found, header)
    return found, guessed


def parsed(options: Iterable[str]) -> dict[str, list[str]]:
    """``stimulus=x+y,label=target`` by role; raises ``ValueError`` for another form."""
    said: dict[str, list[str]] = {}
    for part in (part for option in options for part in option.split(",")):
        role, equals, names = part.partition("=")
        if not (equals and names.strip()):
            raise ValueError(
                "expected ROLE=COLUMN or, of several features, "
                f"stimulus=COLUMN+COLUMN, got {part!r}"
            )
        said[role.strip()] = [name.strip() for name in names.split("+")]
    return said


def _guess(role: str, free: Sequence[str], header: Sequence[str]) -> list[str]:
    if role == "stimulus":
        if set(header) >= OURS:
            between = header[header.index("stimulus") + 1 : header.index("label")]
            return [name for name in between if name in free]
        return [name for name in free if _STIMULUS.fullmatch(_plain(name))]
    known = _KNOWN[role].split()
    ranked = sorted(
        (known.index(_plain(name)), place, name)
        for place, name in enumerate(free)
        if _plain(name) in known
    )
    return [ranked[0][2]] if ranked else []


def _check(found: Mapping[str, Sequence[str]], header: Sequence[str]) -> None:
    lacking = [role for role in ("stimulus", "response") if not found.get(role)]
    if not found.get("label") and not found.get("correct"):
        lacking.append("label")
    if lacking:
        wanted = ",".join(f"{role}=..." for role in lacking)
        raise ValueError(
            f"which columns are {' and '.join(lacking)}? Say --columns {wanted}; the "
            f"table has {', '.join(header)}"
        )


def _plain(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.lower())
