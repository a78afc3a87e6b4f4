"""No secret is ever written to a log, whatever it is wrapped in."""

import io
import json
import logging
import secrets
import time
from collections.abc import Iterator
from urllib.parse import quote

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from server.protocol import Hello
from server.redaction import Redaction, install, redact

TOKEN = f"pen_{secrets.token_hex(6)}_{secrets.token_urlsafe(32)}"
LINK = f"pen_link.{secrets.token_urlsafe(70)}.{secrets.token_urlsafe(32)}"

anything = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)


@given(before=anything, after=anything, secret=st.sampled_from([TOKEN, LINK]))
def test_our_secrets_are_found_whatever_stands_around_them(
    before: str, after: str, secret: str
) -> None:
    shown = redact(f"{before}{secret}{after}")
    assert secret not in shown
    assert secret[-43:] not in shown


# A password like any other: no form of it gives it away.
passwords = anything.map(lambda text: f"Kx7{text}q9Z")


@given(secret=passwords, depth=st.integers(0, 3), cut=st.integers(0, 400))
@example(secret='Kx7"q9Z', depth=2, cut=0)
@example(secret="Kx7\\q9Z", depth=0, cut=0)
@example(secret="Kx7\\q9Z", depth=0, cut=17)  # ends within an escape
def test_a_field_of_json_is_hidden_however_deep_or_cut_off(
    secret: str, depth: int, cut: int
) -> None:
    text = json.dumps({"subject": "m", "token": secret, "last": 1})
    for _ in range(depth):
        text = json.dumps({"body": text})
    shown = redact(text[: len(text) - cut])
    assert "Kx7" not in shown
    assert "q9Z" not in shown


@given(secret=passwords)
def test_what_python_prints_of_a_message_is_hidden(secret: str) -> None:
    hello = Hello(protocol=1, subject="m", token=secret)
    headers = {"Authorization": f"Bearer {secret}", "Accept": "text/html"}
    for printed in (
        repr(hello),
        repr({"token": secret}),
        repr({"token": secret.encode()}),
        repr(headers),
        repr(list(headers.items())),
        repr([(k.encode(), v.encode()) for k, v in headers.items()]),
    ):
        shown = redact(f"while answering {printed}")
        assert "Kx7" not in shown
        assert "q9Z" not in shown


@given(secret=passwords)
def test_passwords_of_databases_and_queries_are_hidden(secret: str) -> None:
    escaped = quote(secret, safe="")
    for text in (
        f"postgresql+psycopg://lab:{escaped}@db.example/penchant",
        f"GET /api/v1/status?token={escaped}&page=2 HTTP/1.1",
        f"PENCHANT_TOKEN={escaped} penchant serve",
    ):
        shown = redact(f"cannot reach {text}")
        assert escaped not in shown
        assert "Kx7" not in shown


def test_what_is_no_secret_stays() -> None:
    for text in (
        "open_database('small.db') in /work/open_field.py, line 3",
        "GET /api/v1/status HTTP/1.1 200",
        "http://127.0.0.1:5000/participate",
        "a valid token is required: who runs the server issues one (penchant token)",
        "session c0-g0-i0-a0 of mouse-1: 12 trials",
    ):
        assert redact(text) == text
    kept = redact(f'{{"token": "{TOKEN}", "subject": "mouse-1"}}')
    assert kept == '{"token": ***, "subject": "mouse-1"}'
    log = redact(f'"GET /participate/{LINK} HTTP/1.1" 200')
    assert log == '"GET /participate/*** HTTP/1.1" 200'


@pytest.mark.parametrize(
    "part", ["token", "pen_", '"token": "', "://a:", "token=\\", "cookie ", "x", "a.b"]
)
def test_a_message_made_to_be_slow_is_not(part: str) -> None:
    text = part * ((1 << 18) // len(part))
    begun = time.process_time()
    redact(text)
    assert time.process_time() - begun < 3


# --- logging --------------------------------------------------------------------


@pytest.fixture
def log() -> Iterator[io.StringIO]:
    """What a handler writes in a process whose records are redacted."""
    make = logging.getLogRecordFactory()
    install()
    install()  # twice is once
    written = io.StringIO()
    handler = logging.StreamHandler(written)
    logging.getLogger("penchant-test").addHandler(handler)
    yield written
    logging.getLogger("penchant-test").removeHandler(handler)
    logging.setLogRecordFactory(make)


def test_no_record_of_any_logger_holds_a_secret(log: io.StringIO) -> None:
    logger = logging.getLogger("penchant-test.child")
    logger.error("plain %s", TOKEN)
    logger.error("payload %r", {"token": "open-sesame", "subject": "m"})
    logger.error(f"link {LINK}")
    logger.error("half of it: %d", TOKEN)  # does not fit: would be printed as it is
    try:
        raise ValueError(f"Authorization: Bearer open-sesame, {TOKEN}")
    except ValueError:
        logger.exception("failed")
    logger.error("stack", stack_info=True)
    written = log.getvalue()
    for secret in (TOKEN, LINK, "open-sesame"):
        assert secret not in written
    for kept in (
        "plain ***",
        "'subject': 'm'",
        "ValueError",
        "half of it",
        "Traceback",
    ):
        assert kept in written


def test_a_filter_does_the_same_for_one_handler() -> None:
    written = io.StringIO()
    handler = logging.StreamHandler(written)
    handler.addFilter(Redaction())
    record = logging.LogRecord("x", 40, __file__, 1, "got %s", (TOKEN,), None)
    handler.handle(record)
    assert written.getvalue() == "got ***\n"
