"""The page of a participant in a browser, and what it asks for beside messages."""

import json
from pathlib import Path
from typing import Any

from flask import (
    Flask,
    Response,
    redirect,
    render_template_string,
    request,
)
from werkzeug.wrappers import Response as Answer

from server import web_pages
from server.database import JournalError
from server.desk import Desk
from server.door import Door
from server.invitations import GRACE_S, PREFIX, person_in
from server.protocol import ProtocolError
from server.roles import Caller
from server.sockets import whence
from server.stimulus_files import content, names

HOME = Path(__file__).parent / "participant"

HEADERS = web_pages.headers()

COOKIE = "penchant_link"
"""Whom an invitation takes a browser for, where no recruiting site says who comes."""


def add_participant_pages(app: Flask, door: Door) -> None:
    """Add the pages below ``/participate/``, and their part of the interface."""
    _add_pages(app, door)
    _add_data(app, door)


def _add_pages(app: Flask, door: Door) -> None:
    version = web_pages.version_of(HOME)

    @app.get("/participate/assets/<of>/<path:name>")
    def asset(of: str, name: str) -> Response:
        return web_pages.asset(HOME, name, of == version)

    @app.get("/participate/<credential>")
    def participate(credential: str) -> Answer:
        address = request.remote_addr or ""
        try:
            if credential.startswith(PREFIX):
                return _invited(door, credential, address)
            link = door.participant(credential, address)
        except ProtocolError as error:
            status = error.refusal.status
            return _page("closed.html", status, version, error=error.refusal.error)
        return _page("page.html", 200, version, link=link)


def _invited(door: Door, invitation: str, address: str) -> Answer:
    """Send whoever follows an invitation to a page of their own."""
    if request.method == "HEAD":  # asks what is here, and takes no place
        return Response(status=200, headers=HEADERS)
    held = request.cookies.get(COOKIE)
    link = door.invited(invitation, person_in(request.args), held, address)
    # Behind a # parameters are the browser's own: they reach no log on the way.
    said = request.query_string.decode("latin-1")
    answer = redirect(link + (f"#{said}" if said else ""))
    answer.headers.update(HEADERS)
    answer.set_cookie(
        COOKIE,
        link,
        max_age=int(30 * GRACE_S),
        httponly=True,
        samesite="Lax",
        secure=request.headers.get("X-Forwarded-Proto", request.scheme) == "https",
    )
    return answer


def _page(name: str, status: int, version: str, **values: Any) -> Response:
    template = (HOME / name).read_text(encoding="utf-8")
    html = render_template_string(template, version=version, **values)
    return Response(html, status, HEADERS, mimetype="text/html")


def _add_data(app: Flask, door: Door) -> None:
    def subject() -> tuple[Desk, Caller]:
        asked = whence(request)
        caller = door.subject(asked.bearer, asked.address)
        return door.desk(asked.study, caller), caller

    @app.get("/api/v1/human")
    def human() -> Response:
        desk, _ = subject()
        task = desk.state.study.human()
        return Response(task.model_dump_json(), mimetype="application/json")

    @app.get("/api/v1/stimuli")
    def stimuli() -> dict[str, Any]:
        desk, _ = subject()
        return {"files": names(desk.state.study.labeller.space)}

    @app.get("/api/v1/stimuli/<path:name>")
    def stimulus(name: str) -> Response:
        desk, _ = subject()
        found = content(desk.state.study.labeller.space, name)
        return web_pages.stimulus_file(found.data, found.mimetype)

    @app.get("/api/v1/completion")
    def completion() -> Response:
        desk, caller = subject()
        try:
            told = desk.completion(request.args.get("session"), caller)
        except JournalError as error:
            raise ProtocolError(503, "not_stored", "ask again in a moment") from error
        kept = {"Cache-Control": "no-store"}
        return Response(json.dumps(told), 200, kept, mimetype="application/json")
