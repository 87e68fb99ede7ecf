"""Checks of the way to the server: proxy, names, TLS, and the clock that TLS depends on. None sends the key."""

from __future__ import annotations

import socket
import ssl
import threading
from datetime import datetime
from email.utils import parsedate_to_datetime
from ipaddress import ip_address
from typing import Any

from ..dialing import Deadline, dial, proxy_for
from ..endpoints import Endpoint, is_loopback
from ..errors import ConfigError, ConnectError, RealtimeError
from .setup import Finding, Setup

__all__ = ["check_clock", "check_dns", "check_proxy", "check_tls"]

# A clock that is off by more than the first is worth a word; by more than the second, certificates and keys fail.
SKEW_WARN_S, SKEW_FAIL_S = 30.0, 300.0

# Makers of proxies that open TLS, as they sign their certificates.
_INTERCEPTORS = (
    *("zscaler", "netskope", "forti", "palo alto", "blue coat", "bluecoat", "forcepoint", "sophos", "mitmproxy"),
    *("charles proxy", "kaspersky", "avast", "eset", "bitdefender", "umbrella", "mcafee", "trend micro", "squid"),
)


def check_proxy(setup: Setup) -> Finding:
    """Which proxy is used, and whether it lets us through to the server."""
    endpoint = setup.endpoint()
    try:
        via = proxy_for(endpoint, setup.proxy)
    except ConfigError as error:
        return Finding("proxy", "fail", error.message, error.hint)
    if via is None:
        return Finding("proxy", "ok", "none")
    where = f"{via.scheme}://{via.hostname}:{via.port or 80}"
    try:
        dial(endpoint._replace(secure=False), Deadline(setup.timeout), proxy=setup.proxy).close()
    except RealtimeError as error:
        hint = "check --proxy, or https_proxy and no_proxy in the environment"
        return Finding("proxy", "fail", f"{where}: {error.message}", hint)
    return Finding("proxy", "ok", f"{where} lets us through to {endpoint.host}")


def check_dns(setup: Setup) -> Finding:
    """Whether the server's name has addresses, of both kinds."""
    endpoint = setup.endpoint()
    if proxy_for(endpoint, setup.proxy) is not None:
        return Finding("dns", "ok", f"the proxy looks {endpoint.host} up")
    if _is_address(endpoint.host):
        return Finding("dns", "ok", f"{endpoint.host} needs none")
    answers = _lookup(setup, endpoint)
    if not isinstance(answers, list):
        why = getattr(answers, "strerror", None) or answers
        return Finding(
            "dns", "fail", f"{endpoint.host} was not found: {why}", "connect to a network, or check its DNS servers"
        )
    v4 = sorted({str(answer[4][0]) for answer in answers if answer[0] == socket.AF_INET})
    v6 = sorted({str(answer[4][0]) for answer in answers if answer[0] == socket.AF_INET6})
    kinds = [f"{kind} {found[0]}" for kind, found in (("IPv4", v4), ("IPv6", v6)) if found]
    if not kinds:
        return Finding("dns", "fail", f"{endpoint.host} has no address", "check the DNS servers")
    return Finding("dns", "ok", f"{endpoint.host}: {', '.join(kinds)}")


