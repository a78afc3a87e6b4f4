"""What the server tells a human client before a session: the task, and files."""

import hashlib
from pathlib import Path, PurePosixPath
from urllib.parse import quote, urlsplit, urlunsplit

import requests

from server.human_task import HumanStudy, HumanTask

REPLY_S = 20.0


class Missing(ConnectionError):
    """The server has no such page."""


class Site:
    """The pages of a server that a human client reads."""

    def __init__(self, url: str, token: str | None = None) -> None:
        """``url`` may name a study, ``?study=NAME``, where a server has several."""
        self._parts = urlsplit(url)
        self._web = requests.Session()
        if token:
            self._web.headers["Authorization"] = f"Bearer {token}"

    def study(self) -> HumanStudy:
        """What a human is told and shown; raises ``OSError`` or ``ValueError``."""
        return HumanStudy.model_validate_json(self._get("human").content)

    def stimuli(self, folder: Path) -> Path | None:
        """All files of stimuli, fetched into a folder; None if there are none.

        A file that is there already is not fetched again. Raises ``OSError``.
        """
        try:
            names = [str(name) for name in self._get("stimuli").json()["files"]]
        except Missing:  # a server of an earlier release
            return None
        for name in names:
            path = inside(folder, name)
            if not path.is_file():
                _write(path, self._get(f"stimuli/{quote(name)}").content)
        return folder if names else None

    def _get(self, page: str) -> requests.Response:
        """Raises ``ConnectionError`` with what the server said."""
        scheme, host, path, query, _ = self._parts
        path = f"{path.rstrip('/')}/api/v1/{page}"
        url = urlunsplit((scheme, host, path, query, ""))
        try:
            answer = self._web.get(url, timeout=REPLY_S)
        except requests.RequestException as error:
            raise ConnectionError(
                f"no answer from {url}: is `penchant serve` running there?"
            ) from error
        if answer.status_code in (404, 405):
            raise Missing(f"{url} has no such page: {_why(answer)}")
        if not answer.ok:
            raise ConnectionError(f"{url} was refused: {_why(answer)}")
        return answer


def consent_sha256(task: HumanTask) -> str | None:
    """Which text was agreed to; None where none is asked."""
    if task.consent is None:
        return None
    return hashlib.sha256(task.consent.encode()).hexdigest()


def inside(folder: Path, name: str) -> Path:
    """A file of a folder; raises ``ValueError`` for a name that leads out of it."""
    parts = PurePosixPath(name).parts
    if not parts or parts[0] == "/" or ".." in parts or "\\" in name or ":" in name:
        raise ValueError(f"the server offers a stimulus with the name {name!r:.80}")
    return folder.joinpath(*parts)


def _write(path: Path, content: bytes) -> None:
    """Whole or not at all, so that a stopped download is begun again."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(path.name + ".part")
    part.write_bytes(content)
    part.replace(path)


def _why(answer: requests.Response) -> str:
    try:
        said = answer.json()
        return str(said.get("detail") or answer.status_code)
    except (AttributeError, ValueError):
        return f"status {answer.status_code}"
