"""From a host name to a connected socket: name lookup, TCP, proxy and TLS, each with the time that is left.

Every failure is a :class:`~.errors.ConnectError` that names its phase and what to do.
"""

from __future__ import annotations

import base64
import errno
import os
import socket
import ssl
import threading
import time
from collections.abc import Callable, Sequence
from itertools import chain, zip_longest
from typing import Any
from urllib.parse import SplitResult, unquote, urlsplit

from .endpoints import Endpoint, is_loopback
from .errors import ConfigError, ConnectError, ConnectTimeout
from .sockets import POLLIN, POLLOUT, wait_for

__all__ = ["Deadline", "dial", "proxy_for"]

# With several addresses, none may use up the time of the next: a black-holed IPv6 route is common.
ADDRESS_S = 2.0

# What other programs read: those that name a file may name a folder as well.
_CA_VARIABLES = ("WEBSOCKET_CLIENT_CA_BUNDLE", "REQUESTS_CA_BUNDLE", "SSL_CERT_FILE", "SSL_CERT_DIR")

Address = tuple[int, Any]  # family and socket address


class Deadline:
    """The time that connecting may still take, and whether somebody has called it off.

    Args:
        seconds: from now.
        cancelled: asked about every 100 ms while waiting.
    """

    def __init__(self, seconds: float, cancelled: Callable[[], bool] = lambda: False) -> None:
        self.seconds = seconds
        self.at = time.monotonic() + seconds
        self.cancelled = cancelled

    @property
    def left(self) -> float:
        """Seconds left, never negative."""
        return max(0.0, self.at - time.monotonic())

    def missed(self, phase: str, what: str) -> ConnectError:
        """The error for not having made it."""
        if self.cancelled():
            return ConnectError("closed while connecting", phase=phase)
        return ConnectTimeout(
            f"{what} within {self.seconds:g} s", hint="check network and proxy, or raise connect_timeout", phase=phase
        )


def dial(
    endpoint: Endpoint, deadline: Deadline, *, proxy: str | None = None, ssl_context: ssl.SSLContext | None = None
) -> socket.socket:
    """Connect a socket to an endpoint, through TLS where it is ``wss``.

    Args:
        endpoint: where.
        deadline: for all phases together.
        proxy: ``http://`` or ``socks5h://`` URL; ``None`` takes the environment's, ``""`` none.
        ssl_context: in place of the default one, which verifies certificate and host name.

    Raises:
        ConnectError: why not, with the phase.
    """
    via = proxy_for(endpoint, proxy)
    if via is not None and via.scheme.startswith("socks"):
        sock = _through_socks(via, endpoint, deadline)
    elif via is not None:
        sock = _connect(via.hostname or "", via.port or 80, deadline, phase="proxy")
        _guarded(sock, lambda: _tunnel(sock, via, endpoint, deadline))
    else:
        sock = _connect(endpoint.host, endpoint.port, deadline, phase="tcp")
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    if endpoint.secure:
        sock = _guarded(sock, lambda: _encrypt(sock, endpoint, deadline, ssl_context))
    return sock


def _guarded(sock: socket.socket, step: Callable[[], Any]) -> Any:
    """Take a step with a socket; a failure closes it."""
    try:
        return step()
    except BaseException:
        sock.close()
        raise


# Names and addresses.


def _lookup(host: str, port: int, deadline: Deadline) -> list[Address]:
    """The addresses of a host, IPv6 and IPv4 in turn.

    The system's lookup knows no deadline, so it runs in a thread of its own, ``qwen-lookup``, which is left behind
    where it takes too long; it ends by itself when the system gives up.
    """
    found: list[list[Address] | OSError | ValueError] = []
    done = threading.Event()

    def look() -> None:
        try:
            answers = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
            found.append([(family, address) for family, _, _, _, address in answers])
        except (OSError, ValueError) as error:  # a ValueError: no name at all, such as one that is too long
            found.append(error)
        done.set()

    threading.Thread(target=look, name="qwen-lookup", daemon=True).start()
    while not done.wait(min(deadline.left, 0.1)):
        if not deadline.left or deadline.cancelled():
            raise deadline.missed("dns", f"the name {host!r} was not looked up")
    answer = found[0]
    if isinstance(answer, (OSError, ValueError)):
        raise ConnectError(
            f"the name {host!r} was not found: {getattr(answer, 'strerror', None) or answer}",
            hint="check network, DNS and the URL",
            phase="dns",
        ) from answer
    v6 = [address for address in answer if address[0] == socket.AF_INET6]
    v4 = [address for address in answer if address[0] != socket.AF_INET6]
    return [address for address in chain.from_iterable(zip_longest(v6, v4)) if address is not None]


