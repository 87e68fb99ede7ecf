"""Functions that the model may call: how they are declared, called and answered."""

from __future__ import annotations

import functools
import json
import logging
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Literal, Optional

import pytest

from qwen_realtime import OmniClient, RealtimeWarning
from qwen_realtime.errors import ConfigError, ConnectionClosed
from qwen_realtime.server import LocalServer
from qwen_realtime.tools import Tool

from .peer import Link, Peer, polite

PATIENCE_S = 20.0
OURS = ("qwen-tool", "qwen-dispatch")  # threads of a client; qwen-receive is nobody's own


@dataclass
class Place:
    """A place on earth."""

    latitude: float
    name: str = ""


def forecast(  # noqa: D417 - parameters that are not described are part of the test
    city: str,
    days: int = 3,
    *,
    unit: Literal["C", "F"] = "C",
    wind: Optional[bool] = None,  # noqa: UP045 - this is what is tested
    names: list[str] = [],  # noqa: B006 - never changed
    more: dict[str, float] | None = None,
    height: float,
) -> dict[str, Any]:
    """The weather of the next days.

    Only for cities.

    Arguments:
        city: its name,
            in English.
        days (int): how many.
        height: metres above the sea.

    Returns:
        What it will be.
    """
    return {"city": city, "days": days, "unit": unit, "wind": wind, "height": height}


class TestDeclaration:
    """What the model is told."""

    def test_comes_from_signature_and_docstring(self) -> None:
        """In the nested shape that the service wants."""
        assert Tool(forecast).declaration == {
            "type": "function",
            "function": {
                "name": "forecast",
                "description": "The weather of the next days. Only for cities.",
                "parameters": {
                    "type": "object",
                    "properties": {
                        "city": {"type": "string", "description": "its name, in English."},
                        "days": {"type": "integer", "description": "how many.", "default": 3},
                        "unit": {"type": "string", "enum": ["C", "F"], "default": "C"},
                        "wind": {"type": "boolean"},
                        "names": {"type": "array", "items": {"type": "string"}, "default": []},
                        "more": {"type": "object", "additionalProperties": {"type": "number"}},
                        "height": {"type": "number", "description": "metres above the sea."},
                    },
                    "required": ["city", "height"],
                },
            },
        }

    def test_may_be_given(self) -> None:
        """All of it."""
        schema = {"type": "object", "properties": {"x": {"type": "integer"}}}
        tool = Tool(lambda **given: given, name="sum-up", description="Adds.", parameters=schema)
        assert tool.declaration["function"] == {"name": "sum-up", "description": "Adds.", "parameters": schema}
        assert tool.call(tool.read('{"x": 1, "y": [2]}')) == '{"x": 1, "y": [2]}'

    def test_a_function_without_parameters_and_words_is_one_too(self) -> None:
        """With an empty schema and no description."""

        def now() -> str:
            return "noon"

        empty = {"type": "object", "properties": {}, "required": []}
        assert Tool(now).declaration["function"] == {"name": "now", "parameters": empty}

    def test_sphinx_docstrings_are_read_too(self) -> None:
        """Parameters by ``:param``."""

        def add(a: int, b: int) -> int:
            """Add two numbers.

            :param a: the first
            :param int b: the second
            """
            return a + b

        function = Tool(add).declaration["function"]
        assert function["description"] == "Add two numbers."
        assert [each["description"] for each in function["parameters"]["properties"].values()] == [
            "the first",
            "the second",
        ]

    def test_a_dataclass_is_described_and_built(self) -> None:
        """Wherever it is used."""

        def go(to: Place, via: list[Place] = []) -> str:  # noqa: B006 - never changed
            return f"{to.name} {len(via)}"

        tool = Tool(go)
        schema = tool.declaration["function"]["parameters"]
        assert schema["properties"]["to"] == {"$ref": "#/$defs/Place"}
        assert schema["$defs"]["Place"]["required"] == ["latitude"]
        assert tool.call(tool.read('{"to": {"latitude": 1, "name": "Graz"}, "via": [{"latitude": 2}]}')) == "Graz 1"

    @pytest.mark.parametrize(
        ("function", "options", "told"),
        [
            (lambda city: city, {"name": "f"}, "the parameter city of the tool f has no type"),
            (lambda *_: "", {"name": "f"}, "no name of its own"),
            (lambda **_: "", {"name": "f"}, "no name of its own"),
            (lambda: "", {}, "plain name"),
            (lambda: "", {"name": "has blanks"}, "plain name"),
            (forecast, {"timeout": 0}, "timeout"),
            (functools.partial(forecast, "Graz"), {"name": "f"}, "signature|no type"),  # Python 3.14 can read it
            ("forecast", {"name": "f"}, "plain name"),
        ],
    )
    def test_what_cannot_be_declared_is_refused(self, function: Any, options: dict[str, Any], told: str) -> None:
        """With what is missing."""
        with pytest.raises(ConfigError, match=told):
            Tool(function, **options)

    def test_types_that_json_cannot_tell_are_refused(self) -> None:
        """And so are coroutines, which nobody would await."""

        def odd(lock: threading.Event) -> None: ...

        async def later() -> None: ...

        with pytest.raises(ConfigError, match="odd has parameters that no schema can tell"):
            Tool(odd)
        with pytest.raises(ConfigError, match="asynchronous"):
            Tool(later)


