"""Reading and writing one socket from two threads, plain and encrypted."""

from __future__ import annotations

import socket
import ssl
import threading
import time
from collections.abc import Iterator

import pytest

from qwen_realtime.sockets import DuplexSocket

Pair = tuple[DuplexSocket, socket.socket]


def _tls_pair(server_tls: ssl.SSLContext, client_tls: ssl.SSLContext) -> tuple[socket.socket, socket.socket]:
    near, far = _tcp_pair()
    accepted: list[ssl.SSLSocket] = []
    accepting = threading.Thread(target=lambda: accepted.append(server_tls.wrap_socket(far, server_side=True)))
    accepting.start()
    wrapped = client_tls.wrap_socket(near, server_hostname="localhost")
    accepting.join(10)
    return wrapped, accepted[0]


def _tcp_pair() -> tuple[socket.socket, socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        near = socket.create_connection(listener.getsockname())
        far, _ = listener.accept()
    near.settimeout(10)
    far.settimeout(10)
    return near, far


@pytest.fixture(params=["plain", "TLS"])
def pair(request: pytest.FixtureRequest, server_tls: ssl.SSLContext, client_tls: ssl.SSLContext) -> Iterator[Pair]:
    """A duplex socket and its peer."""
    near, far = _tls_pair(server_tls, client_tls) if request.param == "TLS" else _tcp_pair()
    duplex = DuplexSocket(near)
    yield duplex, far
    duplex.close()
    far.close()


def _soon(seconds: float = 5.0) -> float:
    return time.monotonic() + seconds


class TestReading:
    """One thread reads."""

    def test_what_has_come_is_given_at_once(self, pair: Pair) -> None:
        """As much as there is, down to a byte."""
        duplex, far = pair
        for sent in (b"x", b"hello"):
            far.sendall(sent)
            assert duplex.read_some(_soon()) == sent

    def test_more_than_a_buffer_comes_whole(self, pair: Pair) -> None:
        """The size of the reads follows what comes."""
        duplex, far = pair
        sent = bytes(range(256)) * 4000
        writing = threading.Thread(target=far.sendall, args=(sent,))
        writing.start()
        received = b""
        while len(received) < len(sent):
            received += duplex.read_some(_soon())
        writing.join(5)
        assert received == sent

    @pytest.mark.parametrize("seconds", [0.02, 0.3])
    def test_nothing_within_the_time_is_a_timeout(self, pair: Pair, seconds: float) -> None:
        """The deadline of this read counts, however long the one before could wait."""
        duplex, far = pair
        far.sendall(b"x")
        duplex.read_some(_soon(60))
        began = time.monotonic()
        with pytest.raises(TimeoutError):
            duplex.read_some(began + seconds)
        assert time.monotonic() - began >= seconds - 0.002

    def test_taking_does_not_wait(self, pair: Pair) -> None:
        """Nothing is ``None``; and nothing is lost by asking."""
        duplex, far = pair
        assert duplex.take() is None
        far.sendall(b"there")
        assert duplex.wait_readable(_soon())
        assert duplex.take() == b"there"
        assert duplex.take() is None

    def test_the_peers_end_is_an_empty_read(self, pair: Pair) -> None:
        """Now and for ever."""
        duplex, far = pair
        far.close()
        try:
            assert duplex.read_some(_soon()) == b""
        except ssl.SSLEOFError:  # the end of the stream, where TLS had none
            assert isinstance(duplex._sock, ssl.SSLSocket)

    def test_a_shutdown_wakes_the_reader(self, pair: Pair) -> None:
        """From another thread, whatever its deadline."""
        duplex, _ = pair
        outcome: list[object] = []
        reading = threading.Event()

        def read() -> None:
            reading.set()
            try:
                outcome.append(duplex.read_some(_soon(60)))
            except OSError as error:
                outcome.append(error)

        reader = threading.Thread(target=read)
        reader.start()
        assert reading.wait(5)
        duplex.shutdown()
        reader.join(5)
        assert not reader.is_alive()
        assert outcome


class TestWriting:
    """While the reader waits."""

    def test_it_does_not_wait_for_the_reader(self, pair: Pair) -> None:
        """A read under way keeps nobody from writing."""
        duplex, far = pair
        received: list[bytes] = []
        reader = threading.Thread(target=lambda: received.append(duplex.read_some(_soon(10))))
        reader.start()
        duplex.write(b"question", _soon())
        assert far.recv(100) == b"question"
        far.sendall(b"answer")
        reader.join(5)
        assert received == [b"answer"]

    def test_a_peer_that_does_not_read_is_a_timeout(self, pair: Pair) -> None:
        """Within the deadline, though the socket itself would block."""
        duplex, _ = pair
        began = time.monotonic()
        with pytest.raises(TimeoutError):
            duplex.write(bytes(64_000_000), began + 0.2)
        assert time.monotonic() - began >= 0.19

    def test_much_goes_out_whole(self, pair: Pair) -> None:
        """In as many parts as the system wants."""
        duplex, far = pair
        sent = bytes(range(256)) * 8000
        received = bytearray()

        def read() -> None:
            while len(received) < len(sent):
                received.extend(far.recv(65536))

        reader = threading.Thread(target=read)
        reader.start()
        duplex.write(sent, _soon(10))
        reader.join(10)
        assert bytes(received) == sent

    def test_a_few_bytes_go_at_once_or_not_at_all(self, pair: Pair) -> None:
        """Where the peer does not read, nobody waits for it and the connection is as good as before."""
        duplex, far = pair
        assert duplex.write_at_once(b"ping")
        assert far.recv(100) == b"ping"
        with pytest.raises(TimeoutError):
            duplex.write(bytes(64_000_000), time.monotonic())
        assert not duplex.write_at_once(b"ping")
