"""A client that believes nothing: checks each reply of a server before it is used."""

import contextlib
import itertools
import json
import secrets
import time
from collections.abc import Callable
from typing import Any, TypeVar
from urllib.parse import urlsplit

import requests

from server.protocol import (
    ANSWERS,
    PROTOCOL,
    Ack,
    Assignment,
    Done,
    Noted,
    Refusal,
    Reply,
    Trial,
    Wait,
    parse_reply,
)
from subject_clients.conformance import Failed, Skipped, expect
from subject_clients.transport import Socket

PATIENCE_S = 60.0
"""How long to wait for a free candidate."""

Wanted = TypeVar("Wanted", bound=Reply)


class Probe:
    """Sends what a client would, and what none should."""

    def __init__(
        self,
        url: str,
        token: str | None = None,
        group: str | None = None,
        sleep: Callable[[float], object] = time.sleep,
    ) -> None:
        """``url`` may name a study; ``group`` is needed where it has groups."""
        self.url, self.token, self.sleep = url, token, sleep
        parts = urlsplit(url)
        self.base = f"{parts.scheme}://{parts.netloc}{parts.path}".rstrip("/")
        self.query = parts.query
        self.group = {"group": group} if group else {}
        self._session = requests.Session()
        self._socket = Socket(url, patience_s=0.0)
        self._run, self._number = secrets.token_hex(3), itertools.count()
        self._open: set[str] = set()
        self.whole: tuple[Assignment, list[Trial], Ack] | None = None
        """A session from the first trial to the last, once one was played."""

    def post(self, kind: str, body: bytes, query: str | None = None) -> Reply:
        """Send bytes over HTTP; the reply is one, of this message and its status."""
        query = self.query if query is None else query
        url = f"{self.base}/api/v1/{kind}" + (f"?{query}" if query else "")
        for _ in range(10):
            answer = self._session.post(url, data=body, timeout=30)
            if answer.status_code != 429:
                break
            self.sleep(1.0)
        try:
            reply = parse_reply(answer.json())
        except ValueError as error:
            raise Failed(f"{kind} was answered with no reply: {error}") from error
        status = reply.status if isinstance(reply, Refusal) else 200
        expect(
            answer.status_code == status,
            f"{kind} came with status {answer.status_code}, its content says {status}",
        )
        return _fitting(kind, reply)

    def say(self, kind: str, **message: Any) -> Reply:
        """Send a message over HTTP."""
        return self.post(kind, json.dumps(self.signed(message)).encode())

    def say_over_socket(self, kind: str, **message: Any) -> Reply:
        """Send a message over Socket.IO, once."""
        try:
            return _fitting(kind, self._socket.send(kind, self.signed(message)))
        except ConnectionError as error:
            raise Failed(f"{kind} over Socket.IO: {error}") from error

    def want(self, model: type[Wanted], kind: str, **message: Any) -> Wanted:
        """Send a message; the reply has to be of this kind."""
        reply = self.say(kind, **message)
        if not isinstance(reply, model):
            name = model.__name__.lower()
            raise Failed(f"{kind} was answered with {words(reply)}, expected {name}")
        return reply

    def order(self, kind: str, **message: Any) -> None:
        """Give an operator's order; skips the check if the token may not."""
        reply = self.say(kind, reason="conformance", **message)
        if isinstance(reply, Refusal) and reply.error == "forbidden":
            raise Skipped("this token is not an operator's")
        if not isinstance(reply, Noted):
            raise Failed(f"{kind} was answered with {words(reply)}, expected noted")

    def refused(self, status: int, error: str, kind: str, **message: Any) -> None:
        """Send a message that has to be refused, for this reason."""
        is_refusal(self.say(kind, **message), status, error, kind)

    def subject(self) -> str:
        """A subject who has not been here before."""
        return f"conformance-{self._run}-{next(self._number)}"

    def hello(self, subject: str, **more: Any) -> Reply:
        """A subject comes, as often as it is told to wait."""
        fields = {"protocol": PROTOCOL, "simulated": True, **self.group, **more}
        waited = 0.0
        while True:
            reply = self.say("hello", subject=subject, **fields)
            if not isinstance(reply, Wait):
                break
            expect(waited < PATIENCE_S, f"no session for {PATIENCE_S:g} s")
            self.sleep(max(reply.retry_after_s, 0.05))
            waited += max(reply.retry_after_s, 0.05)
        if isinstance(reply, Assignment):
            self._open.add(reply.session)
        return reply

    def begin(self, subject: str | None = None, **more: Any) -> Assignment:
        """A session, of a new subject unless one is named."""
        reply = self.hello(subject or self.subject(), **more)
        if not isinstance(reply, Assignment):
            raise Failed(f"hello was answered with {words(reply)}, expected a session")
        return reply

    def next(self, session: str) -> Trial:
        """The trial that is due."""
        return self.want(Trial, "next", session=session)

    def answer(self, session: str, trial: Trial, **more: Any) -> Ack:
        """Answer a trial, by 1.0 unless told otherwise."""
        return self.want(Ack, "respond", **answer_to(session, trial, **more))

    def page(self, name: str) -> Any:
        """The JSON of a page, or None if there is none for us."""
        headers = {"Authorization": f"Bearer {self.token}"} if self.token else {}
        url = f"{self.base}/{name}?{self.query}"
        answer = self._session.get(url, headers=headers, timeout=30)
        return answer.json() if answer.ok else None

    def hang_up(self) -> None:
        """Close every connection."""
        self._socket.close()
        self._session.close()

    def signed(self, message: dict[str, Any]) -> dict[str, Any]:
        """A message with the token, unless it has one."""
        return {"token": self.token} | message if self.token else message

    def check_rehearsal(self) -> None:
        """Nothing is tried out on real subjects; raises ``ValueError``."""
        try:
            reply = self.hello(self.subject())
        except Failed as failed:
            raise ValueError(f"{self.url}: {failed}") from failed
        if isinstance(reply, Refusal) and reply.error == "simulated":
            raise ValueError("this study is live: serve one with --simulated")
        if isinstance(reply, Done) and reply.study:
            raise ValueError("the study is finished: serve a new one")
        if not isinstance(reply, Assignment):
            raise ValueError(f"no session to try out: {words(reply)}")
        self.tidy_up()

    def tidy_up(self) -> None:
        """Abandon what is open, so that the next check finds a candidate."""
        while self._open:
            with contextlib.suppress(Failed):  # the checks have said it
                self.say("abandon", session=self._open.pop(), reason="conformance")


def answer_to(session: str, trial: Trial, **more: Any) -> dict[str, Any]:
    """A response that fits any study."""
    return {"session": session, "uid": trial.uid, "value": 1.0} | more


def _fitting(kind: str, reply: Reply) -> Reply:
    allowed = (*ANSWERS.get(kind, ()), Refusal)
    expect(isinstance(reply, allowed), f"{kind} was answered with {words(reply)}")
    return reply


def is_refusal(reply: Reply, status: int, error: str, what: str) -> None:
    """Raises :class:`Failed` unless a reply is this refusal."""
    got = (reply.status, reply.error) if isinstance(reply, Refusal) else None
    expect(
        got == (status, error),
        f"{what} was answered with {words(reply)}, expected {status} {error}",
    )


def words(reply: Reply) -> str:
    """A reply in short."""
    if isinstance(reply, Refusal):
        return f"refusal {reply.status} {reply.error} ({reply.detail:.120})"
    return f"{reply.model_dump_json():.160}"