class TestArguments:
    """What the model sends."""

    def test_are_typed_and_leave_defaults_alone(self) -> None:
        """They may begin with a blank, as the service sends them."""
        tool = Tool(forecast)
        given = tool.read(' {"city":"Graz","height":353,"wind":null}')
        assert given == {"city": "Graz", "height": 353.0, "wind": None}
        assert json.loads(tool.call(given)) == {"city": "Graz", "days": 3, "unit": "C", "wind": None, "height": 353.0}

    @pytest.mark.parametrize("arguments", ["", " ", "{}"])
    def test_nothing_is_no_arguments(self, arguments: str) -> None:
        """For a function that takes none."""
        assert Tool(lambda: "", name="f").read(arguments) == {}

    @pytest.mark.parametrize(
        ("arguments", "told"),
        [
            ('{"city": "Gra', "truncated"),
            ("Graz", "malformed"),
            ('["Graz"]', "object"),
            ("null", "object"),
            ('{"city": "Graz"}', "height"),
            ('{"city": 3, "height": 1}', "city"),
            ('{"city": "Graz", "height": 1, "unit": "K"}', "unit"),
            ('{"city": "Graz", "height": 1, "colour": "red"}', "colour"),
        ],
    )
    def test_what_does_not_fit_is_refused(self, arguments: str, told: str) -> None:
        """In words that help the model."""
        with pytest.raises(ConfigError, match=f"the arguments do not fit: .*{told}"):
            Tool(forecast).read(arguments)

    def test_a_given_schema_is_checked_against_the_signature_only(self) -> None:
        """Names must fit."""
        tool = Tool(lambda city: city, name="f", parameters={"type": "object"})
        assert tool.read('{"city": 3}') == {"city": 3}
        with pytest.raises(ConfigError, match="missing a required argument: 'city'"):
            tool.read('{"town": "Graz"}')


