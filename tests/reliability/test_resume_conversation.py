"""Omni across breaks: the conversation comes back as items, and the turn in progress is answered."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

from qwen_realtime import OmniClient, ReconnectPolicy, TTSClient, events
from qwen_realtime.server import LocalServer
from qwen_realtime.server.engines import Engines

from ..peer import TEXT, Link, Peer, created, serve
from ..proxy import Proxy
from .tools import AT_ONCE, Log, in_turn


def conversation(link: Link) -> None:
    """An Omni server that takes items and answers each ``response.create`` with what it was asked."""
    link.accept()
    link.send(created("qwen3.5-omni-flash-realtime"))
    converse(link)


def converse(link: Link, *, refuses: str = "", cuts_at: str = "") -> None:
    """Go on so, refusing items of a role, and hanging up in the middle of the answer to a question."""
    asked = ""
    while True:
        received = link.receive()
        if received.opcode != TEXT:
            link.close()
            return
        message = received.message
        if message["type"] == "conversation.item.create":
            item = message["item"]
            if item.get("role") == refuses:
                link.send("error", error={"type": "invalid_request_error", "message": f"no {refuses} here"})
                continue
            asked = item["content"][0]["text"] if "content" in item else item["output"]
            link.send("conversation.item.created", item={"id": "i", "type": item["type"], "role": item.get("role")})
        elif message["type"] == "response.create":
            response = {"id": f"resp_{id(link)}_{len(link.events)}", "status": "in_progress"}
            link.send("response.created", response=response)
            link.send("response.text.delta", response_id=response["id"], delta="You said ")
            if asked == cuts_at:
                link.cut()
                return
            link.send("response.text.done", response_id=response["id"], text=f"You said {asked}")
            link.send("response.done", response={**response, "status": "completed"})


def items_of(link: Link) -> list[str]:
    """What the client told a session, as ``role: text``."""
    return [
        f"{event['item'].get('role')}: {event['item']['content'][0]['text']}"
        for event in link.events
        if event["type"] == "conversation.item.create"
    ]


class TestConversation:
    """Omni: the conversation comes back as items, and the turn in progress is answered."""

    @staticmethod
    def _cut_at(question: str, **second: Any) -> Callable[[Link], None]:
        def first(link: Link) -> None:
            link.accept()
            link.send(created("qwen3.5-omni-flash-realtime"))
            converse(link, cuts_at=question)

        def then(link: Link) -> None:
            link.accept()
            link.send(created("qwen3.5-omni-flash-realtime"))
            converse(link, **second)

        return in_turn(first, then)

    @staticmethod
    def _ask(client: Any, question: str) -> str:
        with client.expect("response.text.done", 10) as done:
            client.send_text(question)
            client.create_response()
        return str(done.event.text)

    def test_it_goes_on_in_mid_sentence(self, peers: Callable[..., Peer], clients: Callable[..., Any]) -> None:
        """What is over is told again, in order; what was asked is asked again; the user sees no item twice."""
        peer = peers(self._cut_at("two"))
        client = clients(peer, OmniClient, reconnect=AT_ONCE)
        log = Log(client)
        items: list[Any] = []
        done: list[str] = []
        client.on("conversation.item.created", items.append)
        client.on("response.done", lambda event: done.append(event.response.status))
        client.connect()
        assert self._ask(client, "one") == "You said one"
        assert self._ask(client, "two") == "You said two"
        assert self._ask(client, "three") == "You said three"
        client.finish(5)
        assert items_of(peer.link(2)) == ["user: one", "assistant: You said one", "user: two", "user: three"]
        assert peer.link(2).types.count("response.create") == 2
        assert done == ["completed"] * 3
        assert len(items) == 4, "the second question was created twice, the history not"
        assert [event.lost for event in log.of("reconnected")] == [events.Lost()]

    def test_what_the_new_session_refuses_is_lost_and_counted(
        self, peers: Callable[..., Peer], clients: Callable[..., Any]
    ) -> None:
        """And is no error of the session."""
        peer = peers(self._cut_at("two", refuses="assistant"))
        client = clients(peer, OmniClient, reconnect=AT_ONCE)
        log = Log(client)
        reported: list[Any] = []
        client.on("error", reported.append)
        client.connect()
        self._ask(client, "one")
        assert self._ask(client, "two") == "You said two"
        client.finish(5)
        (reconnected,) = log.of("reconnected")
        assert reconnected.lost == events.Lost(events=1, notes=("1 items of the conversation",))
        assert reported == []

    def test_finish_waits_for_the_answer_that_comes_anew(
        self, peers: Callable[..., Peer], clients: Callable[..., Any]
    ) -> None:
        """A break does not make it believe that nothing is owed."""
        peer = peers(self._cut_at("one"))
        client = clients(peer, OmniClient, reconnect=ReconnectPolicy(first_delay=0.3, max_delay=0.3, jitter=0))
        texts: list[str] = []
        client.on("response.text.done", lambda event: texts.append(event.text))
        client.connect()
        client.send_text("one")
        client.create_response()
        client.finish(10)
        assert texts == ["You said one"]

    def test_a_function_is_called_again_and_the_old_output_is_not_sent(
        self, peers: Callable[..., Peer], clients: Callable[..., Any]
    ) -> None:
        """The new session does not know the call that the old one made."""
        calls: list[str] = []

        def calling(link: Link) -> None:
            link.accept()
            link.send(created("qwen3.5-omni-flash-realtime"))
            number = len(calls) + 1
            calls.append(f"call_{number}")
            link.receive_event("response.create")
            link.send("response.created", response={"id": f"r{number}"})
            arguments = {"call_id": f"call_{number}", "name": "clock", "arguments": "{}"}
            link.send("response.function_call_arguments.done", response_id=f"r{number}", **arguments)
            link.send("response.done", response={"id": f"r{number}"})
            if number == 1:
                link.cut()
                return
            output = link.receive_event("conversation.item.create")
            link.receive_event("response.create")
            link.send("response.created", response={"id": "answer"})
            link.send("response.text.done", response_id="answer", text=output["item"]["output"])
            link.send("response.done", response={"id": "answer", "status": "completed"})
            serve(link)

        peer = peers(calling)
        client = clients(peer, OmniClient, reconnect=AT_ONCE)

        def tell(event: Any) -> None:
            if event.call_id == "call_1":
                threading.Event().wait(0.2)  # the connection breaks meanwhile
            client.send_tool_output(event.call_id, "noon")
            client.create_response()

        client.on("response.function_call_arguments.done", tell)
        client.connect()
        client.send_text("What time is it?")
        with client.expect("response.text.done", 10) as done:
            client.create_response()
        assert done.event.text == "noon"
        outputs = [e["item"]["call_id"] for e in peer.link(2).events if "call_id" in e.get("item", {})]
        assert outputs == ["call_2"]
        client.close()

    def test_a_spoken_turn_is_answered_once(self, tones: Engines, through: Callable[..., Proxy]) -> None:
        """By voice, cut while the question is spoken and while the answer is."""
        with LocalServer(engines=tones, pace=12.0) as server:
            with TTSClient(url=server.url, api_key="any", mode="commit", sample_rate=16000) as voice:
                question = voice.say("Hello there, how are you today?").pcm + bytes(16000 * 2 * 3)

            def talk(url: str, cut: Callable[[], None]) -> tuple[list[str], list[str]]:
                client = OmniClient(
                    url=url, api_key="any", reconnect=AT_ONCE, input_audio_transcription={"model": "gummy-realtime-v1"}
                )
                texts: dict[str, str] = {}
                done: list[str] = []
                heard: list[str] = []
                client.on("response.audio_transcript.done", lambda e: texts.update({e.response_id: e.transcript}))
                client.on("conversation.item.input_audio_transcription.completed", lambda e: heard.append(e.transcript))
                client.on("response.done", lambda event: done.append(texts[event.response.id]))
                client.connect()
                for _ in range(2):
                    with client.expect("response.done", 20):
                        for start in range(0, len(question), 3200):
                            client.append_audio(question[start : start + 3200])
                            if start == 32000:
                                cut()
                        with client.expect("response.audio.delta", 20):
                            pass
                        cut()
                client.finish(20)
                return done, heard

            whole, _ = talk(server.url, lambda: None)
            proxy = through(server.url)
            again, heard = talk(proxy.url, proxy.cut)
            assert len(again) == len(whole) == 2
            assert again == whole
            assert proxy.connections == 5
            assert len(heard) >= 2
