"""Text from a language model: where it is cut, and that nothing of it is lost."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from qwen_realtime import TTSClient
from qwen_realtime.chunking import Chunker, Feed
from qwen_realtime.errors import ConfigError, ConnectionClosed
from qwen_realtime.server import LocalServer

from .peer import Link, Peer, greet, polite

PATIENCE_S = 20.0

# Like a model's tokens: words with their blank before them, marks, digits, single characters.
LATIN = ["Hello", " world", ".", ". ", "!", "?\n", "…", "...", " 3", ".14", "1,000", ",", ", ", " Dr", "e.g.", "J. "]
OTHERS = ["你好", "。", "！", "，", "”", "」", "\n\n", " ", "e\u0301", "👩\u200d🚀", "한국어 문장입니다. "]
TOKENS = st.lists(st.one_of(st.text(max_size=8), st.sampled_from(LATIN + OTHERS)), max_size=40)


def pieces_of(text: str, size: int = 3, **options: int) -> list[str]:
    """Cut a text that comes a few characters at a time."""
    chunker = Chunker(**options)
    pieces = [piece for at in range(0, len(text), size) for piece in chunker.add(text[at : at + size])]
    return [*pieces, *filter(None, [chunker.flush()])]


def width(text: str) -> int:
    """As the chunker counts."""
    return sum(2 if character >= "\u2e80" else 1 for character in text)


class TestChunker:
    """Where a stream is cut."""

    @pytest.mark.parametrize(
        ("text", "pieces"),
        [
            ("One. Two! Three? Four… Five", ["One. ", "Two! ", "Three? ", "Four… ", "Five"]),
            ('He said: "Stop!" Then he left.', ['He said: "Stop!" ', "Then he left."]),
            ("Well... I see.", ["Well... ", "I see."]),
            ("It is 3.14 or 1,000.5 now. Right.", ["It is 3.14 or 1,000.5 now. ", "Right."]),
            ("It costs 3. That is all.", ["It costs 3. ", "That is all."]),
            (
                "Dr. Who met Mrs. Bee, e.g. at 5 p.m. in St. Ives.",
                ["Dr. Who met Mrs. Bee, e.g. at 5 p.m. in St. Ives."],
            ),
            ("Pens, ink etc. are here. Good.", ["Pens, ink etc. are here. ", "Good."]),
            ("By J. K. Rowling of the U.S. and (Mr. X).", ["By J. K. Rowling of the U.S. and (Mr. X)."]),
            ("See No. 5 of Fig. 3. The answer is no. Bye.", ["See No. 5 of Fig. 3. ", "The answer is no. ", "Bye."]),
            ("1. Wash.\n2. Dry.\n", ["1. Wash.\n", "2. Dry.\n"]),
            ("A line\n\n- another", ["A line\n", "\n- another"]),
            ("www.example.com is up. Yes", ["www.example.com is up. ", "Yes"]),
            ("你好！今天好吗？很好。再见", ["你好！", "今天好吗？", "很好。", "再见"]),
            ("圆周率是3.14，不是1,000；对。", ["圆周率是3.14，不是1,000；", "对。"]),
            ("我用 Python 3.12。It works. 好！", ["我用 Python 3.12。", "It works. ", "好！"]),
            ("", []),
            (" \n ", [" \n "]),
            ("?!?! Yes. ", ["?!?! Yes. "]),
        ],
    )
    def test_cuts_where_a_speaker_would_pause(self, text: str, pieces: list[str]) -> None:
        """However the tokens fall."""
        for size in (1, 2, 3, 7):
            assert pieces_of(text, size) == pieces

    def test_a_closing_quote_goes_with_its_sentence_where_it_is_there(self) -> None:
        """A wide full stop does not wait for one, though."""
        assert Chunker().add("“好。”他说。") == ["“好。”", "他说。"]
        chunker = Chunker()
        assert chunker.add("“好。") == ["“好。"]
        assert chunker.add("”他说。") == ["”他说。"]

    def test_a_sentence_waits_for_the_blank_after_it(self) -> None:
        """Its full stop may be that of a number."""
        chunker = Chunker()
        assert chunker.add("It is 3.") == []
        assert chunker.waiting == "It is 3."
        assert chunker.add("5 now.") == []
        assert chunker.add(" ") == ["It is 3.5 now. "]
        assert chunker.waiting == ""

    def test_a_long_sentence_is_cut_at_a_comma(self) -> None:
        """At the first one that makes the piece long enough, and not in a number."""
        text = "First this, then for 1,000,000 good reasons something else, and finally that."
        assert pieces_of(text, clause_chars=40) == [
            "First this, then for 1,000,000 good reasons something else, ",
            "and finally that.",
        ]
        assert pieces_of("这是一个很长的句子，因为它没有句号，所以要在逗号处断开", clause_chars=12) == [
            "这是一个很长的句子，",
            "因为它没有句号，",
            "所以要在逗号处断开",
        ]

    def test_without_any_mark_it_is_cut_between_words(self) -> None:
        """Latin ones at blanks, Chinese anywhere, but never inside a Latin word."""
        assert pieces_of("some words and no mark", clause_chars=5, max_chars=12) == ["some words ", "and no mark"]
        assert pieces_of("没有标点的句子Python里", clause_chars=5, max_chars=18) == ["没有标点的句子", "Python里"]

    def test_an_endless_word_is_cut_too(self) -> None:
        """But not between a letter and its accent."""
        assert pieces_of("a" * 25, clause_chars=5, max_chars=10) == ["a" * 10, "a" * 10, "a" * 5]
        assert pieces_of("aaaaaaae\u0301bbb", 1, clause_chars=4, max_chars=8) == ["aaaaaaa", "e\u0301bbb"]

    @given(TOKENS)
    def test_the_pieces_are_the_stream(self, tokens: list[str]) -> None:
        """Nothing lost, nothing added, nothing empty, and nothing over the bound."""
        chunker = Chunker(clause_chars=10, max_chars=24)
        pieces = [piece for token in tokens for piece in chunker.add(token)]
        rest = chunker.flush()
        assert "".join([*pieces, rest]) == "".join(tokens)
        assert all(pieces)
        assert all(width(piece.rstrip("。！？；｡\"'”’»)]}*_」』）】》〉")) <= 24 for piece in [*pieces, rest])
        assert chunker.flush() == ""

    @given(st.text(alphabet="ab .,\n。，3你", max_size=80), st.integers(1, 9))
    def test_the_tokens_do_not_matter(self, text: str, size: int) -> None:
        """The same text is cut at the same places, however it comes; only a second wide mark may come too late."""
        assume("。。" not in text)
        options = {"clause_chars": 6, "max_chars": 14}
        assert pieces_of(text, size, **options) == pieces_of(text, max(1, len(text)), **options)

    @pytest.mark.parametrize("options", [{"max_chars": 1, "clause_chars": 1}, {"max_chars": 10, "clause_chars": 11}])
    def test_impossible_lengths_are_refused(self, options: dict[str, int]) -> None:
        """At once."""
        with pytest.raises(ConfigError):
            Chunker(**options)


class TestFeed:
    """The clock and the thread around it."""

    def test_sends_a_piece_as_soon_as_it_is_one(self) -> None:
        """Not at the stream's end."""
        sent: list[str] = []

        def stream() -> Iterator[str]:
            yield "One. Two"
            assert sent == ["One. "]
            yield ". Three"
            assert sent == ["One. ", "Two. "]

        assert Feed(sent.append, 60.0).run(stream()) == 15
        assert sent == ["One. ", "Two. ", "Three"]

    def test_sends_what_waits_when_the_stream_is_silent(self) -> None:
        """On a thread of its own, and goes on after it."""
        sent: list[str] = []
        threads: list[str] = []
        flushed = threading.Event()

        def send(piece: str) -> None:
            sent.append(piece)
            threads.append(threading.current_thread().name)
            flushed.set()

        def stream() -> Iterator[str]:
            yield "Let me see"
            assert flushed.wait(PATIENCE_S)
            yield ": it rains."

        assert Feed(send, 0.01).run(stream()) == 21
        assert sent == ["Let me see", ": it rains."]
        assert threads[0] == "qwen-feed"

    def test_blanks_alone_are_not_flushed(self) -> None:
        """There is nothing to speak in them, so the thread sleeps on; they come with what follows."""
        sent: list[str] = []
        Feed(sent.append, 1e-9).run(iter([" ", "\n", "x"]))
        assert "".join(sent) == " \nx"
        assert sent[0].strip()

    def test_a_failure_while_flushing_is_raised_where_the_stream_is_pulled(self) -> None:
        """And nothing more is sent."""
        failed = threading.Event()

        def send(piece: str) -> None:
            failed.set()
            raise ConnectionClosed("gone")

        def stream() -> Iterator[str]:
            yield "half a sentence"
            assert failed.wait(PATIENCE_S)
            yield " and the rest. "
            raise AssertionError("pulled on")

        with pytest.raises(ConnectionClosed, match="gone"):
            Feed(send, 0.01).run(stream())

    def test_an_error_of_the_stream_is_raised(self) -> None:
        """What is not a piece by then is not spoken."""
        sent: list[str] = []

        def stream() -> Iterator[str]:
            yield "Whole. Half"
            raise LookupError("the model is gone")

        with pytest.raises(LookupError):
            Feed(sent.append, 60.0).run(stream())
        assert sent == ["Whole. "]

    def test_what_is_no_text_is_refused(self) -> None:
        """With its type."""
        with pytest.raises(ConfigError, match="NoneType"):
            Feed(lambda _: None, 60.0).run(iter(["a", None]))  # type: ignore[list-item]

    @pytest.mark.parametrize("seconds", [0, -1, float("nan")])
    def test_a_silence_that_is_none_is_refused(self, seconds: float) -> None:
        """Before the stream is touched."""
        with pytest.raises(ConfigError, match="idle_flush_s"):
            Feed(lambda _: None, seconds)

    def test_an_endless_silence_may_be_asked_for(self) -> None:
        """Infinity is never."""
        assert Feed(lambda _: None, float("inf")).run(["a"]) == 1