class Conversation:
    """A client, and the peer that plays the model."""

    def __init__(self, client: OmniClient, link: Link) -> None:
        self.client = client
        self.link = link

    def begin(self, response: str = "r1") -> None:
        """The model begins a response."""
        self.link.send("response.created", response={"id": response})

    def call(self, name: str, arguments: str = "{}", *, call: str = "c1", index: int = 0, response: str = "r1") -> None:
        """It calls a function."""
        self.link.send(
            "response.function_call_arguments.done",
            response_id=response,
            output_index=index,
            call_id=call,
            name=name,
            arguments=arguments,
        )

    def done(self, response: str = "r1", status: str = "completed") -> None:
        """It ends the response."""
        self.link.send("response.done", response={"id": response, "status": status})

    def ask(self, name: str, arguments: str = "{}") -> None:
        """A whole response that calls one function."""
        self.begin()
        self.call(name, arguments)
        self.done()

    def output(self, count: int = 1) -> Any:
        """The output that the client sent, as JSON where it is."""
        item = self.link.wait_for("conversation.item.create", count)["item"]
        assert item["type"] == "function_call_output"
        try:
            return json.loads(item["output"])
        except ValueError:
            return item["output"]

    def wait_for_reply_request(self) -> None:
        """Wait until the client asks for the reply."""
        self.link.wait_for("response.create")

    @property
    def sent(self) -> list[str]:
        """What the client sent after its settings: call ids, and ``?`` for a request to reply."""
        told = {"conversation.item.create": lambda event: event["item"]["call_id"], "response.create": lambda _: "?"}
        return [told[event["type"]](event) for event in self.link.events if event["type"] in told]

    def synchronise(self) -> None:
        """Wait until the client has dealt with all that the peer sent."""
        with self.client.expect("synchronised", PATIENCE_S):
            self.link.send("synchronised")


@pytest.fixture
def talk(peers: Callable[..., Peer], clients: Callable[..., Any]) -> Iterator[Callable[..., Conversation]]:
    """Begin conversations; functions are registered before."""

    def begin(*functions: Callable[..., object], timeout: float = PATIENCE_S, **options: Any) -> Conversation:
        peer = peers(polite)
        client: OmniClient = clients(peer, OmniClient, **options)
        for function in functions:
            client.tool(timeout=timeout)(function)
        client.connect()
        return Conversation(client, peer.link())

    return begin


def get_weather(city: str) -> str:
    """The weather in a city, now."""
    return f"rain in {city}"


def get_time() -> dict[str, int]:
    """The time, now."""
    return {"hour": 12}


class TestRegistration:
    """``client.tool``."""

    def test_registered_functions_are_declared_when_connecting(self, talk: Callable[..., Conversation]) -> None:
        """Beside those of the settings, and in place of one with the same name."""
        declared = {"type": "function", "function": {"name": "other", "parameters": {}}}
        old = {"type": "function", "function": {"name": "get_time", "description": "old"}}
        talking = talk(get_weather, get_time, tools=[declared, old], voice="Tina")
        session = talking.link.wait_for("session.update")["session"]
        assert session["voice"] == "Tina"
        assert [each["function"]["name"] for each in session["tools"]] == ["other", "get_weather", "get_time"]
        assert session["tools"][2]["function"]["description"] == "The time, now."

    def test_a_function_can_be_registered_later(self, talk: Callable[..., Conversation]) -> None:
        """The session is updated then, with all of them; the function itself stays as it is."""
        talking = talk(get_weather)
        assert talking.client.tool(get_time) is get_time
        tools = talking.link.wait_for("session.update", 2)["session"]["tools"]
        assert [each["function"]["name"] for each in tools] == ["get_weather", "get_time"]
        talking.ask("get_time")
        assert talking.output() == {"hour": 12}

    def test_is_a_decorator_with_arguments(self) -> None:
        """And without."""
        client = OmniClient(api_key="k")

        @client.tool(name="clock", description="What o'clock it is.")
        def one() -> str:
            return ""

        @client.tool
        def two() -> str:
            return one()

        assert two() == ""
        with pytest.raises(ConfigError, match="a tool 'clock' already"):
            client.tool(name="clock")(two)
        client.close()

    def test_what_the_model_refuses_is_refused_at_once(self) -> None:
        """As a setting is; and the function is not registered then."""
        client = OmniClient(api_key="k", enable_search=True)
        for _ in range(2):
            with pytest.raises(ConfigError, match="exclude each other"):
                client.tool(get_weather)
        client.close()
        with pytest.warns(RealtimeWarning, match="switched off"):
            old = OmniClient(api_key="k", model="qwen3-omni-flash-realtime")
        with pytest.raises(ConfigError, match=r"tools need qwen3\.5-omni"):
            old.tool(get_weather)
        old.close()

    def test_a_closed_client_takes_none(self) -> None:
        """There is no session to declare it in."""
        client = OmniClient(api_key="k")
        client.close()
        with pytest.raises(ConnectionClosed):
            client.tool(get_weather)


