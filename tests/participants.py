"""Who takes part, what they say over HTTP, and how they are refused."""

from collections.abc import Callable
from typing import Any

import pytest
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from server.protocol import ProtocolError, Refusal

DAY_S = 86_400.0
ANN, BOB = "5f3c9a0b1d2e4f6a7b8c9d0e", "60a1b2c3d4e5f60718293a4b"
"""What a recruiting site calls two people."""


def refusal(call: Callable[[], object]) -> Refusal:
    """How a call is refused."""
    with pytest.raises(ProtocolError) as caught:
        call()
    return caught.value.refusal


def bearer(secret: str) -> dict[str, str]:
    """The header that shows a secret."""
    return {"Authorization": f"Bearer {secret}"}


def said_by(response: TestResponse) -> Any:
    """The JSON of a response."""
    return response.get_json()


def say(browser: FlaskClient, secret: str, kind: str, **message: Any) -> Any:
    """The reply to one message of whoever has a secret."""
    path = f"/api/v1/{kind}"
    return said_by(browser.post(path, json=message, headers=bearer(secret)))
