"""The page of a participant in a browser, and what it asks for beside messages."""

import hashlib
import json
from pathlib import Path
from typing import Any

from flask import (
    Flask,
    Response,
    redirect,
    render_template_string,
    request,
    send_file,
    send_from_directory,
)
from werkzeug.wrappers import Response as Answer

from server.database import JournalError
from server.desk import Desk
from server.door import Door
from server.invitations import GRACE_S, PREFIX, person_in
from server.protocol import ProtocolError
from server.roles import Caller
from server.sockets import whence
from server.stimulus_files import content, names

HOME = Path(__file__).parent / "participant"

ASSETS = {".css", ".js", ".svg", ".txt"}
"""What of the folder a browser gets; the pages are made from the rest."""

HEADERS = {
    "Content-Security-Policy": "default-src 'self'; img-src 'self' blob:; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'; object-src 'none'",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-store",
}
"""Of each page: nothing of another site, not framed, not kept, its address not told."""

YEAR_S = 365 * 86_400

COOKIE = "penchant_link"
"""Whom an invitation takes a browser for, where no recruiting site says who comes."""


def add_participant_pages(app: Flask, door: Door) -> None:
    """Add the pages below ``/participate/``, and their part of the interface."""
    _add_pages(app, door)
    _add_data(app, door)


def _add_pages(app: Flask, door: Door) -> None:
    version = _version()

    @app.get("/participate/assets/<of>/<path:name>")
    def asset(of: str, name: str) -> Response:
        known = Path(name).suffix in ASSETS
        # A version in its address, so that it can be kept and yet be replaced.
        file = send_from_directory(
            HOME, name if known else "", max_age=YEAR_S if of == version else 0
        )
        file.headers["X-Content-Type-Options"] = "nosniff"
        return file

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
        if isinstance(found.data, bytes):
            file = Response(found.data, mimetype=found.mimetype)
        else:
            file = send_file(found.data, mimetype=found.mimetype, conditional=True)
        file.headers["Cache-Control"] = "private, max-age=3600"
        file.headers["X-Content-Type-Options"] = "nosniff"
        file.headers["Content-Security-Policy"] = "sandbox; default-src 'none'"
        return file

    @app.get("/api/v1/completion")
    def completion() -> Response:
        desk, caller = subject()
        try:
            told = desk.completion(request.args.get("session"), caller)
        except JournalError as error:
            raise ProtocolError(503, "not_stored", "ask again in a moment") from error
        kept = {"Cache-Control": "no-store"}
        return Response(json.dumps(told), 200, kept, mimetype="application/json")


def _version() -> str:
    """Of all that a browser gets: changes with any of it."""
    seen = hashlib.sha256()
    for path in sorted(HOME.rglob("*")):
        if path.suffix in ASSETS:
            seen.update(path.read_bytes())
    return seen.hexdigest()[:12]
