"""Long texts on short pages."""

import re
from bisect import bisect_left
from collections.abc import Callable


def pages(text: str, fits: Callable[[str], bool]) -> list[str]:
    """Cut a text between words into pages that fit.

    A word that fits on no page has one of its own. ``fits`` is asked few times, as to
    measure a text takes long.
    """
    words = re.findall(r"\s*\S+", text)
    done: list[str] = []
    while words:
        # The first number of words that is too much.
        more = range(1, len(words) + 1)
        many = 1 + bisect_left(
            more, True, key=lambda n: not fits("".join(words[:n]).strip())
        )
        count = max(1, many - 1)
        done.append("".join(words[:count]).strip())
        words = words[count:]
    return done or [""]
