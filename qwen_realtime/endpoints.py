"""Where to connect and as whom: regions, the URL, headers, the key."""

from __future__ import annotations

import ipaddress
import os
import platform
from collections.abc import Callable, Mapping
from typing import NamedTuple
from urllib.parse import parse_qsl, urlencode, urlsplit

from .errors import ConfigError
from .notices import warn
from .protocol import Family
from .version import __version__

__all__ = ["REGIONS", "Endpoint", "KeySource", "is_loopback", "key_source", "resolve"]

# Reference, section 1.1; the region names are ours.
REGIONS: dict[str, str] = {
    "intl": "wss://dashscope-intl.aliyuncs.com/api-ws/v1/realtime",
    "cn": "wss://dashscope.aliyuncs.com/api-ws/v1/realtime",
}

KeySource = Callable[[], str]


class Endpoint(NamedTuple):
    """One place to connect to.

    Attributes:
        url: with the model in its query.
        host: the server's name, without brackets.
        port: its TCP port.
        secure: whether it is ``wss``.
        region: ``"intl"``, ``"cn"``, or empty where the URL was given.
        headers: what to send beside the WebSocket headers, without the key.
    """

    url: str
    host: str
    port: int
    secure: bool
    region: str
    headers: dict[str, str]


def key_source(api_key: str | Callable[[], str] | None) -> KeySource:
    """Where the key comes from: the argument, a callable asked at each connection, or ``DASHSCOPE_API_KEY``.

    Raises:
        ConfigError: there is no key, or it cannot be put in a header. The message never shows the key.
    """
    given = api_key if api_key is not None else os.environ.get("DASHSCOPE_API_KEY")
    if callable(given):
        ask = given
        return lambda: _checked(ask())
    key = _checked(given)
    return lambda: key


def _checked(key: str | None) -> str:
    key = key.strip() if isinstance(key, str) else key
    if not key:
        raise ConfigError(
            "no API key",
            hint="set the environment variable DASHSCOPE_API_KEY, or pass api_key=; any text for a local server",
        )
    if not isinstance(key, str) or not key.isascii() or not key.isprintable() or " " in key:
        raise ConfigError("the API key has characters that no key has", hint="copy it again, without blanks or quotes")
    return key


def resolve(
    *,
    family: Family,
    model: str,
    url: str | None,
    region: str,
    workspace: str | None,
    headers: Mapping[str, str] | None,
) -> Endpoint:
    """Work out the URL and headers of a connection.

    Args:
        family: the service.
        model: goes into the URL's query.
        url: in place of a region; the default is ``QWEN_REALTIME_URL``, then the region's.
        region: ``"intl"`` (Singapore) or ``"cn"`` (Beijing).
        workspace: a workspace id, sent as ``X-DashScope-WorkSpace``.
        headers: more headers; ``Authorization`` cannot be replaced.

    Raises:
        ConfigError: an unknown region, or a URL that is not ``ws://`` or ``wss://``.
    """
    if region not in REGIONS:
        raise ConfigError(f"unknown region {region!r}", hint=f"one of {', '.join(map(repr, REGIONS))}, or pass url=")
    given = url or os.environ.get("QWEN_REALTIME_URL")
    try:
        parts = urlsplit(given or REGIONS[region])
        port = parts.port
    except ValueError as error:
        raise ConfigError(f"the URL {given!r} cannot be used: {error}") from error
    if parts.scheme not in ("ws", "wss") or not parts.hostname:
        raise ConfigError(
            f"{given!r} is not a WebSocket URL", hint="it begins with wss://, or on this machine with ws://"
        )
    secure = parts.scheme == "wss"
    if not secure and not is_loopback(parts.hostname):
        warn(f"{parts.hostname}: ws:// sends the key unencrypted")
    query = urlencode([pair for pair in parse_qsl(parts.query) if pair[0] != "model"] + [("model", model)])
    return Endpoint(
        url=parts._replace(query=query, fragment="").geturl(),
        host=parts.hostname,
        port=port or (443 if secure else 80),
        secure=secure,
        region="" if given else region,
        headers=_headers(family, workspace, headers),
    )


def _headers(family: Family, workspace: str | None, more: Mapping[str, str] | None) -> dict[str, str]:
    headers = {"User-Agent": f"qwen-realtime/{__version__} python/{platform.python_version()}"}
    if family is Family.ASR:
        headers["OpenAI-Beta"] = "realtime=v1"  # listed by the ASR page only; harmless elsewhere, so not sent there
    if workspace:
        headers["X-DashScope-WorkSpace"] = _printable("X-DashScope-WorkSpace", workspace)
    for name, value in (more or {}).items():
        _printable(name, value)
        if name.lower() != "authorization":
            headers = {key: kept for key, kept in headers.items() if key.lower() != name.lower()}
            headers[name] = value
    return headers


def _printable(name: str, value: str) -> str:
    """A header's value, unless it would break out of its line."""
    if not isinstance(value, str):
        raise ConfigError(f"the header {name!r} is a str, not a {type(value).__name__}")
    if not (name + value).isprintable():
        raise ConfigError(f"the header {name!r} has characters that no header has")
    return value


def is_loopback(host: str) -> bool:
    """Whether a host name or address stays on this machine."""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
