"""Invitations: one address for many, a pseudonym for each, an end for all."""

import base64
import json
import re
import string
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from participants import ANN, BOB, DAY_S, refusal
from small_study import Clock
from sqlalchemy import func, insert, select
from sqlalchemy.engine import Engine

from server import schema
from server.access import FRESH_S, MAX_SECRET_CHARS, Access
from server.database import open_database
from server.invitations import (
    GRACE_S,
    LINKS,
    MAX_PERSON_CHARS,
    PREFIX,
    Invitations,
)
from server.protocol import ProtocolError

pytest_plugins = ["admission", "postgres"]


# --- who comes --------------------------------------------------------------------


def test_the_same_person_is_the_same_subject_and_nobody_else_is(
    access: Access, invitations: Invitations, tmp_path: Path
) -> None:
    def subject(invitation: str, person: str) -> str:
        return access.participant(invitations.follow(invitation, person, None)).subject

    _, first = invitations.issue("small", DAY_S, 10)
    _, later = invitations.issue("small", DAY_S, 10)
    _, other = invitations.issue("large", DAY_S, 10)
    ann = subject(first, ANN)
    assert subject(first, ANN) == subject(later, ANN) == subject(first, f" {ANN} ")
    assert len({ann, subject(first, BOB), subject(other, ANN)}) == 3
    assert re.fullmatch(r"p-[0-9a-f]{16}", ann)
    engine = open_database(tmp_path / "other.db")
    elsewhere = Invitations(theirs := Access(engine))
    _, invitation = elsewhere.issue("small", DAY_S, 10)
    link = elsewhere.follow(invitation, ANN, None)
    assert theirs.participant(link).subject != ann, "the key is the database's own"
    engine.dispose()


def test_the_link_says_what_the_invitation_did(
    access: Access, invitations: Invitations, clock: Clock
) -> None:
    _, invitation = invitations.issue("small", DAY_S, 10, "control")
    clock.now += DAY_S / 2
    link = access.participant(invitations.follow(invitation, ANN, None))
    assert (link.study, link.group) == ("small", "control")
    assert link.expires_at <= clock.now + DAY_S / 2 + GRACE_S
    caller = access.caller(invitations.follow(invitation, ANN, None))
    assert caller.role == "participant"
    assert caller[2:] == ("small", link.subject, None, "control")


def test_whoever_has_no_name_is_known_by_the_link_they_hold(
    access: Access, invitations: Invitations
) -> None:
    _, invitation = invitations.issue("small", DAY_S, 10)
    first, second = (invitations.follow(invitation, None, None) for _ in range(2))
    subjects = [access.participant(link).subject for link in (first, second)]
    assert subjects[0] != subjects[1]
    assert invitations.follow(invitation, None, first) == first
    ann = access.participant(invitations.follow(invitation, ANN, first)).subject
    assert ann not in subjects, "somebody else at the same computer"
    elsewhere = access.link("large", "p-07", DAY_S)
    for held in (elsewhere, first[:-1], "", "pen_0_x"):
        link = invitations.follow(invitation, None, held)
        assert access.participant(link).study == "small"
        assert access.participant(link).subject not in (*subjects, "p-07")


@pytest.mark.parametrize(
    "unfilled",
    ["{{%PROLIFIC_PID%}}", "%SURVEY_CODE%", " ", "x" * (MAX_PERSON_CHARS + 1)],
)
def test_a_placeholder_is_nobody(invitations: Invitations, unfilled: str) -> None:
    """Else all whom a site forgot to name would be one subject."""
    _, invitation = invitations.issue("small", DAY_S, 10)
    refused = refusal(lambda: invitations.follow(invitation, unfilled, None))
    assert (refused.status, refused.error) == (400, "no_person")
    assert unfilled not in refused.detail or unfilled == " "


# --- how many ---------------------------------------------------------------------


def test_no_more_come_than_were_invited(
    access: Access, invitations: Invitations
) -> None:
    _, invitation = invitations.issue("small", DAY_S, 2)
    _, other = invitations.issue("small", DAY_S, 2)
    for _ in range(20):  # again and again is one place
        invitations.follow(invitation, ANN, None)
    held = invitations.follow(invitation, None, None)
    for person in (BOB, None):
        refused = refusal(lambda p=person: invitations.follow(invitation, p, None))  # type: ignore[misc]
        assert (refused.status, refused.error) == (410, "full")
    assert access.participant(invitations.follow(invitation, ANN, None))
    assert invitations.follow(invitation, None, held) == held
    assert invitations.follow(other, BOB, None), "each has places of its own"