def _is_address(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return False
    return True


def _lookup(setup: Setup, endpoint: Endpoint) -> list[Any] | Exception:
    """The addresses of a name, or why there are none.

    The system's lookup knows no deadline: it runs in a thread, ``qwen-lookup``, which is left behind if need be.
    """
    found: list[list[Any] | Exception] = []

    def look() -> None:
        try:
            found.append(setup.lookup(endpoint.host, endpoint.port, type=socket.SOCK_STREAM))
        except (OSError, ValueError) as error:
            found.append(error)

    thread = threading.Thread(target=look, name="qwen-lookup", daemon=True)
    thread.start()
    thread.join(setup.timeout)
    return found[0] if found else TimeoutError(f"no answer within {setup.timeout:g} s")


def check_tls(setup: Setup) -> Finding:
    """Whether the server is reached, and its certificate verifies; and who signed it."""
    endpoint = setup.endpoint()
    try:
        sock = dial(endpoint, Deadline(setup.timeout), proxy=setup.proxy, ssl_context=setup.ssl_context)
    except ConnectError as error:
        if error.phase != "tls":
            return Finding("tcp", "fail", error.message, error.hint)
        return _bad_certificate(setup, endpoint, error)
    with sock:
        if not isinstance(sock, ssl.SSLSocket):
            local = is_loopback(endpoint.host)
            return Finding(
                "tls",
                "ok" if local else "warn",
                f"none: {endpoint.host}:{endpoint.port} is reached by ws://",
                "" if local else "use wss://: the key goes unencrypted",
            )
        certificate, version = sock.getpeercert() or {}, sock.version()
    issuer = _name(certificate.get("issuer", ()))
    what = f"{version}, certificate by {issuer}, good until {certificate.get('notAfter', '?')}"
    if _is_interceptor(issuer):
        return Finding("tls", "warn", f"{what}: a proxy opens the encryption", "ask for an exception for this host")
    return Finding("tls", "ok", what)


def _bad_certificate(setup: Setup, endpoint: Endpoint, error: ConnectError) -> Finding:
    cause = error.__cause__
    code = cause.verify_code if isinstance(cause, ssl.SSLCertVerificationError) else 0
    if not code:
        return Finding("tls", "fail", error.message, error.hint)
    issuer = _issuer_unverified(setup, endpoint)
    if code in (9, 10):  # not yet, or no more
        what = f"the certificate of {endpoint.host} is {'not valid yet' if code == 9 else 'no longer valid'}"
        return Finding("tls", "fail", what, "set this machine's clock: timedatectl set-ntp true")
    if code == 62:
        return Finding("tls", "fail", f"the certificate is for another name than {endpoint.host}", "check the URL")
    what = f"the certificate of {endpoint.host} is signed by {issuer}, which this machine does not trust"
    return Finding("tls", "fail", what, "set SSL_CERT_FILE to that authority's certificate, if it is your company's")


def _issuer_unverified(setup: Setup, endpoint: Endpoint) -> str:
    """Who signed a certificate that does not verify. Nothing is sent over that connection."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    try:
        with dial(endpoint, Deadline(setup.timeout), proxy=setup.proxy, ssl_context=context) as sock:
            der = sock.getpeercert(binary_form=True) if isinstance(sock, ssl.SSLSocket) else None
    except ConnectError:
        return "somebody"
    # The names of an X.509 certificate stand behind their numbers, and the issuer's before the subject's.
    for number in (b"\x06\x03\x55\x04\x0a", b"\x06\x03\x55\x04\x03"):  # organisation, common name
        at = (der or b"").find(number)
        if at >= 0 and der is not None:
            length = der[at + 6]
            return der[at + 7 : at + 7 + length].decode("utf-8", "replace")
    return "somebody"


def _name(parts: Any) -> str:
    """The organisation, or else the common name, of a decoded certificate's name."""
    names = {key: value for part in parts for key, value in part}
    return str(names.get("organizationName") or names.get("commonName") or "somebody")


def _is_interceptor(issuer: str) -> bool:
    return any(maker in issuer.lower() for maker in _INTERCEPTORS)


def check_clock(setup: Setup) -> Finding:
    """How far this machine's clock is from the server's, from the ``Date`` of an HTTP answer; the key is not sent."""
    endpoint = setup.endpoint()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # the time is told even where the certificate is in doubt
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    try:
        with dial(endpoint, Deadline(setup.timeout), proxy=setup.proxy, ssl_context=context) as sock:
            date = _date_header(sock, endpoint, setup.timeout)
    except (OSError, RealtimeError) as error:
        return Finding("clock", "warn", f"the server's time is not known: {error}", "compare the clock by hand")
    if date is None:
        return Finding("clock", "warn", "the server does not tell the time", "compare the clock by hand")
    skew = setup.now() - (date.timestamp() + 0.5)  # the header has whole seconds, cut off
    what = f"{_duration(abs(skew))} {'ahead of' if skew > 0 else 'behind'} the server"
    if abs(skew) > SKEW_FAIL_S:
        return Finding("clock", "fail", what, "set this machine's clock: timedatectl set-ntp true")
    if abs(skew) > SKEW_WARN_S:
        return Finding("clock", "warn", what, "set this machine's clock before it drifts further")
    return Finding("clock", "ok", "agrees with the server's" if abs(skew) < 2 else what)


def _duration(seconds: float) -> str:
    """A time as people say it."""
    for size, unit in ((86400, "days"), (3600, "hours"), (60, "minutes")):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} seconds"


def _date_header(sock: socket.socket, endpoint: Endpoint, timeout: float) -> datetime | None:
    sock.settimeout(timeout)
    sock.sendall(f"GET / HTTP/1.1\r\nHost: {endpoint.host}\r\nConnection: close\r\n\r\n".encode())
    head = b""
    while b"\r\n\r\n" not in head and len(head) < 65536 and (data := sock.recv(4096)):
        head += data
    for line in head.partition(b"\r\n\r\n")[0].decode("latin-1").split("\r\n"):
        name, _, value = line.partition(":")
        if name.lower() == "date":
            try:
                return parsedate_to_datetime(value.strip())
            except ValueError:
                return None
    return None
