"""The server of the benchmarks: raw sockets, frames encoded beforehand, one thread in a process of its own.

``python -m tests.benchmarks.server`` prints its port and serves until its standard input ends. It is told what to do by
the text of ``input_text_buffer.append``, so that each side can ask through its own public API:

``flood MS COUNT``
    COUNT audio deltas of MS milliseconds, as fast as they are taken.
``pace MS``
    an audio delta every MS milliseconds from now on. The time of writing (``time.monotonic_ns``, the same clock in all
    processes of a machine) is in the ``event_id``.

Input audio is skipped unread, and the server sleeps until there is much of it: waking it for each frame can cost the
sender more than all else, in a virtual machine most of all, and nobody who sends to another machine pays that.
"""

from __future__ import annotations

import base64
import hashlib
import heapq
import json
import random
import selectors
import socket
import struct
import sys
import time
from typing import Any

GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
RATE = 24000

# Longer messages of the client are input audio.
MAX_COMMAND_BYTES = 4096

STAMP_DIGITS = 19

# So much input audio is let come before it is skipped, or what has come in so many seconds.
AUDIO_BYTES = 1 << 16
AUDIO_S = 0.05


def frame(payload: bytes, opcode: int = 1) -> bytes:
    """A whole message as one unmasked frame."""
    size = len(payload)
    if size < 126:
        return bytes((0x80 | opcode, size)) + payload
    if size < 65536:
        return struct.pack("!BBH", 0x80 | opcode, 126, size) + payload
    return struct.pack("!BBQ", 0x80 | opcode, 127, size) + payload


def message(**fields: Any) -> bytes:
    """A JSON message as a frame."""
    return frame(json.dumps(fields).encode())