class TestCalls:
    """From the model's call to the request for a reply."""

    def test_a_call_is_answered_and_one_reply_asked_for(self, talk: Callable[..., Conversation]) -> None:
        """By name, with arguments."""
        talking = talk(get_weather, get_time)
        talking.ask("get_weather", ' {"city": "Graz"}')
        assert talking.output() == "rain in Graz"
        talking.wait_for_reply_request()
        talking.synchronise()
        assert talking.sent == ["c1", "?"]

    def test_functions_run_on_threads_of_their_own_and_at_the_same_time(
        self, talk: Callable[..., Conversation]
    ) -> None:
        """Each waits for the other here, while handlers go on."""
        meeting = threading.Barrier(2, timeout=PATIENCE_S)

        def first() -> str:
            meeting.wait()
            return threading.current_thread().name

        def second() -> str:
            meeting.wait()
            return threading.current_thread().name

        talking = talk(first, second)
        talking.begin()
        talking.call("first", call="c1", index=0)
        talking.call("second", call="c2", index=1)
        talking.done()
        assert [talking.output(1), talking.output(2)] == ["qwen-tool", "qwen-tool"]

    def test_outputs_go_in_the_order_of_the_calls(self, talk: Callable[..., Conversation]) -> None:
        """When the last is there, whichever that is, and then one request."""
        gate = threading.Event()
        ended = threading.Event()

        def slow() -> str:
            assert gate.wait(PATIENCE_S)
            return "slow"

        def quick() -> str:
            ended.set()
            return "quick"

        talking = talk(slow, quick)
        talking.begin()
        talking.call("quick", call="c9", index=1)
        talking.call("slow", call="c3", index=0)
        talking.done()
        assert ended.wait(PATIENCE_S)
        talking.synchronise()
        assert talking.sent == []
        gate.set()
        talking.wait_for_reply_request()
        assert talking.sent == ["c3", "c9", "?"]

    def test_nothing_is_sent_before_the_response_is_done(self, talk: Callable[..., Conversation]) -> None:
        """The service would refuse the request."""
        ended = threading.Event()

        def quick() -> str:
            ended.set()
            return "quick"

        talking = talk(quick)
        talking.begin()
        talking.call("quick")
        assert ended.wait(PATIENCE_S)
        talking.synchronise()
        assert talking.sent == []
        talking.done()
        talking.wait_for_reply_request()
        assert talking.sent == ["c1", "?"]

    def test_a_call_without_a_name_is_taken_from_its_item(self, talk: Callable[..., Conversation]) -> None:
        """And is not made twice where both name it."""
        calls: list[str] = []

        def count(word: str) -> str:
            calls.append(word)
            return word

        talking = talk(count)
        talking.begin()
        for call, name in (("c1", ""), ("c2", "count")):
            arguments = json.dumps({"word": call})
            talking.call(name, arguments, call=call, index=int(call[1]))
            item = {"type": "function_call", "call_id": call, "name": "count", "arguments": arguments}
            talking.link.send("response.output_item.done", response_id="r1", output_index=int(call[1]), item=item)
        talking.done()
        talking.wait_for_reply_request()
        assert sorted(calls) == ["c1", "c2"]
        assert talking.sent == ["c1", "c2", "?"]

    def test_another_response_is_let_come_to_its_end(self, talk: Callable[..., Conversation]) -> None:
        """Only then the outputs go out: the service takes no second one meanwhile."""
        gate = threading.Event()

        def slow() -> str:
            assert gate.wait(PATIENCE_S)
            return "slow"

        talking = talk(slow)
        talking.ask("slow")
        talking.begin("r2")
        talking.synchronise()
        gate.set()
        talking.synchronise()
        assert talking.sent == []
        talking.done("r2")
        talking.wait_for_reply_request()
        assert talking.sent == ["c1", "?"]

    def test_after_an_interruption_no_reply_is_asked_for(self, talk: Callable[..., Conversation]) -> None:
        """The outputs are sent all the same, so that the conversation is whole."""
        talking = talk(get_time)
        talking.begin()
        talking.call("get_time")
        talking.done(status="incomplete")
        talking.output()
        talking.synchronise()
        assert talking.sent == ["c1"]

    def test_a_cancelled_response_has_no_end_and_wants_no_reply(self, talk: Callable[..., Conversation]) -> None:
        """As the service was measured: its items end, it does not."""
        talking = talk(get_time)
        talking.begin()
        talking.call("get_time")
        talking.synchronise()
        assert talking.client.cancel_response()
        talking.link.send("response.output_item.done", response_id="r1", output_index=1, item={"type": "message"})
        talking.output()
        talking.synchronise()
        assert talking.sent == ["c1"]

    def test_without_a_dispatching_thread_calls_are_answered_too(self, talk: Callable[..., Conversation]) -> None:
        """Nobody need poll for them."""
        talking = talk(get_time, dispatch="manual")
        talking.ask("get_time")
        assert talking.output() == {"hour": 12}

    def test_handlers_that_were_removed_take_no_tool_along(self, talk: Callable[..., Conversation]) -> None:
        """``off()`` is about the user's own."""
        talking = talk(get_time)
        talking.client.off()
        talking.ask("get_time")
        assert talking.output() == {"hour": 12}


