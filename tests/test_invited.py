"""Whoever follows an invitation in a browser: their page, and nobody's own name."""

import logging
import re
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from flask.testing import FlaskClient
from live_server import door_of
from participants import ANN, BOB, DAY_S, refusal, say
from small_study import Clock, facts, open_desk
from sqlalchemy import event
from sqlalchemy.engine import Engine
from sqlalchemy.exc import OperationalError

from server import schema
from server.access import Access
from server.app import create_app
from server.desk import Desk
from server.door import Door
from server.events import SessionOpened
from server.invitations import PREFIX, Invitations
from server.journal import Journal
from server.limits import Limits
from server.logs import log_fact
from server.protocol import ProtocolError
from server.redaction import install
from server.scrub import scrub

pytest_plugins = ["admission"]


# --- at the door ------------------------------------------------------------------


@pytest.fixture
def desk(journal: Journal) -> Desk:
    return open_desk(journal, mode="live")


@pytest.fixture
def door(desk: Desk, access: Access) -> Door:
    return door_of(desk, access)


@pytest.fixture
def browser(door: Door) -> FlaskClient:
    """A browser that keeps cookies and follows nothing by itself."""
    return create_app(door)[0].test_client()


def credential(location: str) -> str:
    """The link in an address."""
    return urlsplit(location).path.rpartition("/")[2]