def _addresses(host: str, port: int, deadline: Deadline) -> Sequence[Address]:
    for family in (socket.AF_INET, socket.AF_INET6):
        try:
            socket.inet_pton(family, host)
        except OSError:
            continue
        return [(family, (host, port))]
    return _lookup(host, port, deadline)


def _connect(host: str, port: int, deadline: Deadline, *, phase: str) -> socket.socket:
    """Connect to the first address that answers."""
    addresses = _addresses(host, port, deadline)
    failures: list[str] = []
    for number, (family, address) in enumerate(addresses, 1):
        last = number == len(addresses)
        until = deadline.at if last else min(deadline.at, time.monotonic() + ADDRESS_S)
        try:
            sock = socket.socket(family, socket.SOCK_STREAM)
        except OSError as error:  # a machine without IPv6 is still told IPv6 addresses
            failures.append(f"{address[0]}: {error.strerror or error}")
            continue
        sock.setblocking(False)
        code = sock.connect_ex(address)
        if code in (errno.EINPROGRESS, errno.EWOULDBLOCK, getattr(errno, "WSAEWOULDBLOCK", -1)):
            ready = wait_for(sock, POLLOUT, until, deadline.cancelled)
            code = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) if ready else errno.ETIMEDOUT
        if code == 0:
            return sock
        sock.close()
        failures.append(f"{address[0]}: {os.strerror(code)}")
        if deadline.cancelled() or (not deadline.left and code == errno.ETIMEDOUT):
            raise deadline.missed(phase, f"{host}:{port} did not answer")
    raise ConnectError(
        f"cannot connect to {host}:{port}: {'; '.join(failures)}",
        hint="check the URL, the firewall and the proxy" if phase == "tcp" else "check the proxy's address",
        phase=phase,
    )


# Proxies.


def proxy_for(endpoint: Endpoint, proxy: str | None) -> SplitResult | None:
    """The proxy to go through: the one given, or the environment's; ``None`` for a direct connection.

    Raises:
        ConfigError: its URL is of a kind that is not supported.
    """
    if proxy is None:
        proxy = "" if is_loopback(endpoint.host) or _exempt(endpoint.host) else _from_environment(endpoint.secure)
    if not proxy:
        return None
    try:
        parts = urlsplit(proxy if "://" in proxy else f"http://{proxy}")
        _ = parts.port
    except ValueError as error:
        raise ConfigError(f"the proxy's URL cannot be used: {error}") from error
    if parts.scheme not in ("http", "socks5", "socks5h", "socks4", "socks4a") or not parts.hostname:
        raise ConfigError(f"a proxy of the kind {parts.scheme!r} is not supported", hint="use http:// or socks5h://")
    return parts


def _from_environment(secure: bool) -> str:
    names = ("https_proxy", "HTTPS_PROXY") if secure else ("http_proxy",)
    return next((os.environ[name] for name in (*names, "all_proxy", "ALL_PROXY") if os.environ.get(name)), "")


def _exempt(host: str) -> bool:
    """Whether ``no_proxy`` names the host or a domain that it is in."""
    listed = os.environ.get("no_proxy") or os.environ.get("NO_PROXY") or ""
    for entry in (each.strip().lstrip(".").lower() for each in listed.split(",")):
        if entry and (entry == "*" or host.lower() == entry or host.lower().endswith(f".{entry}")):
            return True
    return False