def delta(ms: int) -> tuple[bytes, bytes]:
    """A frame with an audio delta of noise, cut open around the digits of its ``event_id``."""
    pcm = random.Random(ms).randbytes(RATE * ms // 1000 * 2)  # noqa: S311 - noise, not a secret
    whole = message(
        event_id="event_" + "0" * STAMP_DIGITS,
        type="response.audio.delta",
        response_id="resp_LzPxhGd3LK7NJ3YEKi3DT",
        item_id="item_Lm9kCRAhc5IL2lLqJ2qVm",
        output_index=0,
        content_index=0,
        delta=base64.b64encode(pcm).decode(),
    )
    at = whole.index(b"event_0") + len(b"event_")
    return whole[:at], whole[at + STAMP_DIGITS :]


class Link:
    """One client. The serving thread's own."""

    def __init__(self, sock: socket.socket) -> None:
        sock.setblocking(False)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.sock = sock
        self.inbox = bytearray()
        self.skip = 0  # bytes of input audio that are still to come
        self.shaken = False
        self.waiting: list[memoryview] = []  # what the client has not taken yet
        self.flood: tuple[memoryview, int] | None = None  # a block of frames, and how often it is still to be sent
        self.session = {"id": f"sess_{sock.fileno()}", "object": "realtime.session"}


class Server:
    """Serves until standard input ends."""

    def __init__(self) -> None:
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=4096)
        self.selector = selectors.DefaultSelector()
        self.selector.register(self.listener, selectors.EVENT_READ)
        self.selector.register(sys.stdin, selectors.EVENT_READ)
        self.due: list[tuple[float, int, Link, int]] = []  # a heap: when, whose turn, to whom, how many ms
        self.turns = 0
        self.phases = random.Random(1)  # noqa: S311 - where in their period sessions begin
        self.deltas: dict[int, tuple[bytes, bytes]] = {}
        self.scratch = bytearray(1 << 18)
        self.dozing: set[Link] = set()  # that are not looked at until there is much

    def serve(self) -> None:
        """Serve until standard input ends."""
        print(self.listener.getsockname()[1], flush=True)
        while True:
            left = self.due[0][0] - time.monotonic() if self.due else AUDIO_S if self.dozing else None
            ready = self.selector.select(left if left is None or left > 0 else 0)
            if not ready:
                self.wake()
            for key, events in ready:
                if key.fileobj is sys.stdin:
                    return
                if key.fileobj is self.listener:
                    link = Link(self.listener.accept()[0])
                    self.selector.register(link.sock, selectors.EVENT_READ, link)
                    continue
                try:
                    if events & selectors.EVENT_WRITE:
                        self.flush(key.data)
                    if events & selectors.EVENT_READ:
                        self.read(key.data)
                except OSError:
                    self.drop(key.data)
            self.pace()

    def doze(self, link: Link) -> None:
        """Do not look at a client that sends audio until there is much of it."""
        self.dozing.add(link)
        link.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, AUDIO_BYTES)

    def wake(self) -> None:
        """Look at all clients again, at the first byte."""
        for link in self.dozing:
            link.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, 1)
        self.dozing.clear()

    def drop(self, link: Link) -> None:
        """Forget a client."""
        self.dozing.discard(link)
        if link.sock.fileno() >= 0:
            self.selector.unregister(link.sock)
            link.sock.close()

    # Out.

    def write(self, link: Link, *parts: bytes) -> None:
        """Write, and keep what is not taken."""
        if not link.waiting and not link.flood:
            try:
                sent = link.sock.sendmsg(parts)
            except BlockingIOError:
                sent = 0
            if sent == sum(map(len, parts)):
                return
            parts = (b"".join(parts)[sent:],)
        link.waiting.append(memoryview(b"".join(parts)))
        self.selector.modify(link.sock, selectors.EVENT_READ | selectors.EVENT_WRITE, link)

    def flush(self, link: Link) -> None:
        """Write on after the client has taken some."""
        while True:
            while link.waiting:
                try:
                    sent = link.sock.send(link.waiting[0])
                except BlockingIOError:
                    return
                link.waiting[0] = link.waiting[0][sent:]
                if not link.waiting[0]:
                    link.waiting.pop(0)
            if not link.flood:
                break
            block, times = link.flood
            link.waiting.append(block)
            link.flood = (block, times - 1) if times > 1 else None
        self.selector.modify(link.sock, selectors.EVENT_READ, link)

    def pace(self) -> None:
        """Send the deltas that are due."""
        now = time.monotonic()  # once: a server that cannot keep up must still read
        while self.due and self.due[0][0] <= now:
            when, turn, link, ms = self.due[0]
            if link.sock.fileno() < 0:
                heapq.heappop(self.due)
                continue
            head, tail = self.deltas[ms]
            try:
                self.write(link, head, b"%0*d" % (STAMP_DIGITS, time.monotonic_ns()), tail)
            except OSError:
                self.drop(link)
            heapq.heapreplace(self.due, (max(when + ms / 1000, now), turn, link, ms))

    # In.

    def read(self, link: Link) -> None:
        """Take what has come."""
        count = link.sock.recv_into(self.scratch)
        if not count:
            self.drop(link)
            return
        skipped = min(link.skip, count)
        link.skip -= skipped
        link.inbox += memoryview(self.scratch)[skipped:count]
        if not link.shaken:
            self.shake_hands(link)
        while link.shaken and len(link.inbox) >= 2 and self.take(link):
            pass

    def shake_hands(self, link: Link) -> None:
        """Answer the handshake, and begin the session."""
        end = link.inbox.find(b"\r\n\r\n")
        if end < 0:
            return
        lines = bytes(link.inbox[:end]).split(b"\r\n")
        key = next(line.split(b":", 1)[1].strip() for line in lines if line.lower().startswith(b"sec-websocket-key:"))
        accept = base64.b64encode(hashlib.sha1(key + GUID).digest())  # noqa: S324 - what RFC 6455 asks for
        del link.inbox[: end + 4]
        link.shaken = True
        head = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        self.write(link, head, b"Sec-WebSocket-Accept: ", accept, b"\r\n\r\n")
        self.write(link, message(event_id="event_1", type="session.created", session=link.session))

    def take(self, link: Link) -> bool:
        """Take one frame from the inbox; ``False`` when it is not whole yet."""
        inbox = link.inbox
        size, head = inbox[1] & 0x7F, 2
        if size >= 126:
            head = 4 if size == 126 else 10
            if len(inbox) < head:
                return False
            size = int.from_bytes(inbox[2:head], "big")
        head += 4  # the mask
        if size > MAX_COMMAND_BYTES:
            here = min(len(inbox), head + size)
            link.skip = head + size - here
            del inbox[:here]
            if link not in self.dozing:
                self.doze(link)
            return True
        if len(inbox) < head + size:
            return False
        opcode, mask = inbox[0] & 0x0F, inbox[head - 4 : head]
        payload = bytes(byte ^ mask[at & 3] for at, byte in enumerate(inbox[head : head + size]))
        del inbox[: head + size]
        if opcode == 1:
            self.answer(link, json.loads(payload))
        elif opcode == 8:
            self.write(link, frame(payload, 8))
        elif opcode == 9:
            self.write(link, frame(payload, 10))
        return True

    def answer(self, link: Link, event: dict[str, Any]) -> None:
        """Answer a client event."""
        kind = event["type"]
        if kind == "session.update":
            link.session.update(event["session"])
            self.write(link, message(event_id="event_2", type="session.updated", session=link.session))
        elif kind == "session.finish":
            self.write(link, message(event_id="event_3", type="session.finished"))
        elif kind == "input_text_buffer.append":
            self.command(link, *event["text"].split())

    def command(self, link: Link, verb: str, ms_text: str, count_text: str = "0") -> None:
        """Begin to send."""
        ms = int(ms_text)
        if ms not in self.deltas:
            self.deltas[ms] = delta(ms)
        head, tail = self.deltas[ms]
        if verb == "flood":
            batch = max(1, 1000 // ms)
            one = head + b"0" * STAMP_DIGITS + tail
            link.flood = (memoryview(one * batch), int(count_text) // batch)
            self.flush(link)
            if link.flood or link.waiting:
                self.selector.modify(link.sock, selectors.EVENT_READ | selectors.EVENT_WRITE, link)
        else:
            self.turns += 1
            first = time.monotonic() + ms / 1000 * self.phases.random()
            heapq.heappush(self.due, (first, self.turns, link, ms))


if __name__ == "__main__":
    Server().serve()
