"""Keeps secrets out of logs: tokens, links, headers, passwords of databases."""

import logging
import re
from typing import Any

HIDDEN = "***"

# A text in quotes, to its end or that of all; quotes inside a text that is itself
# quoted have backslashes before them. Rather too much is hidden than too little.
_QUOTED = (
    r'(?:b?"(?:[^"\\]|\\.)*(?:"|\\?\Z)'
    r"|b?'(?:[^'\\]|\\.)*(?:'|\\?\Z)"
    r"|(?P<slashes>\\+)(?P<quote>[\"']).*?(?:(?<!\\)(?P=slashes)(?P=quote)|\Z))"
)

_KEY = (
    r"token|secret|password|passwd|passphrase|api_?key|"
    r"prolific_?pid|survey_?code|participant_?id"
)

# Each takes time linear in the text: what is logged may come from a stranger.
_PATTERNS = [
    # Our own: tokens and links wherever they are, and whatever tries to be one.
    (r"pen_(?:[0-9a-f]{12}_[\w-]*|(?:link|invite)\.[\w.-]*)", HIDDEN),
    (r"(?<![^\W_])pen_[\w.-]+", HIDDEN),
    # Its parameters too, which name a person where a recruiting site sent them.
    (r"(/participate/)[^\s\"'<>]+", rf"\1{HIDDEN}"),
    # A database's password: postgresql://user:password@host
    (r"(://[^\s:/@]{0,200}:)\S{1,1000}@", rf"\1{HIDDEN}@"),
    # A header, as it was sent or as an entry of a dict or list.
    (
        rf"((?:authorization|cookie)\\*[\"']?\s*[:=,]\s*)(?:{_QUOTED}|[^\"'\r\n]+)",
        rf"\1{HIDDEN}",
    ),
    (r"(bearer\s+)[\w.~+/=-]+", rf"\1{HIDDEN}"),
    # A field of JSON, of a dict, a query, a form or an environment.
    (
        rf"((?:{_KEY})\\*[\"']?\s*[:=]\s*)(?:{_QUOTED}|[^\s,;&\"')}}\]]+)",
        rf"\1{HIDDEN}",
    ),
]
_COMPILED = [
    (re.compile(pattern, re.IGNORECASE | re.DOTALL), by) for pattern, by in _PATTERNS
]

_FORMATTER = logging.Formatter()


def redact(text: str) -> str:
    """The text with ``***`` for everything that looks like a secret."""
    for pattern, by in _COMPILED:
        text = pattern.sub(by, text)
    return text


class Redaction(logging.Filter):
    """Takes the secrets out of every record that comes by; lets all of them pass.

    The message is put together here, so that no formatter sees its arguments, and the
    exception is turned into text. What goes beside the message (``extra``) is left as
    it is: nothing of ours uses it, and no plain formatter prints it.
    """

    def filter(self, record: logging.LogRecord) -> bool:
        """Redact one record in place."""
        try:
            message = record.getMessage()
        except Exception:
            # Logging would print the arguments, to tell that they do not fit.
            message = f"{record.msg} (its arguments do not fit it)"
        record.msg, record.args = redact(message), None
        if record.exc_info:
            record.exc_text = record.exc_text or _FORMATTER.formatException(
                record.exc_info
            )
            record.exc_info = None
        if record.exc_text:
            record.exc_text = redact(record.exc_text)
        if record.stack_info:
            record.stack_info = redact(record.stack_info)
        return True


def install() -> None:
    """Redact every record of this process, whatever its logger and handlers are.

    A filter of a logger does not see what its children log, and one of a handler only
    what that handler writes; so records are redacted when they are made.
    """
    make = logging.getLogRecordFactory()
    if getattr(make, "redacts", False):
        return
    redaction = Redaction()

    def make_redacted(*args: Any, **kwargs: Any) -> logging.LogRecord:
        record = make(*args, **kwargs)
        redaction.filter(record)
        return record

    make_redacted.redacts = True  # type: ignore[attr-defined]
    logging.setLogRecordFactory(make_redacted)
