"""What a journal says to send again, event by event and without a connection."""

from __future__ import annotations

from qwen_realtime import events as ev
from qwen_realtime.journal import AnswerJournal, AudioJournal, ConversationJournal, Journal, TextJournal

SECOND = bytes(32000)


class Clock:
    """A clock that is set by hand."""

    now = 1000.0

    def __call__(self) -> float:
        """The time."""
        return self.now


def again(journal: Journal) -> list[str]:
    """What a journal sends again, in short: text, or seconds of audio, or the type."""
    journal.broke()
    journal.history()
    told: list[str] = []
    for event in journal.resume()[0]:
        if isinstance(event, ev.InputTextBufferAppend):
            told.append(event.text)
        elif isinstance(event, ev.InputAudioBufferAppend):
            told.append(f"{len(event.audio) / 32000:g}")
        else:
            told.append(event.type.rpartition(".")[2])
    return told


def text(words: str) -> ev.InputTextBufferAppend:
    """Text appended."""
    return ev.InputTextBufferAppend(text=words)


def feed(journal: Journal, *happened: ev.ClientEvent | ev.ServerEvent) -> None:
    """Let a journal see events of both sides."""
    for event in happened:
        if isinstance(event, ev.ClientEvent):
            journal.sent(event)
        else:
            journal.received(event)


COMMIT, CLEAR = ev.InputTextBufferCommit(), ev.InputTextBufferClear()


def created(name: str) -> ev.ResponseCreated:
    """A response begins."""
    return ev.ResponseCreated(response=ev.Response(id=name))


def done(name: str) -> ev.ResponseDone:
    """A response is done."""
    return ev.ResponseDone(response=ev.Response(id=name))


class TestText:
    """TTS."""

    def test_what_was_spoken_is_not_sent_again(self) -> None:
        """Up to its commit."""
        journal = TextJournal()
        feed(journal, text("a"), COMMIT, text("b"), COMMIT, created("1"), done("1"))
        assert again(journal) == ["b", "commit"]

    def test_a_commit_of_nothing_counts_for_nothing(self) -> None:
        """The server refuses it, and no response follows that would take it away."""
        journal = TextJournal()
        feed(journal, text("a"), COMMIT, COMMIT, text("  "), COMMIT, created("1"), done("1"))
        feed(journal, text("b"), COMMIT, created("2"), done("2"))
        assert again(journal) == []

    def test_a_clear_takes_effect_when_it_is_confirmed(self) -> None:
        """Until then it is sent again with its text, since this server may refuse it."""
        journal = TextJournal()
        feed(journal, text("a"), COMMIT, text("b"), CLEAR, text("c"))
        assert again(journal) == ["a", "commit", "b", "clear", "c"]
        feed(journal, ev.InputTextBufferCleared())
        assert again(journal) == ["a", "commit", "c"]

    def test_a_cancelled_response_is_not_spoken_again(self) -> None:
        """Nor is one cancelled that has not begun."""
        journal = TextJournal()
        feed(journal, text("a"), COMMIT, ev.ResponseCancel())
        assert again(journal) == ["a", "commit"]
        feed(journal, created("1"), ev.ResponseCancel())
        assert again(journal) == []

    def test_the_end_is_sent_again_by_others(self) -> None:
        """``session.finish`` is remembered, not noted: it must stay the last."""
        journal = TextJournal()
        feed(journal, text("a"), ev.SessionFinish())
        assert again(journal) == ["a"]
        assert journal.finishing

    def test_text_is_bounded(self) -> None:
        """What goes over the bound is counted."""
        journal = TextJournal()
        for _ in range(12):
            feed(journal, text("x" * 100_000))
        journal.broke()
        sent, lost = journal.resume()
        assert len(sent) == 10
        assert lost.events == 2
        assert journal.resume()[1] == ev.Lost()

    def test_a_changed_event_keeps_the_message_it_came_as(self) -> None:
        """Its ``raw`` is the server's."""
        from qwen_realtime.codec import decode_server

        journal = TextJournal()
        feed(journal, text("a"), created("old"))
        journal.broke()
        journal.resume()
        event = journal.received(decode_server(b'{"type":"response.created","response":{"id":"new"},"extra":1}'))
        assert isinstance(event, ev.ResponseCreated)
        assert event.response.id == "old"
        assert event.raw["extra"] == 1


def started(at_ms: int, item: str = "i") -> ev.InputAudioBufferSpeechStarted:
    """Speech begins."""
    return ev.InputAudioBufferSpeechStarted(audio_start_ms=at_ms, item_id=item)


def stopped(at_ms: int, item: str = "i") -> ev.InputAudioBufferSpeechStopped:
    """Speech stops."""
    return ev.InputAudioBufferSpeechStopped(audio_end_ms=at_ms, item_id=item)


def completed(item: str = "i", transcript: str = "word") -> ev.ServerEvent:
    """Speech is transcribed."""
    return ev.ConversationItemInputAudioTranscriptionCompleted(item_id=item, transcript=transcript)