def _tunnel(sock: socket.socket, via: SplitResult, endpoint: Endpoint, deadline: Deadline) -> None:
    """Ask an HTTP proxy for a way through."""
    host = f"[{endpoint.host}]" if ":" in endpoint.host else endpoint.host
    lines = [f"CONNECT {host}:{endpoint.port} HTTP/1.1", f"Host: {host}:{endpoint.port}"]
    if via.username:
        pair = f"{unquote(via.username)}:{unquote(via.password or '')}"
        lines.append(f"Proxy-Authorization: Basic {base64.b64encode(pair.encode()).decode()}")
    head = b""
    try:
        sock.sendall(("\r\n".join(lines) + "\r\n\r\n").encode())
        # one byte at a time: what follows the empty line belongs to the tunnel
        while not head.endswith(b"\r\n\r\n"):
            if not wait_for(sock, POLLIN, deadline.at, deadline.cancelled):
                raise deadline.missed("proxy", f"the proxy {via.hostname} did not answer")
            byte = sock.recv(1)
            head += byte
            if not byte or len(head) > 16384:
                raise ConnectionResetError("it hung up" if not byte else "its answer has no end")
    except ConnectError:
        raise
    except OSError as error:
        raise ConnectError(
            f"no way through the proxy {via.hostname}: {error}", hint="check the proxy's address", phase="proxy"
        ) from error
    status = head.split(b"\r\n", 1)[0].decode("latin-1")
    if status.split(" ")[1:2] != ["200"]:
        raise ConnectError(
            f"the proxy {via.hostname} refused the way to {endpoint.host}: {status}",
            hint="check its user name, password and rules",
            phase="proxy",
        )


def _through_socks(via: SplitResult, endpoint: Endpoint, deadline: Deadline) -> socket.socket:
    try:
        from python_socks.sync import Proxy
    except ImportError as error:
        raise ConfigError("a SOCKS proxy needs python-socks", hint="pip install python-socks") from error
    try:
        sock: socket.socket = Proxy.from_url(via.geturl()).connect(endpoint.host, endpoint.port, timeout=deadline.left)
    except Exception as error:
        raise ConnectError(
            f"the proxy {via.hostname}: {error}", hint="check the proxy's address", phase="proxy"
        ) from error
    return sock


# TLS.


def _context() -> ssl.SSLContext:
    """A context that verifies, with the certificate authorities that the usual environment variables name."""
    context = ssl.create_default_context()
    for name in _CA_VARIABLES:
        path = os.environ.get(name)
        if not path:
            continue
        try:
            context.load_verify_locations(**{"capath" if os.path.isdir(path) else "cafile": path})
        except OSError as error:
            raise ConnectError(
                f"no certificate authorities in {path}: {error}", hint=f"correct or unset {name}", phase="tls"
            ) from error
    return context


def _encrypt(
    sock: socket.socket, endpoint: Endpoint, deadline: Deadline, context: ssl.SSLContext | None
) -> ssl.SSLSocket:
    try:
        # the handshake is stepped by hand: with a blocking one, close() could not call it off
        encrypted = (context or _context()).wrap_socket(
            sock, server_hostname=endpoint.host, do_handshake_on_connect=False
        )
        _guarded(encrypted, lambda: _shake_hands(encrypted, endpoint, deadline))
    except ConnectError:
        raise
    except ssl.SSLCertVerificationError as error:
        raise ConnectError(
            f"the certificate of {endpoint.host} was not accepted: {error.verify_message}",
            hint="if a company proxy opens TLS, pass ssl_context= or set SSL_CERT_FILE to its certificate authority",
            phase="tls",
        ) from error
    except OSError as error:
        raise ConnectError(
            f"no TLS with {endpoint.host}:{endpoint.port}: {error}", hint="is it a wss:// port?", phase="tls"
        ) from error
    return encrypted


def _shake_hands(sock: ssl.SSLSocket, endpoint: Endpoint, deadline: Deadline) -> None:
    while True:
        try:
            sock.do_handshake()
        except ssl.SSLWantReadError:
            event = POLLIN
        except ssl.SSLWantWriteError:
            event = POLLOUT
        else:
            return
        if not wait_for(sock, event, deadline.at, deadline.cancelled):
            raise deadline.missed("tls", f"{endpoint.host} did not complete the TLS handshake")
