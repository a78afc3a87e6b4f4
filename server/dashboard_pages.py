"""The operator's dashboard: its page, and the numbers that it asks for."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from flask import Flask, Response, redirect, render_template_string, request
from werkzeug.wrappers import Response as Answer

from server import web_pages
from server.dashboard_data import DashboardData, Dashboards
from server.door import Door
from server.protocol import ProtocolError
from server.roles import Caller
from server.sockets import whence
from server.stimulus_files import content

HOME = Path(__file__).parent / "dashboard"

KEPT = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}
"""Of the numbers: they are those of now."""


def add_dashboard_pages(app: Flask, door: Door, dashboards: Dashboards) -> None:
    """Add the pages below ``/dashboard``, and what they ask for."""
    _add_pages(app)
    _add_data(app, door, dashboards)


def _add_pages(app: Flask) -> None:
    """The page itself: it holds nothing of a study, and needs no token."""
    version = web_pages.version_of(HOME)

    def page(root: str, study: str) -> Response:
        # Relative addresses: a proxy may have the server below a path of its own.
        assets = f"{'static' if study else 'dashboard/static'}/{version}"
        html = render_template_string(
            (HOME / "page.html").read_text(encoding="utf-8"),
            assets=assets,
            root=root,
            study=study,
        )
        return Response(html, 200, web_pages.headers("no-cache"), mimetype="text/html")

    @app.get("/dashboard")
    def dashboard() -> Response:
        return page(".", "")

    @app.get("/dashboard/")
    def without_slash() -> Answer:
        return redirect("../dashboard")

    @app.get("/dashboard/<study>")
    def of_study(study: str) -> Response:
        return page("..", study)

    @app.get("/dashboard/static/<of>/<path:name>")
    def dashboard_asset(of: str, name: str) -> Response:
        return web_pages.asset(HOME, name, of == version)


def _add_data(app: Flask, door: Door, dashboards: Dashboards) -> None:
    def asked() -> tuple[DashboardData, Caller]:
        came = whence(request)
        caller = door.viewer(came.bearer, came.address)
        return dashboards.of(door.desk(came.study, caller)), caller

    def add(
        name: str, reply: Callable[[DashboardData, Caller], dict[str, Any]]
    ) -> None:
        def answer() -> Response:
            body = json.dumps(reply(*asked()), allow_nan=False, separators=(",", ":"))
            return Response(body, 200, KEPT, mimetype="application/json")

        app.add_url_rule(f"/api/v1/dashboard/{name}", f"dashboard_{name}", answer)

    add("overview", lambda data, caller: data.overview(caller))
    add("generations", lambda data, _: data.generations(_number("after") or 0))
    add("raster", lambda data, _: data.raster(request.args.get("session", "")))
    add("labelling", lambda data, _: data.labelling(_number("component")))
    add("spectrum", lambda data, _: data.spectrum())

    @app.get("/api/v1/dashboard/stimuli/<path:name>")
    def dashboard_stimulus(name: str) -> Response:
        data, _ = asked()
        found = content(data.desk.state.study.labeller.space, name)
        return web_pages.stimulus_file(found.data, found.mimetype)


def _number(name: str) -> int | None:
    """A number of the query; raises :class:`ProtocolError` for anything else."""
    said = request.args.get(name)
    if said is None:
        return None
    if not (said.isascii() and said.isdecimal() and len(said) < 10):
        raise ProtocolError(422, "not_a_number", f"expected {name} = 0, 1, 2, ...")
    return int(said)