class TestAudio:
    """ASR."""

    def listening(self, kept_s: float = 120.0, *, manual: bool = False) -> tuple[AudioJournal, Clock]:
        """A journal at 16 kHz."""
        clock = Clock()
        journal = AudioJournal(kept_s, clock)
        journal.configured({"sample_rate": 16000, "turn_detection": None if manual else {}})
        return journal, clock

    def test_what_was_transcribed_is_not_sent_again(self) -> None:
        """Up to where it stopped; what came after it is."""
        journal, _ = self.listening()
        for _ in range(5):
            journal.sent_audio(SECOND)
        feed(journal, started(1000), stopped(2500), completed())
        assert again(journal) == ["0.5", "1", "1"]

    def test_positions_stay_on_the_first_clock(self) -> None:
        """A new session counts from nought; the user does not notice."""
        journal, _ = self.listening()
        for _ in range(4):
            journal.sent_audio(SECOND)
        feed(journal, started(1000), stopped(2000), completed())
        assert again(journal) == ["1", "1"]
        seen = journal.received(started(300, "j"))
        assert isinstance(seen, ev.InputAudioBufferSpeechStarted)
        assert seen.audio_start_ms == 2300
        feed(journal, stopped(1000, "j"), completed("j"))
        assert again(journal) == ["1"]

    def test_an_utterance_that_is_never_transcribed_holds_nothing_up(self) -> None:
        """The next one that is takes it along."""
        journal, _ = self.listening()
        for _ in range(4):
            journal.sent_audio(SECOND)
        feed(journal, started(0, "a"), stopped(1000, "a"), started(2000, "b"), stopped(3000, "b"), completed("b"))
        assert again(journal) == ["1"]

    def test_the_silence_before_speech_is_dealt_with(self) -> None:
        """But for a moment that a fresh session needs."""
        journal, _ = self.listening()
        for _ in range(10):
            journal.sent_audio(SECOND)
        feed(journal, started(8640))
        assert again(journal) == ["1", "1"]

    def test_what_is_dropped_is_lost_only_if_it_was_not_dealt_with(self) -> None:
        """An utterance longer than the journal is dropped in part, and whole once it is transcribed."""
        journal, _ = self.listening(3.0)
        for _ in range(5):
            journal.sent_audio(SECOND)
        journal.broke()
        assert journal.resume()[1].audio_ms == 2000
        feed(journal, started(0))
        for _ in range(2):
            journal.sent_audio(SECOND)
        feed(journal, stopped(4500), completed())
        journal.broke()
        assert journal.resume()[1] == ev.Lost()
        assert again(journal) == ["0.5"]

    def test_old_silence_is_not_lost(self) -> None:
        """A quiet microphone for an hour, then a break: nothing was missed."""
        journal, clock = self.listening(20.0)
        for _ in range(3600):
            journal.sent_audio(SECOND)
            clock.now += 1.0
        assert journal.kept_ms < 13_000
        journal.broke()
        for _ in range(5):
            journal.sent_audio(SECOND)
        assert journal.resume()[1] == ev.Lost()

    def test_a_server_that_lags_behind_is_not_a_quiet_one(self) -> None:
        """Audio sent long ago is kept while the server is still at work on what came before."""
        journal, clock = self.listening()
        for _ in range(60):
            journal.sent_audio(SECOND)
        for number in range(10):
            clock.now += 5.0
            feed(journal, started(number * 1000, "x"), stopped(number * 1000 + 500, "x"), completed("x"))
            journal.sent_audio(bytes(320))
        assert journal.kept_ms > 50_000

    def test_manual_utterances_go_by_their_commits(self) -> None:
        """A commit of nothing is not one."""
        journal, _ = self.listening(manual=True)
        commit = ev.InputAudioBufferCommit()
        feed(journal, commit)
        journal.sent_audio(SECOND)
        feed(journal, commit, commit)
        journal.sent_audio(SECOND)
        feed(journal, commit, completed("a"))
        assert again(journal) == ["1", "commit"]
        feed(journal, completed("b"))
        assert again(journal) == []

    def test_a_clear_forgets_what_nobody_waits_for(self) -> None:
        """Audio of an utterance that is still to be transcribed stays, and the clear with it."""
        journal, _ = self.listening(manual=True)
        journal.sent_audio(SECOND)
        feed(journal, ev.InputAudioBufferClear())
        assert again(journal) == []
        journal.sent_audio(SECOND)
        feed(journal, ev.InputAudioBufferCommit())
        journal.sent_audio(SECOND)
        feed(journal, ev.InputAudioBufferClear())
        assert again(journal) == ["1", "commit", "1", "clear"]

    def test_a_clear_while_audio_is_being_sent_again_follows_it(self) -> None:
        """The new session may have got some of what is to be forgotten."""
        journal, _ = self.listening(manual=True)
        journal.sent_audio(SECOND)
        journal.broke()
        journal.resume()
        mark = journal.mark()
        feed(journal, ev.InputAudioBufferClear())
        assert [event.type for event in journal.since(mark)] == ["input_audio_buffer.clear"]

    def test_a_commit_whose_audio_was_dropped_is_not_sent(self) -> None:
        """The server would refuse it; it is counted."""
        journal, _ = self.listening(1.0, manual=True)
        journal.sent_audio(SECOND)
        feed(journal, ev.InputAudioBufferCommit())
        journal.sent_audio(SECOND)
        journal.broke()
        sent, lost = journal.resume()
        assert [event.type for event in sent] == ["input_audio_buffer.append"]
        assert (lost.audio_ms, lost.events) == (1000, 1)


