"""Addresses of servers, as people give them to a client."""


def split_link(url: str, token: str | None) -> tuple[str, str | None]:
    """A server's address and secret; a participant's link holds both."""
    if "/participate/" not in url:
        return url, token
    base, _, rest = url.partition("/participate/")
    return base, rest.partition("?")[0]
