"""What a participant is told who has finished: a code, and where to go with it."""

import re
from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import quote

from server.human_section import FIELD, HumanSection
from server.session import Session

PARAMETER = "url."
"""Before the name of a parameter of the page's address, as a capability."""


def finished(sessions: Iterable[Session], name: str | None) -> Session | None:
    """The session of a name, or the last one, if it has really been finished."""
    those = [s for s in sessions if name in (None, s.opened.session)]
    done = [session for session in those if session.status == "finished"]
    return done[-1] if done else None


def told(section: HumanSection, session: Session | None) -> dict[str, str | None]:
    """Code and address for a finished session; nothing for any other."""
    code = url = None
    if session is not None:
        code = section.completion_code
        url = _filled(section.completion_url, code, session.opened.client)
    return {"completion_code": code, "completion_url": url}


def _filled(url: str | None, code: str | None, client: Mapping[str, Any]) -> str | None:
    """An address with its fields in braces filled; unknown ones with nothing."""

    def value(field: re.Match[str]) -> str:
        name = field[1]
        said = code if name == "code" else client.get(PARAMETER + name)
        return "" if said is None else quote(str(said), safe="")

    return None if url is None else FIELD.sub(value, url)
