"""The service's addresses lead to the local server, for programs that name them and must not be touched.

Nothing in the program or the client is patched: both heed the environment's proxy and certificate authorities, as they
would in a company. The proxy here knows the service's hosts and no others, so nothing leaves this machine.
"""

from __future__ import annotations

import socket
import ssl
from pathlib import Path
from typing import Any

import trustme

from qwen_realtime.server import LocalServer
from qwen_realtime.server.engines import Engines, Listener

from ..peer import PATIENCE_S, ConnectProxy, Link

__all__ = ["KEY", "Detour"]

HOSTS = ("dashscope.aliyuncs.com", "dashscope-intl.aliyuncs.com")
KEY = "sk-for-the-local-server"


class EnglishEars(Engines):
    """Engines that take every recording for English, the one language they know, whatever a program says it is."""

    def listen(self, **asked: Any) -> Listener:
        """Listen to English."""
        return super().listen(**{**asked, "language": None})


class Detour(ConnectProxy):
    """A local server in the service's place, and the proxy that leads there; usable in ``with``.

    Args:
        folder: for the certificate.

    Attributes:
        server: where the programs arrive; takes :data:`KEY` only.
        environment: what leads a program there.
        trust: for clients in this process.
        refused: other hosts that were asked for.
    """

    def __init__(self, folder: Path) -> None:
        authority = trustme.CA()
        tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        authority.issue_cert(*HOSTS, "localhost", "127.0.0.1").configure_cert(tls)
        self.trust = ssl.create_default_context()
        authority.configure_trust(self.trust)
        self.refused: list[str] = []
        self._engines = EnglishEars()
        self.server = LocalServer(tls=tls, api_key=KEY, engines=self._engines)
        self.server.start()
        super().__init__("accept")
        certificate = folder / "authority.pem"
        authority.cert_pem.write_to_path(str(certificate))
        self.environment = {
            **dict.fromkeys(("HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy"), self.url),
            **dict.fromkeys(("SSL_CERT_FILE", "WEBSOCKET_CLIENT_CA_BUNDLE"), str(certificate)),
            "no_proxy": "127.0.0.1,localhost",
            "NO_PROXY": "127.0.0.1,localhost",
            "DASHSCOPE_API_KEY": KEY,
        }

    def _serve(self, link: Link) -> None:
        link.read_request()
        host, _, port = link.path.rpartition(":")
        if host in HOSTS and port == "443":
            far = socket.create_connection(("127.0.0.1", self.server.port), timeout=PATIENCE_S)
            for end in (link.sock, far):
                end.settimeout(None)  # silence is no fault: programs wait for their users
            self._relay(link.sock, far)
        else:
            self.refused.append(link.path)
            link.raw(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n")

    def close(self) -> None:
        """End both."""
        super().close()
        self.server.close()
        self._engines.close()

    def __enter__(self) -> Detour:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()