class TestAnswers:
    """LiveTranslate."""

    def item(self, of: str) -> ev.ConversationItemCreated:
        """The item in which an utterance is answered."""
        return ev.ConversationItemCreated(previous_item_id=of, item=ev.Item(id="x", role="assistant"))

    def test_an_utterance_is_dealt_with_by_its_own_response(self) -> None:
        """One without a response, such as a cough, does not shift the others."""
        journal = AnswerJournal(120.0)
        journal.configured({"sample_rate": 16000})
        for _ in range(4):
            journal.sent_audio(SECOND)
        feed(journal, started(0, "cough"), stopped(1000, "cough"))
        feed(journal, started(2000, "b"), stopped(3000, "b"), created("r"), self.item("b"), done("r"))
        assert again(journal) == ["1"]

    def test_nothing_to_translate_is_dealt_with_too(self) -> None:
        """An empty transcript has no response."""
        journal = AnswerJournal(120.0)
        for _ in range(2):
            journal.sent_audio(SECOND)
        feed(journal, started(0), stopped(1000), completed(transcript=" "))
        assert again(journal) == ["1"]

    def test_a_response_may_end_before_the_speech(self) -> None:
        """Interpretation is simultaneous."""
        journal = AnswerJournal(120.0)
        for _ in range(2):
            journal.sent_audio(SECOND)
        feed(journal, started(0), created("r"), self.item("i"), done("r"), stopped(1000))
        assert again(journal) == ["1"]


class TestConversation:
    """Omni."""

    def test_an_interrupted_answer_ends_its_turn(self) -> None:
        """Neither a cancellation nor new speech brings a ``response.done``."""
        journal = ConversationJournal(120.0)
        journal.configured({"sample_rate": 16000, "turn_detection": {}})
        for _ in range(6):
            journal.sent_audio(SECOND)
        feed(journal, started(0, "a"), stopped(1000, "a"), ev.InputAudioBufferCommitted(item_id="a"), created("1"))
        feed(journal, completed("a"), started(2000, "b"), stopped(3000, "b"))
        feed(journal, ev.InputAudioBufferCommitted(item_id="b"), created("2"))
        assert journal.history() == [
            ev.ConversationItemCreate(
                item={"type": "message", "role": "user", "content": [{"type": "input_text", "text": "word"}]}
            )
        ]
        feed(journal, ev.ResponseCancel())
        assert again(journal) == ["1", "1", "1"]

    def test_a_transcript_may_come_after_the_answer(self) -> None:
        """It takes its place before it; one that never comes is lost, and counted."""
        journal = ConversationJournal(120.0)
        journal.configured({"turn_detection": {}})
        reply = ev.ResponseTextDone(response_id="1", text="Yes.")
        feed(journal, started(0, "a"), stopped(10, "a"), ev.InputAudioBufferCommitted(item_id="a"), created("1"))
        feed(journal, reply, done("1"), completed("a", "Is it?"))
        texts = [event.item["content"][0]["text"] for event in journal.history()]  # type: ignore[attr-defined]
        assert texts == ["Is it?", "Yes."]
        journal.resume()
        feed(journal, ev.InputAudioBufferCommitted(item_id="b"), created("2"), done("2"))
        journal.broke()
        journal.history()
        assert journal.resume()[1].events == 1

    def test_manual_turns_go_by_their_requests(self) -> None:
        """Audio, commit and request are dealt with together; the next turn's audio stays."""
        journal = ConversationJournal(120.0)
        journal.configured({"sample_rate": 16000, "turn_detection": None})
        journal.sent_audio(SECOND)
        feed(journal, ev.InputAudioBufferCommit(), ev.ResponseCreate())
        assert again(journal) == ["1", "commit", "create"]
        assert journal.owes_reply()
        feed(journal, created("1"))
        journal.sent_audio(SECOND)
        feed(journal, done("1"))
        assert not journal.owes_reply()
        assert again(journal) == ["1"]

    def test_images_of_the_turn_in_progress_come_back(self) -> None:
        """Those of turns that are over are lost, and counted; one without audio before it is not sent."""
        journal = ConversationJournal(120.0)
        journal.configured({"sample_rate": 16000, "turn_detection": None})
        image = ev.InputImageBufferAppend(image=b"\xff\xd8\xff")
        journal.sent_audio(SECOND)
        feed(journal, image, ev.InputAudioBufferCommit(), ev.ResponseCreate())
        assert again(journal) == ["1", "append", "commit", "create"]
        feed(journal, created("1"), done("1"))
        journal.broke()
        journal.history()
        assert journal.resume()[1].events == 1
