"""``penchant token`` with invitations, and what it lists."""

import re
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from participants import ANN, DAY_S

from server.access import Access
from server.database import open_database
from server.invitations import Invitations
from server.token_cli import token as token_commands

# --- the command line -------------------------------------------------------------


def run(*arguments: str) -> Result:
    """What a command of ``penchant token`` says."""
    return CliRunner().invoke(token_commands, arguments)


def test_the_commands_invite_list_and_revoke(tmp_path: Path) -> None:
    where = ["--journal", str(tmp_path / "lab.db")]
    said = run(
        *("invite", "small", "--valid", "7d", "--most", "2", "--group", "lesion"),
        *("--url", "https://lab.example/", *where),
    )
    assert said.exit_code == 0
    address, _, invitation = said.stdout.strip().rpartition("/")
    assert address == "https://lab.example/participate"
    assert "the first token" in said.stderr
    engine = open_database(tmp_path / "lab.db")
    invitations = Invitations(access := Access(engine))
    link = invitations.follow(invitation, ANN, None)
    invitations.follow(invitation, ANN, None)
    assert access.participant(link).group == "lesion"
    (name,) = re.findall(r"token revoke (\w+)", said.stderr)
    listed = run("list", *where).output
    assert re.search(rf"^{name}  invitation +usable +until ", listed, re.MULTILINE)
    assert "study small, for 2 of lesion, 1 came" in listed
    assert "not shown without --all: 2 made by invitations" in listed
    everything = run("list", "--all", *where).output
    assert access.caller(link).name in everything
    assert access.caller(link).name not in listed
    assert run("revoke", name, *where).exit_code == 0
    assert run("list", "--all", *where).output.count("revoked") == 3
    engine.dispose()


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("--most", "0"), "got 0"),
        (("--most", "2", "--valid", "never"), "above 0"),
        (("--most", "2", "--group", "a b"), "name of a group"),
        ((), "Missing option '--most'"),
    ],
)
def test_a_wrong_invitation_says_what_to_do(
    tmp_path: Path, arguments: tuple[str, ...], expected: str
) -> None:
    said = run("invite", "small", "--journal", str(tmp_path / "lab.db"), *arguments)
    assert said.exit_code != 0
    assert expected in said.output


def test_a_list_fits_a_terminal_and_cuts_no_id(tmp_path: Path) -> None:
    engine = open_database(tmp_path / "lab.db")
    access = Access(engine)
    long = "n" * 64
    access.issue("rig", study=long, subject=long, rig=long, label="x " * 100)
    access.issue("operator", label="w" * 200)
    access.issue("viewer", valid_s=DAY_S)
    access.link("small", "p-07", DAY_S)
    Invitations(access).issue("small", DAY_S, 200)
    ids = [info.id for info in access.tokens()]
    engine.dispose()
    lines = run("list", "--journal", str(tmp_path / "lab.db")).output.splitlines()
    assert max(map(len, lines)) <= 80
    begins = [line.split()[0] for line in lines if not line.startswith(" ")]
    assert sorted(begins) == sorted(ids)
    said = "".join("".join(lines).split())
    assert all(told in said for told in (long, "x" * 100, "w" * 200, "p-07"))


def test_a_link_says_where_it_opens(tmp_path: Path) -> None:
    said = run("link", "small", "p-07", "--journal", str(tmp_path / "lab.db"))
    assert "in a browser" in said.stderr
    for way in ("human", "terminal"):
        assert f"penchant subject {way} --name p-07 --url THIS" in said.stderr
    assert max(map(len, said.stderr.splitlines()[2:])) <= 80 or "lab.db" in said.stderr
