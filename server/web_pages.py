"""What the pages for browsers have in common: headers, and files that can be kept."""

import hashlib
from pathlib import Path

from flask import Response, send_file, send_from_directory

ASSETS = {".css", ".js", ".svg", ".txt"}
"""What of a folder a browser gets; the pages are made from the rest."""

YEAR_S = 365 * 86_400


def headers(cache: str = "no-store") -> dict[str, str]:
    """Of each page: nothing of another site, not framed, its address not told."""
    return {
        "Content-Security-Policy": "default-src 'self'; img-src 'self' blob:; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
        "object-src 'none'",
        "Referrer-Policy": "no-referrer",
        "X-Content-Type-Options": "nosniff",
        "Cache-Control": cache,
    }


def version_of(folder: Path) -> str:
    """Of all that a browser gets from a folder: changes with any of it."""
    seen = hashlib.sha256()
    for path in sorted(folder.rglob("*")):
        if path.suffix in ASSETS:
            seen.update(path.read_bytes())
    return seen.hexdigest()[:12]


def asset(folder: Path, name: str, fresh: bool) -> Response:
    """A file of a folder.

    A ``fresh`` one has the version of now in its address, so that it can be kept and
    yet be replaced.
    """
    known = Path(name).suffix in ASSETS
    file = send_from_directory(
        folder, name if known else "", max_age=YEAR_S if fresh else 0
    )
    file.headers["X-Content-Type-Options"] = "nosniff"
    return file


def stimulus_file(data: Path | bytes, mimetype: str) -> Response:
    """A file of a stimulus, which may do nothing in a browser but be shown."""
    if isinstance(data, bytes):
        file = Response(data, mimetype=mimetype)
    else:
        file = send_file(data, mimetype=mimetype, conditional=True)
    file.headers["Cache-Control"] = "private, max-age=3600"
    file.headers["X-Content-Type-Options"] = "nosniff"
    file.headers["Content-Security-Policy"] = "sandbox; default-src 'none'"
    return file
