"""What the server has for a participant in a browser: pages, stimuli, the end."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from flask.testing import FlaskClient
from hypothesis import given
from hypothesis import strategies as st
from live_server import door_of
from participants import DAY_S, bearer, said_by
from small_study import Clock, open_desk

from server import completion, schema
from server.access import FRESH_S, Access
from server.app import create_app
from server.desk import Desk
from server.human_section import HumanSection
from server.journal import Journal
from server.protocol import ProtocolError
from server.roles import ROLES, Role
from server.stimulus_files import content, names
from server.study_file import Study, load

pytest_plugins = ["admission"]

CODE = "C0-DE_42"

STUDY = f"""
[study]
name = "small"

[stimuli]
space = "table"
path = "sets/faces.csv"

[session]
training_stimuli = 6
test_stimuli = 6
lease_s = 30.0

[search]
population = 4
generations = 2

[labelling]
family = "basis"
degree = 2

[human]
title = "Faces"
instructions = ["Look.", "Answer."]
completion_code = "{CODE}"
completion_url = "https://site.example/{{PROLIFIC_PID}}/done?cc={{code}}&s={{id}}"
"""

FILES = {
    "a b.png": "image/png",
    "ü.JPG": "image/jpeg",
    "sub/c.svg": "image/svg+xml",
    "d.wav": "audio/wav",
    "e.strange": "application/octet-stream",
    "f.html": "application/octet-stream",
    "inside.png": "image/png",
}
"""What a browser gets, and as what."""

OUTSIDE = ["../secret.png", "away.png"]
"""What the table names too, and is not in its folder."""


def write_files(folder: Path) -> Path:
    """A study file; its stimuli are in a folder of their own."""
    sets = folder / "sets"
    (sets / "sub").mkdir(parents=True)
    for name in FILES:
        (sets / name).write_bytes(name.encode())
    (folder / "secret.png").write_bytes(b"secret")
    (sets / "away.png").symlink_to(folder / "secret.png")
    (sets / "inside.png").unlink()
    (sets / "inside.png").symlink_to(sets / "a b.png")
    listed = [*FILES, *OUTSIDE, *FILES]
    rows = [f"{n},{n % 4},{n // 4},{name}" for n, name in enumerate(listed)]
    table = "\n".join(["id,x,y,file", *rows])
    (sets / "faces.csv").write_text(table, encoding="utf-8")
    path = folder / "small.toml"
    path.write_text(STUDY, encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("pages")


@pytest.fixture(scope="module")
def study(folder: Path) -> Study:
    """Loaded by a server that is somewhere else."""
    return load(write_files(folder))


@pytest.fixture
def desk(journal: Journal, study: Study, clock: Clock) -> Desk:
    return open_desk(journal, clock, study=study, mode="live")


@pytest.fixture
def browser(desk: Desk, access: Access) -> FlaskClient:
    return create_app(door_of(desk, access))[0].test_client()


def secret_of(access: Access, role: Role) -> str:
    subject = "p-07" if role == "participant" else None
    return access.issue(role, study="small", subject=subject)[1]


# --- who may ask ------------------------------------------------------------------

PAGES = ["human", "stimuli", "stimuli/d.wav", "completion"]


@pytest.mark.parametrize("page", PAGES)
def test_whoever_may_begin_a_session_may_ask(
    browser: FlaskClient, access: Access, page: str
) -> None:
    secrets = {role: secret_of(access, role) for role in ROLES}
    for role, secret in secrets.items():
        said = browser.get(f"/api/v1/{page}", headers=bearer(secret), buffered=True)
        assert said.status_code == (403 if role == "viewer" else 200)
    link = access.link("small", "p-07", DAY_S)
    said = browser.get(f"/api/v1/{page}", headers=bearer(link), buffered=True)
    assert said.status_code == 200
    elsewhere = access.link("large", "p-07", DAY_S)
    for wrong, status in ((elsewhere, 404), (link[:-1], 401), ("", 401)):
        refused = browser.get(f"/api/v1/{page}", headers=bearer(wrong))
        assert refused.status_code == status
        assert said_by(refused)["type"] == "refusal"
    asked = browser.get(f"/api/v1/{page}?study=large", headers=bearer(link))
    assert asked.status_code == 403


def test_what_a_human_is_told_is_the_study_file_without_its_end(
    browser: FlaskClient, access: Access, study: Study
) -> None:
    link = access.link("small", "p-07", DAY_S)
    said = browser.get("/api/v1/human", headers=bearer(link))
    assert said.json == study.human().model_dump(mode="json")
    assert said_by(said)["task"]["title"] == "Faces"
    for hidden in (CODE, "site.example", "completion"):
        assert hidden not in said.text


# --- the page ---------------------------------------------------------------------


def check_headers(headers: Any) -> None:
    policy = headers["Content-Security-Policy"]
    rules = dict(part.split(None, 1) for part in policy.split(";") if part.strip())
    assert rules["default-src"].strip() == "'self'"
    assert rules["frame-ancestors"].strip() == "'none'"
    assert rules["base-uri"].strip() == "'none'"
    for rule in ("default-src", "script-src"):
        assert "unsafe" not in rules.get(rule, "")
    assert headers["Referrer-Policy"] == "no-referrer"
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Cache-Control"] == "no-store"


def test_a_link_opens_a_page_that_keeps_it_to_itself(
    browser: FlaskClient, access: Access
) -> None:
    link = access.link("small", "p-07", DAY_S)
    page = browser.get(f"/participate/{link}")
    assert (page.status_code, page.mimetype) == (200, "text/html")
    check_headers(page.headers)
    assert CODE not in page.text
    assert "site.example" not in page.text
    needed = re.findall(r'(?:src|href)="([^"]+)"', page.text)
    assert needed
    for address in needed:  # relative to the page, and so of this site
        sent = browser.get(f"/participate/{address}", buffered=True)
        assert sent.status_code == 200, address


@pytest.mark.parametrize("fault", ["unknown", "expired", "revoked", "token", "nothing"])
def test_a_link_that_does_not_serve_has_a_page_that_says_so(
    browser: FlaskClient, access: Access, clock: Clock, fault: str
) -> None:
    link = access.link("small", "p-07", DAY_S)
    if fault == "unknown":
        link = link[:-1] + ("A" if link[-1] != "A" else "B")
    elif fault == "expired":
        clock.now += DAY_S
    elif fault == "revoked":
        access.revoke_links("small", "p-07")
    elif fault == "token":  # of a participant, but it is no link
        link = access.issue("participant", study="small", subject="p-07")[1]
    else:
        link = "x"
    page = browser.get(f"/participate/{link}")
    assert (page.status_code, page.mimetype) == (401, "text/html")
    check_headers(page.headers)
    for hidden in ("p-07", "small", link) if fault != "nothing" else ("p-07",):
        assert hidden not in page.text


def test_a_link_revoked_elsewhere_has_no_page_within_a_second(
    browser: FlaskClient, access: Access, clock: Clock
) -> None:
    link = access.link("small", "p-07", DAY_S)
    assert browser.get(f"/participate/{link}").status_code == 200
    Access(access.engine, clock).revoke_links("small", "p-07")
    clock.now += FRESH_S
    assert browser.get(f"/participate/{link}").status_code == 401


def test_a_database_that_fails_is_said_to(
    browser: FlaskClient, access: Access, clock: Clock
) -> None:
    link = access.link("small", "p-07", DAY_S)
    with access.engine.begin() as connection:
        schema.tokens.drop(connection)
    clock.now += FRESH_S
    page = browser.get(f"/participate/{link}")
    assert page.status_code == 503
    assert link not in page.text


@pytest.mark.parametrize(
    "name",
    [
        *("page.html", "closed.html", "", "x.js", "../participant_pages.py"),
        *("%2e%2e/template.toml", "vendor/../../app.py", "/etc/passwd", "vendor"),
    ],
)
def test_assets_are_those_of_the_page_alone(browser: FlaskClient, name: str) -> None:
    sent = browser.get(f"/participate/assets/v/{name}")
    assert sent.status_code in (404, 308), "308 leads to the same without a //"


def test_an_asset_is_what_it_says(browser: FlaskClient) -> None:
    sent = browser.get("/participate/assets/v/vendor/jspsych.js", buffered=True)
    assert sent.status_code == 200
    assert sent.mimetype == "text/javascript"
    assert sent.headers["X-Content-Type-Options"] == "nosniff"


# --- stimuli ----------------------------------------------------------------------


@pytest.fixture
def asked(browser: FlaskClient, access: Access) -> Callable[[str], Any]:
    """Asks for a stimulus as a participant."""
    link = access.link("small", "p-07", DAY_S)
    return lambda path: browser.get(
        f"/api/v1/stimuli{path}", headers=bearer(link), buffered=True
    )


def test_the_files_of_a_table_are_sent_whatever_the_working_directory(
    asked: Callable[[str], Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert asked("").json == {"files": [*FILES]}
    for name, kind in FILES.items():
        sent = asked("/" + quote(name))
        real = "a b.png" if name == "inside.png" else name
        assert (sent.status_code, sent.data) == (200, real.encode())
        assert sent.mimetype == kind
        assert sent.headers["Cache-Control"].startswith("private")
        assert sent.headers["X-Content-Type-Options"] == "nosniff"
        assert "sandbox" in sent.headers["Content-Security-Policy"]


@pytest.mark.parametrize(
    "name",
    [
        *OUTSIDE,
        *("../small.toml", "faces.csv", "sub", ".", "..", "sub/../a b.png"),
        *(
            "%2e%2e/secret.png",
            "..%2fsecret.png",
            "%2e%2e%2fsecret.png",
            "a%20b.png%00",
        ),
        *("/etc/passwd", "%2fetc/passwd", "A B.PNG", "sub/c.svg/", "a b.png/"),
        *("..\\secret.png", "....//secret.png", "sub/../../secret.png"),
    ],
)
def test_nothing_else_of_the_disk_is(asked: Callable[[str], Any], name: str) -> None:
    sent = asked("/" + name)
    assert sent.status_code in (404, 308)
    assert b"secret" not in sent.data.replace(name.encode(), b"")


parts = st.sampled_from(
    ["..", ".", "", "sets", "secret.png", "a b.png", "sub", "c.svg", "faces.csv", "~"]
)


@given(
    name=st.text(max_size=30)
    | st.lists(parts, max_size=6).map("/".join)
    | st.lists(parts, max_size=6).map("\\".join)
)
def test_only_names_of_the_list_are_files(study: Study, name: str) -> None:
    space = study.labeller.space
    if name in names(space):
        assert content(space, name)
        return
    with pytest.raises(ProtocolError) as caught:
        content(space, name)
    assert caught.value.refusal.status == 404


def test_a_file_that_went_away_is_no_fault_of_the_server(tmp_path: Path) -> None:
    study = load(write_files(tmp_path))
    sets, space = tmp_path / "sets", study.labeller.space
    (sets / "d.wav").unlink()
    for name, to in (("a b.png", tmp_path / "secret.png"), ("ü.JPG", sets / "ü.JPG")):
        (sets / name).unlink()
        (sets / name).symlink_to(to)  # the last one in a circle
    for name in ("d.wav", "a b.png", "ü.JPG"):
        with pytest.raises(ProtocolError):
            content(space, name)
    assert names(space) == ["sub/c.svg", "e.strange", "f.html"]


# --- the end ----------------------------------------------------------------------

CAME_WITH = {"url.PROLIFIC_PID": "a/b?c&d=ü", "browser": "Firefox"}


def begin(browser: FlaskClient, link: str, subject: str = "p-07") -> str:
    hello = {"protocol": 1, "subject": subject, "capabilities": CAME_WITH}
    said = browser.post("/api/v1/hello", json=hello, headers=bearer(link))
    return str(said_by(said)["session"])


def answer(browser: FlaskClient, link: str, session: str, trials: range) -> None:
    for trial in trials:
        message = {"session": session, "uid": f"{session}/{trial}", "value": trial / 20}
        said = browser.post("/api/v1/respond", json=message, headers=bearer(link))
        assert said_by(said)["type"] == "ack", said.text


def ended(browser: FlaskClient, link: str, session: str | None = None) -> Any:
    query = {} if session is None else {"session": session}
    said = browser.get("/api/v1/completion", query_string=query, headers=bearer(link))
    assert said.status_code == 200
    assert said.headers["Cache-Control"] == "no-store"
    return said.json


def told(said: Any) -> tuple[Any, Any, Any]:
    return said["finished"], said["completion_code"], said["completion_url"]


NOTHING = (False, None, None)


def test_only_who_has_finished_is_told_the_code(
    browser: FlaskClient, access: Access
) -> None:
    link = access.link("small", "p-07", DAY_S)
    assert told(ended(browser, link)) == NOTHING
    session = begin(browser, link)
    answer(browser, link, session, range(11))
    for name in (None, session):
        assert told(ended(browser, link, name)) == NOTHING
    answer(browser, link, session, range(11, 12))
    url = f"https://site.example/a%2Fb%3Fc%26d%3D%C3%BC/done?cc={CODE}&s="
    for name in (None, session):
        assert told(ended(browser, link, name)) == (True, CODE, url)
    assert told(ended(browser, link, "c9-g9-i9-a9")) == NOTHING
    assert not ended(browser, link)["again"], "the study is naive"


def test_nobody_is_told_the_code_of_another(
    browser: FlaskClient, access: Access
) -> None:
    link, other = (access.link("small", name, DAY_S) for name in ("p-07", "p-08"))
    session = begin(browser, link)
    answer(browser, link, session, range(12))
    for secret in (other, access.issue("rig", study="small", rig="box-1")[1]):
        for name in (None, session):
            assert told(ended(browser, secret, name)) == NOTHING
    operator = access.issue("operator")[1]
    assert told(ended(browser, operator, session))[:2] == (True, CODE)


def test_who_gave_up_or_was_lost_is_told_nothing(
    browser: FlaskClient, access: Access, desk: Desk, clock: Clock
) -> None:
    links = {name: access.link("small", name, DAY_S) for name in ("p-07", "p-08")}
    given_up, lost = (begin(browser, link, name) for name, link in links.items())
    gone = {"session": given_up, "reason": "tired"}
    browser.post("/api/v1/abandon", json=gone, headers=bearer(links["p-07"]))
    clock.now += 31
    desk.tick()
    statuses = [desk.state.sessions[name].status for name in (given_up, lost)]
    assert statuses == ["abandoned", "lost"]
    for name, link in links.items():
        assert told(ended(browser, link)) == NOTHING, name


def test_the_code_is_there_after_a_restart(
    browser: FlaskClient, access: Access, desk: Desk, journal: Journal, study: Study
) -> None:
    link = access.link("small", "p-07", DAY_S)
    session = begin(browser, link)
    answer(browser, link, session, range(12))
    desk.close()
    again = open_desk(Journal(journal.where, "small"), study=study, mode="live")
    restarted = create_app(door_of(again, access))[0].test_client()
    assert told(ended(restarted, link, session))[:2] == (True, CODE)
    again.close()


def test_a_study_may_have_no_code(
    browser: FlaskClient, access: Access, desk: Desk
) -> None:
    link = access.link("small", "p-07", DAY_S)
    session = begin(browser, link)
    answer(browser, link, session, range(12))
    nothing = {"completion_code": None, "completion_url": None}
    assert completion.told(HumanSection(), desk.state.sessions[session]) == nothing