def test_whoever_follows_an_invitation_is_sent_to_their_own_page(
    browser: FlaskClient, access: Access, invitations: Invitations
) -> None:
    _, invitation = invitations.issue("small", DAY_S, 10)
    query = f"PROLIFIC_PID={ANN}&SESSION_ID=a%20b"
    sent = browser.get(f"/participate/{invitation}?{query}")
    assert sent.status_code == 302
    location = sent.headers["Location"]
    link = credential(location)
    assert access.participant(link).study == "small"
    assert re.split("[?#]", location)[1] == query, "for the page, as it came"
    assert invitation not in location
    assert sent.headers["Referrer-Policy"] == "no-referrer"
    assert sent.headers["Cache-Control"] == "no-store"
    cookie = sent.headers["Set-Cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=Lax" in cookie
    assert ANN not in cookie
    assert browser.get(f"/participate/{link}").status_code == 200


def test_a_cookie_goes_over_tls_only_where_there_is_tls(
    browser: FlaskClient, invitations: Invitations
) -> None:
    _, invitation = invitations.issue("small", DAY_S, 10)
    for scheme in ("http", "https"):
        sent = browser.get(f"/participate/{invitation}", base_url=f"{scheme}://lab")
        secure = "; Secure" in sent.headers["Set-Cookie"]
        assert secure == (scheme == "https")


@pytest.mark.parametrize("name", ["PROLIFIC_PID", "survey_code", "id"])
def test_a_site_says_who_comes_in_its_own_words(
    door: Door, access: Access, invitations: Invitations, name: str
) -> None:
    _, invitation = invitations.issue("small", DAY_S, 10)

    def came(query: str) -> str:
        browser = create_app(door)[0].test_client()  # at a computer of their own
        sent = browser.get(f"/participate/{invitation}?{query}")
        return access.participant(credential(sent.headers["Location"])).subject

    assert came(f"{name}={ANN}") == came(f"{name}={ANN}&STUDY_ID=1")
    assert came(f"{name}={ANN}") != came(f"{name}={BOB}")
    assert came("") != came("")


def test_a_browser_comes_back_without_a_name(
    browser: FlaskClient, access: Access, invitations: Invitations
) -> None:
    _, invitation = invitations.issue("small", DAY_S, 1)
    sent = [browser.get(f"/participate/{invitation}") for _ in range(3)]
    links = [credential(one.headers["Location"]) for one in sent]
    assert len({access.participant(link).subject for link in links}) == 1


def test_the_same_person_goes_on_and_has_one_session(
    browser: FlaskClient, invitations: Invitations
) -> None:
    _, invitation = invitations.issue("small", DAY_S, 10)

    def come() -> tuple[str, Any]:
        sent = browser.get(f"/participate/{invitation}?PROLIFIC_PID={ANN}")
        link = credential(sent.headers["Location"])
        who = invitations._access.participant(link).subject
        return link, say(browser, link, "hello", protocol=1, subject=who)

    link, assigned = come()
    session = assigned["session"]
    uid = f"{session}/0"
    say(browser, link, "respond", session=session, uid=uid, value=0.1)
    browser.delete_cookie("penchant_link")
    link, again = come()
    assert (again["session"], again["next_trial"]) == (session, 1)
    say(browser, link, "abandon", session=session, reason="tired")
    _, refused = come()
    assert (refused["type"], refused["study"]) == ("done", False)
    assert "one session of each subject" in refused["reason"]


def test_a_look_from_outside_takes_no_place(
    browser: FlaskClient, access: Access, invitations: Invitations
) -> None:
    """Programs that show a preview of an address ask for its head first."""
    _, invitation = invitations.issue("small", DAY_S, 1)
    for _ in range(5):
        browser.head(f"/participate/{invitation}")
    assert len(access.tokens()) == 1


@pytest.mark.parametrize("fault", ["unknown", "revoked", "expired", "full", "unfilled"])
def test_an_invitation_that_does_not_serve_shows_why_and_no_study(
    browser: FlaskClient,
    access: Access,
    invitations: Invitations,
    clock: Clock,
    fault: str,
) -> None:
    name, invitation = invitations.issue("small", DAY_S, 1)
    invitations.follow(invitation, BOB, None)
    person, status = ANN, 401
    if fault == "unknown":
        invitation = PREFIX + invitation.removeprefix(PREFIX)[::-1]
    elif fault == "revoked":
        access.revoke(name)
    elif fault == "expired":
        clock.now += DAY_S
    elif fault == "full":
        status = 410
    else:
        person, status = "{{%PROLIFIC_PID%}}", 400
    shown = browser.get(
        f"/participate/{invitation}", query_string={"PROLIFIC_PID": person}
    )
    assert shown.status_code == status
    assert shown.mimetype == "text/html"
    assert "Location" not in shown.headers
    assert "Set-Cookie" not in shown.headers
    assert shown.headers["Cache-Control"] == "no-store"
    for hidden in (invitation, person, "small"):
        assert hidden not in shown.text


def test_wrong_invitations_of_an_address_are_limited(
    door: Door, invitations: Invitations
) -> None:
    door._limits = Limits(failures_per_minute=3)
    browser = create_app(door)[0].test_client()
    _, invitation = invitations.issue("small", DAY_S, 10)
    wrong = [browser.get(f"/participate/{PREFIX}{n}").status_code for n in range(5)]
    assert wrong == [401, 401, 401, 429, 429]
    right = browser.get(f"/participate/{invitation}")
    assert right.status_code == 302, "nobody is locked out by others at an address"


# --- nothing personal -------------------------------------------------------------


def test_no_person_is_in_the_log(
    door: Door,
    browser: FlaskClient,
    engine: Engine,
    invitations: Invitations,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Neither of who came nor when something failed, at any level."""
    make = logging.getLogRecordFactory()
    install()
    door.studies.told.append(log_fact)
    caplog.set_level(logging.DEBUG)
    try:
        _, invitation = invitations.issue("small", DAY_S, 1)
        address = f"/participate/{invitation}?PROLIFIC_PID={ANN}"
        link = credential(browser.get(address).headers["Location"])
        who = invitations._access.participant(link).subject
        came_with = {"url.PROLIFIC_PID": ANN}
        hello = {"protocol": 1, "subject": who, "capabilities": came_with}
        assert say(browser, link, "hello", **hello)["type"] == "assignment"
        browser.get(f"/participate/{invitation}?PROLIFIC_PID={BOB}")
        logging.getLogger("any").warning("GET %s failed", address)
        with engine.begin() as connection:
            schema.tokens.drop(connection)
        with pytest.raises(ProtocolError):
            invitations.follow(invitation, BOB, None)
        assert browser.get(address).status_code == 503
    finally:
        logging.setLogRecordFactory(make)
    written = caplog.text
    assert f"subject={who}" in written, "something was logged"
    assert "GET /participate/*** failed" in written
    for hidden in (ANN, BOB, link, invitation):
        assert hidden not in written


def test_an_error_that_names_a_person_is_not_passed_on(
    invitations: Invitations, engine: Engine
) -> None:
    """What a database says of a failed statement may hold its values."""
    _, invitation = invitations.issue("small", DAY_S, 1)

    def fail(*_: Any) -> None:
        raise OperationalError(f"select '{ANN}'", {}, Exception(ANN))

    event.listen(engine, "before_cursor_execute", fail)
    refused = refusal(lambda: invitations.follow(invitation, ANN, None))
    assert refused.status == 503
    assert ANN not in refused.detail


def test_a_scrubbed_study_knows_nobody(
    browser: FlaskClient,
    invitations: Invitations,
    journal: Journal,
    tmp_path: Path,
) -> None:
    _, invitation = invitations.issue("small", DAY_S, 10)
    sent = browser.get(f"/participate/{invitation}?PROLIFIC_PID={ANN}")
    link = credential(sent.headers["Location"])
    who = invitations._access.participant(link).subject
    came_with = {"url.PROLIFIC_PID": ANN}
    hello = {"protocol": 1, "subject": who, "capabilities": came_with}
    session = say(browser, link, "hello", **hello)["session"]
    say(browser, link, "abandon", session=session, reason=f"{who} left")
    (opened,) = facts(journal, SessionOpened)
    assert (opened.subject, opened.client) == (who, came_with)
    scrub(tmp_path / "journal.db", "small", who, tmp_path / "scrubbed.db")
    for name, there in (("journal.db", True), ("scrubbed.db", False)):
        held = b"".join(path.read_bytes() for path in tmp_path.glob(f"{name}*"))
        for personal in (ANN, who):
            assert (personal.encode() in held) == there, (name, personal)
