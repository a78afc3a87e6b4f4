"""Tokens and links: who comes in, for how long, and nothing that tells why not."""

import base64
import json
import multiprocessing
import re
import string
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import event, insert, select
from sqlalchemy.engine import Engine

from server import schema
from server.access import FRESH_S, LINK, MAX_SECRET_CHARS, Access, check_page
from server.journal import open_database
from server.protocol import REQUESTS, ProtocolError, Refusal
from server.roles import LOCAL, MAY, ROLES, Caller, Role
from server.token_cli import token as token_commands

ROOT = Path(__file__).parent.parent
DAY_S = 86_400.0


class Clock:
    """A time that tests set."""

    def __init__(self) -> None:
        self.now = 1_700_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the database of these tests is."""
    return tmp_path_factory.mktemp("access") / "small.db"


@pytest.fixture(scope="module")
def engine(file: Path) -> Iterator[Engine]:
    engine = open_database(file)
    yield engine
    engine.dispose()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def access(engine: Engine, clock: Clock) -> Access:
    """The tokens of a database that starts with none."""
    with engine.begin() as connection:
        connection.execute(schema.tokens.delete())
    return Access(engine, clock)


def refusal(call: Callable[[], object]) -> Refusal:
    """How a call is refused."""
    with pytest.raises(ProtocolError) as caught:
        call()
    return caught.value.refusal


# --- tokens ---------------------------------------------------------------------


@pytest.mark.parametrize("role", ROLES)
def test_a_token_says_who_comes(access: Access, role: Role) -> None:
    name, secret = access.issue(role, study="small", subject="mouse-1", rig="box-3")
    assert access.caller(secret) == Caller(role, name, "small", "mouse-1", "box-3")
    assert re.fullmatch(rf"pen_{name}_[\w-]{{43}}", secret)


def test_each_role_may_do_its_own_and_no_more() -> None:
    own = {"hello", "next", "respond", "heartbeat", "abandon"}
    orders = {"pause", "resume", "stop", "give_reward", "drop_out"}
    assert LOCAL.role == "operator"
    assert set(MAY) == set(ROLES)
    for role in ROLES:
        caller = Caller(role, "x")
        may = {kind for kind in REQUESTS if caller.may(kind)}
        if role == "operator":
            assert may == set(REQUESTS)
            assert caller.may("status")
        else:
            assert not may & orders
        assert may >= own or role == "viewer"
    assert not any(Caller("viewer", "x").may(kind) for kind in REQUESTS)
    assert {k for k in REQUESTS if Caller("participant", "x").may(k)} == own
    assert not Caller("participant", "x").may("status")


def test_a_token_ends_when_it_expires(access: Access, clock: Clock) -> None:
    _, secret = access.issue("rig", valid_s=DAY_S)
    _, endless = access.issue("rig")
    clock.now += DAY_S - 0.001
    assert access.caller(secret).role == "rig"
    clock.now += 0.001
    assert refusal(lambda: access.caller(secret)).status == 401
    clock.now += 1000 * DAY_S
    assert access.caller(endless).role == "rig"
    assert [info.state(clock.now) for info in access.tokens()].count("expired") == 1


def test_a_revoked_token_is_refused_at_once(access: Access) -> None:
    name, secret = access.issue("operator")
    access.caller(secret)
    assert access.revoke(name)
    assert not access.revoke(name)
    assert not access.revoke("nothing")
    assert refusal(lambda: access.caller(secret)).error == "unauthorised"


def test_a_token_revoked_by_another_process_ends_within_a_second(
    access: Access, engine: Engine, clock: Clock
) -> None:
    name, secret = access.issue("operator")
    access.caller(secret)
    Access(engine, clock).revoke(name)
    clock.now += FRESH_S
    assert FRESH_S <= 1
    assert refusal(lambda: access.caller(secret)).status == 401
    name, secret = Access(engine, clock).issue("operator")
    clock.now += FRESH_S
    assert access.caller(secret).role == "operator"
    Access(engine, clock).revoke(name)
    clock.now -= DAY_S  # set back: what was read is of no known age
    assert refusal(lambda: access.caller(secret)).status == 401


def test_messages_cost_one_query_a_second(
    access: Access, engine: Engine, clock: Clock
) -> None:
    names = ["mouse-" + str(i) for i in range(100)]
    callers = [access.link("small", name, DAY_S) for name in names]
    queries = []
    event.listen(engine, "before_cursor_execute", lambda *of: queries.append(of[2]))
    for tick in range(20):
        clock.now += 0.1 * (tick > 0)
        for name, secret in zip(names, callers, strict=True):
            assert access.caller(secret).subject == name
        for bad in ("pen_0_x", "x", LINK + "a.b"):
            refusal(lambda bad=bad: access.caller(bad))  # type: ignore[misc]
    assert len(queries) <= 2 * 3  # who may, and whether any: at 0, 1 and 2 s


def test_once_there_was_a_token_one_is_always_needed(
    access: Access, engine: Engine, clock: Clock
) -> None:
    assert not access.any()
    name, _ = Access(engine, clock).issue("viewer", valid_s=5)
    clock.now += FRESH_S
    assert access.any()
    access.revoke(name)
    clock.now += DAY_S
    assert access.any()


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"role": "admin"}, "known: operator, rig, participant, viewer"),
        ({"role": "participant", "study": "small"}, "needs a study and a subject"),
        ({"role": "rig", "rig": "box 3"}, "name of a rig"),
        ({"role": "rig", "subject": ""}, "name of a subject"),
        ({"role": "rig", "label": "x" * 201}, "200 characters"),
        ({"role": "rig", "valid_s": 0}, "above 0"),
        ({"role": "rig", "valid_s": float("nan")}, "above 0"),
        ({"role": "rig", "valid_s": float("inf")}, "above 0"),
    ],
)
def test_a_token_that_makes_no_sense_is_not_issued(
    access: Access, options: dict[str, Any], expected: str
) -> None:
    with pytest.raises(ValueError, match=expected):
        access.issue(**options)
    assert not access.tokens()


# --- links ----------------------------------------------------------------------


def test_a_link_speaks_for_its_subject_alone(access: Access, clock: Clock) -> None:
    link = access.link("small", "p-07", 7 * DAY_S, "control")
    caller = access.caller(link)
    assert caller[2:] == ("small", "p-07", None, "control")
    assert caller.role == "participant"
    says = access.participant(link)
    assert says == (caller.name, "small", "p-07", "control", clock.now + 7 * DAY_S)
    clock.now += 7 * DAY_S
    assert refusal(lambda: access.caller(link)).status == 401
    _, token = access.issue("participant", study="small", subject="p-07")
    assert access.caller(token).subject == "p-07"
    assert refusal(lambda: access.participant(token)).status == 401


def test_links_can_be_withdrawn_together(access: Access) -> None:
    mine = [access.link("small", "p-07", DAY_S) for _ in range(2)]
    other, elsewhere = (
        access.link("small", "p-08", DAY_S),
        access.link("large", "p-07", DAY_S),
    )
    assert access.revoke_links("small", "p-07") == 2
    for link in mine:
        assert refusal(lambda link=link: access.caller(link)).status == 401  # type: ignore[misc]
    assert access.caller(other).subject == "p-08"
    assert access.caller(elsewhere).study == "large"


def test_the_longest_link_is_short_enough(access: Access) -> None:
    long = "aZ9_.:-b" * 8
    link = access.link(long[:64], long[::-1].strip("-.:_")[:64], DAY_S, long[:64])
    assert len(link) < MAX_SECRET_CHARS
    assert access.participant(link).group == long
    assert re.fullmatch(r"[\w.-]+", link), "goes into an address as it is"


def test_a_link_with_one_character_changed_is_refused(access: Access) -> None:
    """Base64 lets several texts mean the same: even those are refused."""
    link = access.link("small", "p-07", DAY_S, "control")
    alphabet = string.ascii_letters + string.digits + "-_.=~% "
    for at in range(len(link)):
        for other in alphabet:
            changed = link[:at] + other + link[at + 1 :]
            if changed != link:
                with pytest.raises(ProtocolError):
                    access.caller(changed)
        with pytest.raises(ProtocolError):
            access.caller(link[:at] + link[at + 1 :])
    assert access.caller(link).subject == "p-07"


def test_a_link_of_another_content_or_key_is_refused(
    access: Access, engine: Engine, tmp_path: Path
) -> None:
    head, _, signature = access.link("small", "p-07", DAY_S).rpartition(".")
    payload = json.loads(base64.urlsafe_b64decode(head.removeprefix(LINK) + "==="))
    payload[2] = "p-08"
    forged = base64.urlsafe_b64encode(json.dumps(payload).encode()).decode()
    bad = f"{LINK}{forged.rstrip('=')}.{signature}"
    assert refusal(lambda: access.caller(bad)).status == 401
    # Even a row that somebody wrote into this database signs nothing.
    other = open_database(tmp_path / "other.db")
    foreign = Access(other).link("small", "p-07", 1000 * DAY_S)
    row = select(schema.tokens)
    with other.connect() as theirs, engine.begin() as ours:
        ours.execute(insert(schema.tokens), [theirs.execute(row).one()._asdict()])
    other.dispose()
    assert refusal(lambda: Access(engine).caller(foreign)).status == 401


# --- no secret, no oracle -------------------------------------------------------


def test_a_refusal_does_not_tell_what_was_wrong(access: Access, clock: Clock) -> None:
    _, short = access.issue("rig", valid_s=5)
    brief = access.link("small", "p-07", 5)
    name, revoked = access.issue("rig")
    access.revoke(name)
    clock.now += 5
    bad = [None, "", "x", "pen_", f"pen_{name}_", LINK, short, brief, revoked]
    bad += ["x" * 10**6, "\ud800", "pen_" + "ü" * 40, revoked[:-1], revoked + " "]
    refused = {refusal(lambda b=b: access.caller(b)) for b in bad}  # type: ignore[misc]
    assert len(refused) == 1
    (one,) = refused
    assert (one.status, one.error) == (401, "unauthorised")


@pytest.fixture(scope="module")
def stocked(engine: Engine) -> Access:
    """A database with a token and a link, for strangers to try theirs on."""
    access = Access(engine)
    access.issue("operator")
    access.link("small", "p-07", DAY_S)
    return access


@given(
    secret=st.text()
    | st.text().map("pen_".__add__)
    | st.from_regex(r"pen_link\.[\w.-]*", fullmatch=True)
    | st.from_regex(r"pen_[0-9a-f]{12}_[\w-]{43}", fullmatch=True)
)
def test_any_text_as_a_secret_is_refused(stocked: Access, secret: str) -> None:
    for call in (stocked.caller, stocked.participant):
        assert refusal(lambda call=call: call(secret)).status == 401  # type: ignore[misc]


def test_no_secret_is_in_the_files_of_the_database(access: Access, file: Path) -> None:
    name, secret = access.issue("operator", label="of the lab")
    link = access.link("small", "p-07", DAY_S)
    signed, _, signature = link.removeprefix(LINK).rpartition(".")
    nonce = json.loads(base64.urlsafe_b64decode(signed + "==="))[-1]
    stored = b"".join(path.read_bytes() for path in file.parent.iterdir())
    assert name.encode() in stored  # these are the files
    for hidden in (secret, secret[-43:], link, signed, signature, nonce):
        assert hidden.encode() not in stored
    shown = str(access.tokens())
    assert secret[-43:] not in shown
    assert signature not in shown


def test_a_database_that_fails_lets_nobody_in(tmp_path: Path, clock: Clock) -> None:
    engine = open_database(tmp_path / "broken.db")
    access = Access(engine, clock)
    _, secret = access.issue("operator")
    with engine.begin() as connection:
        schema.tokens.drop(connection)
    assert refusal(lambda: access.caller(secret)).status == 503
    assert refusal(access.any).status == 503
    engine.dispose()


@pytest.mark.parametrize("local", [True, False])
@pytest.mark.parametrize(
    ("origin", "host"),
    [
        ("http://evil.example", "127.0.0.1:5000"),
        ("http://127.0.0.1:8888", "127.0.0.1:5000"),  # another program's pages
        ("http://127.0.0.1:5000.evil.example", "127.0.0.1:5000"),
        ("null", "localhost:5000"),
        ("", "localhost:5000"),
        ("http://[", "localhost:5000"),
        (None, "[127.0.0.1"),
    ],
)
def test_a_page_of_another_site_sends_no_message(
    origin: str | None, host: str, local: bool
) -> None:
    assert refusal(lambda: check_page(origin, host, local)).error == "other_site"


@pytest.mark.parametrize("host", ["127.0.0.1:5000", "localhost", "[::1]:80", "x.y:1"])
def test_programs_and_own_pages_send_messages(host: str) -> None:
    named = host == "x.y:1"  # a name that a stranger may have made to lead here
    for origin in (None, f"http://{host}", f"https://{host.upper()}"):
        check_page(origin, host, open_to_local=False)
        if named:
            assert refusal(lambda o=origin: check_page(o, host, True)).status == 403  # type: ignore[misc]
        else:
            check_page(origin, host, open_to_local=True)


# --- several at once ------------------------------------------------------------


def _link(where: str, start: Any, links: Any) -> None:
    engine = open_database(where)
    start.wait()
    links.put(Access(engine).link("small", "p-07", DAY_S))
    engine.dispose()


def test_processes_that_make_the_first_link_at_once_share_a_key(tmp_path: Path) -> None:
    where = str(tmp_path / "new.db")
    engine = open_database(where)
    spawn = multiprocessing.get_context("spawn")
    start, links = spawn.Barrier(2), spawn.Queue()
    processes = [
        spawn.Process(target=_link, args=(where, start, links)) for _ in range(2)
    ]
    for process in processes:
        process.start()
    made = [links.get(timeout=60) for _ in processes]
    for process in processes:
        process.join(60)
    assert all(Access(engine).caller(link).subject == "p-07" for link in made)
    engine.dispose()


def test_threads_that_make_the_first_link_at_once_share_a_key(tmp_path: Path) -> None:
    engine = open_database(tmp_path / "new.db")
    start, links = threading.Barrier(8), []

    def make() -> None:
        start.wait()
        links.append(Access(engine).link("small", "p-07", DAY_S))

    threads = [threading.Thread(target=make) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with engine.connect() as connection:
        assert len(connection.execute(select(schema.secrets)).all()) == 1
    assert len(links) == 8
    for link in links:
        assert Access(engine).participant(link).subject == "p-07"
    engine.dispose()


# --- the command line -----------------------------------------------------------


def run(*arguments: str) -> Result:
    """What a command of ``penchant token`` says."""
    return CliRunner().invoke(token_commands, arguments)


def test_the_commands_issue_list_and_revoke(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    journal = ["--journal", str(tmp_path / "small.db")]

    def printed(*arguments: str) -> tuple[str, str]:
        token_commands.main([*arguments, *journal], standalone_mode=False)
        out, err = capsys.readouterr()
        return out.removesuffix("\n"), err

    secret, said = printed("issue", "--role", "rig", "--rig", "box-3", "--valid", "30d")
    assert "PENCHANT_TOKEN" in said
    assert "the first token" in said
    link, said = printed("link", "small", "p-07", "--url", "http://lab:5000/")
    address, _, credential = link.rpartition("/")
    assert address == "http://lab:5000/participate"
    assert "the first token" not in said
    engine = open_database(tmp_path / "small.db")
    assert Access(engine).caller(secret).rig == "box-3"
    assert Access(engine).caller(credential).subject == "p-07"
    name = Access(engine).caller(secret).name
    assert run("revoke", name, *journal).exit_code == 0
    assert "revoked 1" in run("unlink", "small", "p-07", *journal).output
    for withdrawn in (secret, credential):
        with pytest.raises(ProtocolError):
            Access(engine).caller(withdrawn)
    engine.dispose()
    listed = run("list", *journal)
    assert name in listed.output
    assert secret[-43:] not in listed.output
    assert listed.output.count("revoked") == 2


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("list", "--journal", "none.db"), "there is no file none.db"),
        (("revoke", "0000", "--journal", "small.db"), "has no token '0000'"),
        (
            ("issue", "--journal", "small.db", "--role", "participant"),
            "needs a study and a subject",
        ),
        (
            ("issue", "--journal", "small.db", "--role", "rig", "--valid", "0d"),
            "as in 30d",
        ),
        (
            ("issue", "--journal", "small.db", "--role", "rig", "--valid", "soon"),
            "as in 30d",
        ),
        (
            ("link", "small", "p 07", "--journal", "small.db"),
            "expected the name of a subject",
        ),
        (("link", "small", "p", "--journal", "small.db", "--valid", "never"), "above"),
        (("list", "--journal", "postgresql+x://lab:open-sesame@db/x"), "cannot"),
    ],
)
def test_a_wrong_command_says_what_to_do(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    arguments: tuple[str, ...],
    expected: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    open_database("small.db").dispose()
    said = run(*arguments)
    assert said.exit_code != 0
    assert expected in said.output
    assert "open-sesame" not in said.output


# --- what is written about it ---------------------------------------------------


def test_every_test_that_the_threat_model_names_is_there() -> None:
    page = (ROOT / "docs" / "threat-model.md").read_text(encoding="utf-8")
    written = "".join(
        path.read_text(encoding="utf-8") for path in (ROOT / "tests").glob("*.py")
    )
    named = re.findall(r"`(test_\w+)`", page)
    assert len(named) > 10
    for name in named:
        assert f"def {name}(" in written, name