STORY = [
    "Dr. Smith paid 3.14 ",
    "dollars, i.e. 1,000 ",
    "yen. 他说：",
    "“你好！”我很高兴。",
    "Then he ",
    "left...",
    " Was",
    " it true?\n",
    "!!",
]


class TestClient:
    """``TTSClient.feed``."""

    @pytest.mark.parametrize("mode", ["commit", "server_commit"])
    def test_everything_is_sent_in_order(
        self, peers: Callable[..., Peer], clients: Callable[..., Any], mode: str
    ) -> None:
        """In commit mode each piece with its commit, but for marks alone."""
        peer = peers(polite)
        client: TTSClient = clients(peer, TTSClient, mode=mode).connect()
        assert client.feed(STORY) == len("".join(STORY))
        client.finish()
        link = peer.link()
        texts = [event["text"] for event in link.events if event["type"] == "input_text_buffer.append"]
        assert "".join(texts) == "".join(STORY)
        assert texts[0] == "Dr. Smith paid 3.14 dollars, i.e. 1,000 yen. "
        assert texts[-1] == "!!"
        assert link.types.count("input_text_buffer.commit") == (len(texts) - 1 if mode == "commit" else 0)

    def test_a_connection_that_ends_ends_the_feeding(
        self, peers: Callable[..., Peer], clients: Callable[..., Any]
    ) -> None:
        """With the reason, in place of a stream that is pulled for nobody."""
        gone = threading.Event()

        def hangs_up(link: Link) -> None:
            greet(link)
            while link.receive().message["type"] != "input_text_buffer.append":
                pass
            link.cut()

        def stream() -> Iterator[str]:
            yield "One. "
            assert gone.wait(PATIENCE_S)
            while True:
                yield "More. "

        client: TTSClient = clients(peers(hangs_up), TTSClient).connect()
        client.on("disconnected", lambda _: gone.set())
        with pytest.raises(ConnectionClosed):
            client.feed(stream())

    def test_without_a_connection_nothing_is_pulled(self) -> None:
        """The stream may be one that costs money."""

        def stream() -> Iterator[str]:
            raise AssertionError("pulled")
            yield ""

        with pytest.raises(ConnectionClosed, match="not connected"):
            TTSClient(api_key="k").feed(stream())

    @pytest.mark.parametrize("mode", ["commit", "server_commit"])
    def test_speech_begins_before_the_stream_ends(self, qwen_realtime_server: LocalServer, mode: str) -> None:
        """The stream goes on only when the first sound has been heard, and all of it is spoken."""
        heard = threading.Event()
        sound: list[bytes] = []

        def stream() -> Iterator[str]:
            yield "Good mor"
            yield "ning. The "
            assert heard.wait(PATIENCE_S), "no sound before the stream's end"
            yield "answer is 3.5, I think."

        client = TTSClient(url=qwen_realtime_server.url, api_key="any", mode=mode)
        client.on("response.audio.delta", lambda event: sound.append(event.delta))
        client.on("response.audio.delta", lambda _: heard.set())
        with client:
            client.feed(stream())
            before = len(sound)
        assert qwen_realtime_server.last_session.text_characters == len("Good morning. The answer is 3.5, I think.")
        assert len(sound) > before