def test_links_of_one_person_do_not_pile_up(
    engine: Engine, invitations: Invitations
) -> None:
    _, invitation = invitations.issue("small", DAY_S, 2)
    for _ in range(30):
        invitations.follow(invitation, ANN, None)
    with engine.connect() as connection:
        rows = connection.execute(select(func.count(schema.tokens.c.id))).scalar_one()
    assert rows <= LINKS + 1


def test_servers_that_count_at_once_let_in_no_more(where: str) -> None:
    """Each of its own engine, as processes have; both kinds of database."""
    engine = open_database(where)
    _, invitation = Invitations(Access(engine)).issue("small", DAY_S, 3)
    start = threading.Barrier(8)
    came: list[str] = []
    refused: list[str] = []

    def follow(person: str) -> None:
        mine = open_database(where)
        invitations = Invitations(Access(mine))
        start.wait()
        try:
            came.append(invitations.follow(invitation, person, None))
        except ProtocolError as error:
            refused.append(error.refusal.error)
        mine.dispose()

    people = [f"{ANN[:-1]}{number}" for number in range(8)]
    threads = [threading.Thread(target=follow, args=(one,)) for one in people]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (len(came), refused) == (3, ["full"] * 5)
    assert len({Access(engine).participant(link).subject for link in came}) == 3
    engine.dispose()


# --- its end ----------------------------------------------------------------------


def test_a_revoked_invitation_ends_with_the_links_it_has_made(
    access: Access, invitations: Invitations, engine: Engine, clock: Clock
) -> None:
    name, invitation = invitations.issue("small", DAY_S, 10)
    _, other = invitations.issue("small", DAY_S, 10)
    mine, theirs = (invitations.follow(one, ANN, None) for one in (invitation, other))
    by_hand = access.link("small", "p-07", DAY_S)
    assert access.caller(mine).role == "participant"
    assert Access(engine, clock).revoke(name)
    clock.now += FRESH_S
    assert refusal(lambda: access.caller(mine)).status == 401
    for held in (None, mine):
        refused = refusal(lambda h=held: invitations.follow(invitation, BOB, h))  # type: ignore[misc]
        assert refused.status == 401
    assert access.caller(theirs).study == "small"
    assert access.caller(by_hand).subject == "p-07"
    assert not access.revoke(name), "it was withdrawn already"


