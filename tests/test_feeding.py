"""What language models write, a few characters at a time: spoken in order, with nothing lost, before it is complete."""

from __future__ import annotations

import random
import re
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qwen_realtime import ReconnectPolicy, TTSClient, events
from qwen_realtime.chunking import Chunker
from qwen_realtime.events import InputTextBufferAppend
from qwen_realtime.server import LocalServer

from .peer import Peer
from .proxy import Proxy
from .reliability.speech import coded_sentences, coded_voice, sentence
from .reliability.tools import Cutter

PATIENCE_S = 20.0

TEXTS = {
    "latin": "Well, Dr. Smith (b. 1961) paid $1,000.50 for it, i.e. 3.14 times as much! Why? Nobody knows… yet. ",
    "chinese": "当然可以！圆周率约等于3.14，“一千零五十点五”写作1,050.5。首先，我们来看《红楼梦》；其次呢？再说……好。",
    "mixed": "我用 Python 3.12 写了一个 app。It works, e.g. on Linux. 你可以试试 v2.0.1，价格是 $3.99/月。OK?",
    "lists": "Here you go:\n\n1. Wash it.\n2. Dry it, twice.\n\n- **Bold** words\n- `code()` too\n\nDone!",
    "web": "Look it up. See https://example.com/a.b?c=1,2&d=3.0 and mail me@example.org. It is 5 p.m. in the U.S. ",
    "emoji": "Great job! 🎉👩\u200d🚀 Let's go 🇫🇷. Cafe\u0301 time ☕️! 太好了😀。再见👋🏽！",
    "code": "```python\ndef f(x: float) -> float:\n    return 2.5 * x  # twice, and more\n```\nThat is all.",
    "quotes": "He said: “Stop!” Then (after 2.5 s) he left. «Bon.» 他说：“你好！”我说：「好。」 End",
}

# What no pause may fall into.
WHOLE = re.compile(
    r"\d[\d.,]*\d|https?://\S+\w|\w+@[\w.]+\w|Dr\. |\(b\. |i\.e\. |e\.g\. |\d\. (?=[WD])|p\.m\. |U\.S\. "
)


def tokens_of(text: str, seed: int = 0) -> list[str]:
    """The text as a model gives it: one to six characters at a time."""
    rng, tokens = random.Random(seed), []  # noqa: S311 - no secret
    while text:
        size = rng.randint(1, 6)
        tokens.append(text[:size])
        text = text[size:]
    return tokens


@pytest.mark.parametrize("name", TEXTS)
@given(data=st.data())
def test_however_a_text_comes_it_is_cut_where_a_speaker_would_pause(name: str, data: st.DataObject) -> None:
    """The pieces are the text; none ends inside a number, an address or an abbreviation."""
    text = TEXTS[name]
    cuts = sorted(data.draw(st.sets(st.integers(1, len(text) - 1), max_size=len(text))))
    chunker = Chunker()
    pieces: list[str] = []
    for start, end in zip([0, *cuts], [*cuts, len(text)], strict=True):
        pieces += chunker.add(text[start:end])
    pieces.append(chunker.flush())
    assert "".join(pieces) == text
    ends, at = set(), 0
    for piece in pieces:
        at += len(piece)
        ends.add(at)
    torn = [found[0] for found in WHOLE.finditer(text) if ends & set(range(found.start() + 1, found.end()))]
    assert not torn


@pytest.mark.parametrize("mode", ["commit", "server_commit"])
@pytest.mark.parametrize("name", TEXTS)
def test_all_of_it_is_spoken_and_from_the_beginning(qwen_realtime_server: LocalServer, name: str, mode: str) -> None:
    """The last third is written only when the first sound has come; the service has got every character in order."""
    text = TEXTS[name]
    tokens = tokens_of(text)
    heard = threading.Event()

    def stream() -> Iterator[str]:
        for number, token in enumerate(tokens):
            if number == len(tokens) * 2 // 3:
                assert heard.wait(PATIENCE_S), "no sound before the stream's end"
            yield token

    client = TTSClient(url=qwen_realtime_server.url, api_key="any", mode=mode)
    client.on("response.audio.delta", lambda _: heard.set())
    done: list[str] = []
    client.on("response.done", lambda event: done.append(event.response.status))
    with client:
        assert client.feed(stream(), idle_flush_s=0.3) == len(text)
    received = qwen_realtime_server.last_session.received
    assert "".join(event.text for event in received if isinstance(event, InputTextBufferAppend)) == text
    assert set(done) == {"completed"}


@pytest.mark.parametrize(("mode", "seed"), [("server_commit", 5), ("commit", 6)])
def test_a_stream_goes_on_over_cut_connections(
    peers: Callable[..., Peer], clients: Callable[..., Any], mode: str, seed: int
) -> None:
    """With reconnecting, every sentence is heard once, in order, to the sample, wherever the line is cut."""
    count, cuts = 30, 6
    proxy = Proxy(peers(coded_voice).url)
    try:
        policy = ReconnectPolicy(first_delay=0.01, max_delay=0.05, max_attempts=200)
        client: TTSClient = clients(proxy, TTSClient, reconnect=policy, mode=mode)
        sound = bytearray()
        client.on("response.audio.delta", lambda event: sound.extend(event.delta))
        lost: list[events.Lost] = []
        client.on("reconnected", lambda event: lost.append(event.lost))
        client.connect()
        cutter = Cutter(proxy, cuts, seed, 0.02, 0.15)
        pause = threading.Event()

        def stream() -> Iterator[str]:
            for token in tokens_of("".join(map(sentence, range(count))), seed):
                pause.wait(0.01)
                yield token
            assert cutter.join() == cuts

        assert client.feed(stream(), idle_flush_s=60) == sum(len(sentence(number)) for number in range(count))
        client.finish(PATIENCE_S)
        assert bytes(sound) == coded_sentences(range(count))
        assert len(lost) == cuts
        assert set(lost) == {events.Lost()}
    finally:
        proxy.close()