class TestFailures:
    """What is wrong with a tool is told to the model, and the session goes on."""

    def test_a_function_that_raises(self, talk: Callable[..., Conversation], caplog: pytest.LogCaptureFixture) -> None:
        """Whatever it raises; a line in the log names it."""

        def breaks(how: str) -> str:
            if how == "exit":
                raise SystemExit(3)
            raise ConfigError("no such thing")

        talking = talk(breaks)
        talking.ask("breaks", '{"how": "raise"}')
        assert talking.output() == {"error": "ConfigError: no such thing"}
        talking.wait_for_reply_request()
        talking.begin("r2")
        talking.call("breaks", '{"how": "exit"}', call="c2", response="r2")
        talking.done("r2")
        assert talking.output(2) == {"error": "SystemExit: 3"}
        talking.link.wait_for("response.create", 2)
        assert [record.getMessage() for record in caplog.records if record.levelno == logging.ERROR] == [
            "the tool breaks raised; the model is told, the session goes on"
        ] * 2

    @pytest.mark.parametrize("arguments", ["no json", "[1]", '{"city": 7}', "{}"])
    def test_arguments_that_do_not_fit(
        self, talk: Callable[..., Conversation], caplog: pytest.LogCaptureFixture, arguments: str
    ) -> None:
        """The function is not called."""
        talking = talk(get_weather)
        talking.ask("get_weather", arguments)
        assert talking.output()["error"].startswith("the arguments do not fit")
        talking.wait_for_reply_request()
        assert "the tool get_weather was not called" in caplog.text

    def test_a_result_that_json_cannot_hold(
        self, talk: Callable[..., Conversation], caplog: pytest.LogCaptureFixture
    ) -> None:
        """Neither objects nor what is no number."""

        def odd() -> object:
            return threading.Event()

        def nan() -> float:
            return float("nan")

        talking = talk(odd, nan)
        talking.begin()
        talking.call("odd", call="c1", index=0)
        talking.call("nan", call="c2", index=1)
        talking.done()
        assert "error" in talking.output(1)
        assert "error" in talking.output(2)
        assert "the tool odd raised" in caplog.text

    def test_a_function_that_hangs(self, talk: Callable[..., Conversation], caplog: pytest.LogCaptureFixture) -> None:
        """After its timeout; what it returns later is dropped."""
        gate = threading.Event()
        threads: list[threading.Thread] = []

        def hangs() -> str:
            threads.append(threading.current_thread())
            assert gate.wait(PATIENCE_S)
            return "at last"

        talking = talk(hangs, timeout=0.05)
        talking.client.tool(get_time)
        talking.begin()
        talking.call("hangs", call="c1", index=0)
        talking.call("get_time", call="c2", index=1)
        talking.done()
        assert talking.output(1) == {"error": "hangs did not answer in time"}
        assert talking.output(2) == {"hour": 12}
        talking.wait_for_reply_request()
        gate.set()
        threads[0].join(PATIENCE_S)
        assert talking.sent == ["c1", "c2", "?"]
        assert "the tool hangs has not ended in time" in caplog.text
        assert "the tool hangs ended after its timeout" in caplog.text

    def test_the_end_of_the_connection_ends_the_waiting(self, talk: Callable[..., Conversation]) -> None:
        """Only the function's own thread is left, until it returns."""
        gate = threading.Event()
        running = threading.Event()

        def hangs() -> str:
            running.set()
            assert gate.wait(PATIENCE_S)
            return "too late"

        talking = talk(hangs)
        talking.ask("hangs")
        assert running.wait(PATIENCE_S)
        talking.client.close()
        left = [thread.name for thread in threading.enumerate() if thread.name.startswith(OURS)]
        gate.set()
        assert left == ["qwen-tool"]

    def test_a_new_session_knows_none_of_the_calls(self, talk: Callable[..., Conversation]) -> None:
        """After a break the model calls again."""
        gate = threading.Event()

        def slow() -> str:
            assert gate.wait(PATIENCE_S)
            return "slow"

        talking = talk(slow)
        talking.ask("slow")
        talking.link.send("session.created", session={"id": "sess_2"})
        talking.synchronise()
        gate.set()
        talking.begin("r2")
        talking.call("slow", call="c2", response="r2")
        talking.done("r2")
        talking.wait_for_reply_request()
        assert talking.sent == ["c2", "?"]


