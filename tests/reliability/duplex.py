"""TLS both ways at once: fifty messages a second in each direction of a connection, with deadlines on both sides.

The first connection and every other one after it have TLS 1.3, those between them TLS 1.2.

``python -m tests.reliability.duplex --minutes 10 --connections 4`` is the long run; the normal tests have 20 seconds.
"""

from __future__ import annotations

import argparse
import json
import platform
import ssl
import threading
import time
from dataclasses import asdict, dataclass, field

import trustme

from qwen_realtime import OmniClient

from ..data import base64_of
from ..peer import TEXT, Link, Peer, created, read_and_write_at_once

__all__ = ["Outcome", "contexts", "run"]

PERIOD_S = 0.02
DEADLINE_S = 5.0
DELTA = base64_of(bytes(9600))
BLOCK = bytes(3200)


@dataclass
class Outcome:
    """What one connection did; what the server tells may be of another one."""

    tls: str = ""
    sent: int = 0
    received: int = 0
    by_server: int = 0
    at_server: int = 0
    longest_gap_s: float = 0.0
    ends: list[str] = field(default_factory=list)


def _serve(link: Link, count: int, outcome: Outcome) -> None:
    assert isinstance(link.sock, ssl.SSLSocket)
    outcome.tls = str(link.sock.version())
    read_and_write_at_once(link, DEADLINE_S)
    link.accept()
    link.send(created("qwen3.5-omni-flash-realtime"))

    def talk() -> None:
        began = time.monotonic()
        for number in range(count):
            link.send("response.audio.delta", response_id="r", delta=DELTA)
            outcome.by_server = number + 1
            link.stop.wait(max(0.0, began + (number + 1) * PERIOD_S - time.monotonic()))
        link.send("response.done", response={"id": "r"})

    talking = threading.Thread(target=talk, name="peer-talk", daemon=True)
    talking.start()
    try:
        while (received := link.receive()).opcode != 8:
            outcome.at_server += received.opcode == TEXT
            link.frames.clear()
            link.events.clear()
        link.close()
    finally:
        talking.join(DEADLINE_S)


def run(url_of: Peer, context: ssl.SSLContext, count: int, outcome: Outcome) -> None:
    """One client: so many messages each way."""
    client = OmniClient(url=url_of.url, api_key="k", ssl_context=context, send_timeout=DEADLINE_S)
    last = [time.monotonic()]

    def take(_: object) -> None:
        now = time.monotonic()
        outcome.received += 1
        outcome.longest_gap_s = max(outcome.longest_gap_s, now - last[0])
        last[0] = now

    client.on("response.audio.delta", take)
    client.on("disconnected", lambda event: outcome.ends.append(f"{event.by}: {event.reason}"))
    client.connect()
    pause, began = threading.Event(), time.monotonic()
    last[0] = began
    with client.expect("response.done", count * PERIOD_S * 2 + 30):
        for number in range(count):
            client.append_audio(BLOCK)
            outcome.sent = number + 1
            pause.wait(max(0.0, began + (number + 1) * PERIOD_S - time.monotonic()))
    client.close()


def contexts() -> tuple[ssl.SSLContext, list[ssl.SSLContext]]:
    """A server's, and clients' of TLS 1.3 and 1.2."""
    authority = trustme.CA()
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost", "127.0.0.1").configure_cert(server)
    clients = []
    for version in (ssl.TLSVersion.TLSv1_3, ssl.TLSVersion.TLSv1_2):
        clients.append(ssl.create_default_context())
        clients[-1].maximum_version = version
        authority.configure_trust(clients[-1])
    return server, clients


def measure(seconds: float, connections: int) -> list[Outcome]:
    """Run so many connections at once; raises what a thread raised."""
    count = int(seconds / PERIOD_S)
    server, clients = contexts()
    outcomes = [Outcome() for _ in range(connections)]
    waiting = list(outcomes)
    peer = Peer(lambda link: _serve(link, count, waiting.pop()), tls=server)
    failed: list[BaseException] = []

    def one(number: int) -> None:
        try:
            run(peer, clients[number % 2], count, outcomes[number])
        except BaseException as error:  # noqa: BLE001 - told to the caller
            failed.append(error)

    threads = [threading.Thread(target=one, args=(number,)) for number in range(connections)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(seconds * 2 + 60)
    stuck = [thread for thread in threads if thread.is_alive()]
    peer.close()
    if failed or peer.failures:
        raise [*failed, *peer.failures][0]
    assert not stuck, "a thread is stuck"
    return outcomes


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--connections", type=int, default=4)
    parser.add_argument("--json", action="store_true", help="print what each connection did")
    options = parser.parse_args()
    outcomes = measure(options.minutes * 60, options.connections)
    if options.json:
        print(json.dumps([asdict(outcome) for outcome in outcomes]))
        return
    print(f"Python {platform.python_version()}, {ssl.OPENSSL_VERSION}")
    print(f"{options.connections} connections, {options.minutes:g} minutes")
    sent = sum(each.sent for each in outcomes)
    print(f"client to server: {sum(each.at_server for each in outcomes)} of {sent} messages")
    print(f"server to client: {sum(each.received for each in outcomes)} of {sum(each.by_server for each in outcomes)}")
    print(f"longest gap: {max(each.longest_gap_s for each in outcomes) * 1000:.0f} ms; connections lost: 0")


if __name__ == "__main__":
    main()
