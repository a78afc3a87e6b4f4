"""Files of a study's stimuli, for clients that have none of their own.

Only what the stimulus space lists can be had, and only from within its folder.
"""

import io
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from server.protocol import ProtocolError
from stimuli.space import HasFiles, HasPictures, StimulusSpace

SMALLEST_SIDE = 280
"""Pixels that the side of a rendered image has at least."""

TYPES = {
    ".avif": "image/avif",
    ".bmp": "image/bmp",
    ".flac": "audio/flac",
    ".gif": "image/gif",
    ".jpeg": "image/jpeg",
    ".jpg": "image/jpeg",
    ".mp3": "audio/mpeg",
    ".ogg": "audio/ogg",
    ".png": "image/png",
    ".svg": "image/svg+xml",
    ".wav": "audio/wav",
    ".webp": "image/webp",
}
"""What browsers show and play; of other kinds the pixels are drawn, if known."""


class Content(NamedTuple):
    """What is to be sent: where it lies, or its bytes."""

    data: Path | bytes
    mimetype: str


def names(space: StimulusSpace) -> list[str]:
    """The names of all files that the stimuli of a space need, each once."""
    within = list(_files(space))
    if not within and isinstance(space, HasPictures):
        return list(space.pictures)
    return within


def content(space: StimulusSpace, name: str) -> Content:
    """A file by its name; raises :class:`ProtocolError`, 404, if it is not listed."""
    path = None
    if isinstance(space, HasFiles) and space.folder and name in space.files:
        path = _inside(space.folder, name)
    kind = TYPES.get(Path(name).suffix.lower())
    if path and kind:
        return Content(path, kind)
    drawn = space.pictures if isinstance(space, HasPictures) else {}
    if name in drawn:
        return Content(_png(drawn[name]), "image/png")
    if path:
        return Content(path, "application/octet-stream")
    raise ProtocolError(
        404, "unknown_stimulus", "this study has no stimulus in a file of this name"
    )


def _files(space: StimulusSpace) -> dict[str, Path]:
    """Where the listed files lie that are within their folder."""
    if not isinstance(space, HasFiles) or space.folder is None:
        return {}
    found = {name: _inside(space.folder, name) for name in space.files}
    return {name: path for name, path in found.items() if path}


def _inside(folder: Path, name: str) -> Path | None:
    """A file of a folder; None for one that is elsewhere, by its name or by a link."""
    try:
        path = (folder / name).resolve(strict=True)
    except (OSError, RuntimeError):  # taken away, or a circle of links
        return None
    return path if path.is_relative_to(folder.resolve()) and path.is_file() else None


def _png(pixels: NDArray[np.float32]) -> bytes:
    """An image whose pixels are squares: large, and not blurred."""
    from PIL import Image  # comes with matplotlib

    times = -(-SMALLEST_SIDE // len(pixels))
    grey = np.kron(np.rint(255 * pixels), np.ones((times, times)))
    file = io.BytesIO()
    Image.fromarray(grey.astype(np.uint8)).save(file, "PNG", optimize=True)
    return file.getvalue()