def test_an_invitation_revoked_while_somebody_comes_lets_nobody_in(
    access: Access,
    invitations: Invitations,
    engine: Engine,
    clock: Clock,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Withdrawn by another process between the look and the count."""
    name, invitation = invitations.issue("small", DAY_S, 10)
    other = open_database(engine.url.database or "")
    looked = invitations.opened

    def then_revoked(credential: str) -> Any:
        said = looked(credential)
        assert Access(other, clock).revoke(name)
        return said

    monkeypatch.setattr(invitations, "opened", then_revoked)
    assert refusal(lambda: invitations.follow(invitation, ANN, None)).status == 401
    assert len(access.tokens()) == 1
    other.dispose()


def test_an_expired_invitation_lets_nobody_in(
    access: Access, invitations: Invitations, clock: Clock
) -> None:
    _, invitation = invitations.issue("small", DAY_S, 10)
    clock.now += DAY_S - 1
    link = invitations.follow(invitation, ANN, None)
    clock.now += 1
    assert refusal(lambda: invitations.follow(invitation, BOB, None)).status == 401
    assert refusal(lambda: invitations.follow(invitation, ANN, link)).status == 401
    assert access.caller(link).role == "participant", "a session may end"
    clock.now += GRACE_S
    assert refusal(lambda: access.caller(link)).status == 401


def test_whose_link_was_withdrawn_does_not_come_in_again(
    access: Access, invitations: Invitations
) -> None:
    _, invitation = invitations.issue("small", DAY_S, 10)
    link = invitations.follow(invitation, ANN, None)
    subject = access.participant(link).subject
    assert access.revoke_links("small", subject) == 1
    for held in (None, link):
        refused = refusal(lambda h=held: invitations.follow(invitation, ANN, h))  # type: ignore[misc]
        assert refused.status == 401
    assert invitations.follow(invitation, BOB, None)


def test_a_new_invitation_in_place_of_a_revoked_one_takes_everybody(
    access: Access, invitations: Invitations
) -> None:
    """It had got into wrong hands; those who came by it have done nothing wrong."""
    name, leaked = invitations.issue("small", DAY_S, 10)
    before = access.participant(invitations.follow(leaked, ANN, None)).subject
    access.revoke(name)
    _, invitation = invitations.issue("small", DAY_S, 10)
    link = invitations.follow(invitation, ANN, None)
    assert access.participant(link).subject == before


# --- no secret, no oracle ---------------------------------------------------------


def test_an_invitation_is_no_secret_of_another_kind(
    access: Access, invitations: Invitations
) -> None:
    _, invitation = invitations.issue("small", DAY_S, 10)
    link = invitations.follow(invitation, ANN, None)
    _, token = access.issue("operator")
    for call in (access.caller, access.participant):
        refused = refusal(lambda call=call: call(invitation))  # type: ignore[misc]
        assert refused.status == 401
    as_invitation = PREFIX + link.partition(".")[2]
    for wrong in (link, token, as_invitation, ""):
        refused = refusal(lambda w=wrong: invitations.follow(w, ANN, None))  # type: ignore[misc]
        assert refused.status == 401
    assert len(invitation) < MAX_SECRET_CHARS
    assert re.fullmatch(r"[\w.-]+", invitation), "goes into an address as it is"


def test_an_invitation_with_one_character_changed_is_refused(
    invitations: Invitations,
) -> None:
    _, invitation = invitations.issue("small", DAY_S, 10, "control")
    alphabet = string.ascii_letters + string.digits + "-_.=~% é"
    for at in range(len(invitation)):
        for other in alphabet:
            changed = invitation[:at] + other + invitation[at + 1 :]
            if changed != invitation:
                with pytest.raises(ProtocolError):
                    invitations.follow(changed, ANN, None)
    assert invitations.follow(invitation, ANN, None)


def test_a_forged_invitation_is_refused(
    invitations: Invitations, engine: Engine, tmp_path: Path
) -> None:
    _, invitation = invitations.issue("small", DAY_S, 1)
    head, _, signature = invitation.removeprefix(PREFIX).rpartition(".")
    said = json.loads(base64.urlsafe_b64decode(head + "==="))
    assert 1 in said
    said[said.index(1)] = 1000
    forged = base64.urlsafe_b64encode(json.dumps(said).encode()).decode().rstrip("=")
    bad = f"{PREFIX}{forged}.{signature}"
    assert refusal(lambda: invitations.follow(bad, ANN, None)).status == 401
    # Nor does a row that somebody wrote into this database.
    other = open_database(tmp_path / "other.db")
    _, foreign = Invitations(Access(other)).issue("small", 1000 * DAY_S, 1000)
    with other.connect() as theirs, engine.begin() as ours:
        row = theirs.execute(select(schema.tokens)).one()._asdict()
        ours.execute(insert(schema.tokens), [row])
    other.dispose()
    assert refusal(lambda: invitations.follow(foreign, ANN, None)).status == 401


@pytest.fixture(scope="module")
def stocked() -> Iterator[Invitations]:
    """A database with an invitation, for strangers to try theirs on."""
    engine = open_database("sqlite://")
    invitations = Invitations(Access(engine))
    invitations.issue("small", DAY_S, 10)
    yield invitations
    engine.dispose()


@given(
    secret=st.text()
    | st.text().map(PREFIX.__add__)
    | st.from_regex(r"pen_invite\.[\w.-]*", fullmatch=True)
)
def test_any_text_as_an_invitation_is_refused(
    stocked: Invitations, secret: str
) -> None:
    assert refusal(lambda: stocked.follow(secret, ANN, None)).status == 401


def test_a_database_that_fails_lets_nobody_in(
    invitations: Invitations, engine: Engine
) -> None:
    _, invitation = invitations.issue("small", DAY_S, 10)
    with engine.begin() as connection:
        schema.tokens.drop(connection)
    refused = refusal(lambda: invitations.follow(invitation, ANN, None))
    assert refused.status == 503
    assert ANN not in refused.detail


def test_neither_secrets_nor_people_are_in_the_files_of_the_database(
    access: Access, invitations: Invitations, tmp_path: Path
) -> None:
    name, invitation = invitations.issue("small", DAY_S, 10)
    link = invitations.follow(invitation, ANN, None)
    stored = b"".join(path.read_bytes() for path in tmp_path.iterdir())
    assert name.encode() in stored  # these are the files
    assert access.participant(link).subject.encode() in stored
    for hidden in (invitation, link, *invitation.split(".")[1:], ANN):
        assert hidden.encode() not in stored


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"study": "a b"}, "name of a study"),
        ({"group": ""}, "name of a group"),
        ({"most": 0}, "got 0"),
        ({"valid_s": 0}, "above 0"),
        ({"valid_s": float("inf")}, "above 0"),
    ],
)
def test_an_invitation_that_makes_no_sense_is_not_issued(
    access: Access, invitations: Invitations, options: dict[str, Any], expected: str
) -> None:
    usual: dict[str, Any] = {"study": "small", "valid_s": DAY_S, "most": 10}
    with pytest.raises(ValueError, match=expected):
        invitations.issue(**usual | options)
    assert not access.tokens()