class TestOthers:
    """Calls of functions that were not registered."""

    def test_are_left_to_handlers(self, talk: Callable[..., Conversation]) -> None:
        """Where none of a response's calls is ours, nothing is sent."""
        seen: list[str] = []
        talking = talk(get_time)
        talking.client.on("response.function_call_arguments.done", lambda event: seen.append(event.name))
        talking.ask("elsewhere")
        talking.synchronise()
        assert seen == ["elsewhere"]
        talking.client.finish()
        assert talking.sent == []

    def test_are_waited_for_beside_ours(self, talk: Callable[..., Conversation]) -> None:
        """The one request for a reply comes when the user's own output is sent, too."""
        talking = talk(get_time)
        talking.begin()
        talking.call("elsewhere", call="c1", index=0)
        talking.call("get_time", call="c2", index=1)
        talking.done()
        talking.synchronise()
        assert talking.sent == []
        talking.client.send_tool_output("c1", "mine")
        talking.wait_for_reply_request()
        assert talking.sent == ["c1", "c2", "?"]

    def test_are_not_waited_for_without_end(
        self, talk: Callable[..., Conversation], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        """A log line names what nobody answered."""
        monkeypatch.setattr("qwen_realtime.toolbox.OTHERS_S", 0.01)
        talking = talk(get_time)
        talking.begin()
        talking.call("elsewhere", call="c1", index=0)
        talking.call("get_time", call="c2", index=1)
        talking.done()
        talking.wait_for_reply_request()
        assert talking.sent == ["c2", "?"]
        assert "nobody has answered the call of elsewhere" in caplog.text


class TestLocalServer:
    """With a model of sorts."""

    def test_parallel_calls_are_answered_before_the_session_finishes(self, qwen_realtime_server: LocalServer) -> None:
        """``finish()``, which the block's end calls, waits for the functions and for the reply."""
        client = OmniClient(url=qwen_realtime_server.url, api_key="any", modalities=["text"])
        client.tool(get_weather)

        @client.tool
        def get_population(city: str) -> dict[str, int]:
            """The population of a city."""
            return {"people": 300_000}

        texts: list[str] = []
        client.on("response.text.done", lambda event: texts.append(event.text))
        with client:
            client.send_text("What is the weather in Graz and the population of Graz?")
            client.create_response()
        assert len(texts) == 1
        assert "rain in Graz" in texts[0]
        assert "300000" in texts[0]
        assert qwen_realtime_server.last_session.client_events["response.create"] == 2
