"""Public programs for the vendor's SDK: where each is from, and what somebody does who tries it.

The programs are not kept here. :mod:`tests.compat.programs` takes a folder that has them, each in the folder of its
name; ``PROGRAMS.md`` tells which files belong there, and how each went.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeAlias

import websockets

from .stage import Running, Stage
from .steering import KEY

__all__ = ["PROGRAMS", "Program"]

Drive: TypeAlias = "Callable[[Running], None]"
Prepare: TypeAlias = "Callable[[Path, Stage], None]"

QUESTION = "What is seven plus five?"
JPEG = b"\xff\xd8\xff\xe0\x00\x10JFIF\x00\x01" + bytes(200) + b"\xff\xd9"


def nothing(folder: Path, stage: Stage) -> None:
    """No file is needed."""


@dataclass(frozen=True)
class Program:
    """One program.

    Attributes:
        name: of its folder.
        main: what is run, in its folder.
        drive: what somebody does while it runs; raises ``AssertionError`` where it does not behave.
        says: what must be in its output, as regular expressions.
        heard_s: how much must at least be heard at the loudspeaker, seconds.
        prepare: makes files that it wants.
        hosts: ours, from ``hosts/``, that are put beside it.
        arguments: of its command line.
        writes: files that must not be empty in the end.
        packages: folders in the collection that it imports from.
        environment: variables that it wants.
        events: what the server must have been sent at least.
    """

    name: str
    main: str
    drive: Drive
    says: tuple[str, ...] = ()
    heard_s: float = 0.0
    prepare: Prepare = nothing
    hosts: tuple[str, ...] = ()
    arguments: tuple[str, ...] = ()
    writes: tuple[str, ...] = ()
    packages: tuple[str, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    events: tuple[str, ...] = ()


def hang_up_while_it_speaks(program: Running) -> None:
    """Press Ctrl-C in the middle of a long answer; it must end with it."""
    program.expect("对话已开始")
    program.stage.say("Tell me a story.")
    program.expect(r"\[User\]")
    program.heard_for(0.5)
    program.interrupt()
    program.ended(2.0)


def let_run(program: Running) -> None:
    """Wait until it is through."""
    program.ended(40.0)


def ask(ready: str, answered: str, *questions: str) -> Drive:
    """Ask aloud when it is ready, hear the answer out, and press Ctrl-C in the end."""

    def drive(program: Running) -> None:
        program.expect(ready)
        for question in questions or (QUESTION,):
            program.stage.say(question)
            program.expect(answered)
            program.played_out()
        program.interrupt()
        program.ended()

    return drive


def ask_from_files(program: Running) -> None:
    """Hear two answers to two recordings; its player's threads keep it alive then, with the vendor's SDK too."""
    program.expect("play audio done")
    program.expect("play audio done")


def dictate(program: Running) -> None:
    """Speak to a recogniser and press Ctrl-C."""
    program.expect("Press 'Ctrl")
    program.stage.say(QUESTION)
    program.expect("final recognized text: .+")
    program.interrupt()
    program.ended()


def show_and_ask(program: Running) -> None:
    """Be the page with the camera, and ask."""
    program.expect("WebSocket server started")
    program.expect("Press 'Ctrl")
    program.stage.say(QUESTION)

    async def send_images() -> None:
        async with websockets.connect("ws://localhost:5000/video", proxy=None) as camera:
            for _ in range(3):
                await camera.send(JPEG)
                await asyncio.sleep(0.4)

    asyncio.run(send_images())
    program.expect("RESPONSE DONE")
    program.stage.say(QUESTION)
    program.expect("RESPONSE DONE")
    program.played_out()
    program.interrupt()
    program.expect("omni realtime stopped")  # its own thread with the camera's server never ends


def push_to_talk(program: Running) -> None:
    """Press Enter, speak, press Enter, twice; then quit."""
    for _ in range(2):
        program.expect("按 Enter 开始录音")
        program.enter()
        program.expect("录音中")
        program.stage.say(QUESTION)
        program.enter()
        program.expect("播放音频完成")
    program.expect("按 Enter 开始录音")
    program.enter("q")
    program.ended()


def watch(program: Running) -> None:
    """See that it is connected, and press Ctrl-C."""
    program.expect('(?s)Press Ctrl.*"session.created"|"session.created".*Press Ctrl')
    program.interrupt()
    program.ended()


def pipe_sound(program: Running) -> None:
    """Send sound to its standard input, in real time but for the beginning."""
    program.expect("Press 'Ctrl")
    program.feed(program.stage.spoken(QUESTION))
    program.expect("TRANSLATION DONE")
    program.played_out()
    program.interrupt()
    program.ended()


def interpret(program: Running) -> None:
    """Say a sentence to be translated."""
    program.expect("listening")
    program.stage.say("The train is late.")
    program.ended(40.0)


def questions(folder: Path, stage: Stage) -> None:
    """The recordings of the official manual sample, and where it puts its own."""
    stage.write_pcm(folder / "data/q1_16khz.pcm", QUESTION)
    stage.write_pcm(folder / "data/q2_16khz.pcm", "What is three plus four?")


def recording(name: str) -> Prepare:
    """One recording."""
    return lambda folder, stage: stage.write_pcm(folder / name, QUESTION)


PROGRAMS: tuple[Program, ...] = (
    Program(
        "aliyun-omni",
        "run_server_vad.py",
        ask("Press 'Ctrl", "RESPONSE DONE", QUESTION, "What is three plus four?"),
        says=("start session: sess_", "question: .*seven", r"first audio delay: \d", "omni realtime stopped"),
        heard_s=1.0,
        prepare=questions,
        writes=("data/record_16khz.pcm",),
        events=("input_audio_buffer.append", "session.finish"),
    ),
    Program(
        "aliyun-omni",
        "run_with_camera.py",
        show_and_ask,
        says=("question: .*seven", "连接到前端摄像头"),
        heard_s=0.5,
        prepare=questions,
        packages=("ws12",),
        events=("input_image_buffer.append",),
    ),
    Program(
        "aliyun-omni",
        "run_without_server_vad.py",
        ask_from_files,
        says=("question: .*seven", "question: .*three", r"(?s)(play audio done.*){2}", r"first text delay: \d"),
        heard_s=1.0,
        prepare=questions,
        events=("input_audio_buffer.commit", "response.create", "session.finish"),
    ),
    Program(
        "aliyun-omni",
        "run_with_function_call.py",
        ask("Press Ctrl", "Full response: .+", "What is the weather in Paris?"),
        says=("Tool Call. Completed: Weather in Paris", "Omni real-time conversation stopped"),
        heard_s=0.5,
        events=("conversation.item.create", "response.create"),
    ),
    Program(
        "aliyun-tts",
        "run.py",
        let_run,
        says=(
            r"response resp_\S+ done",
            "session finished",
            r"first audio delay: \d",
            "connection closed with code: 1000",
        ),
        heard_s=2.0,
        writes=("result.pcm",),
    ),
    Program("aliyun-asr", "run.py", dictate, says=("Speech Start", "Speech Stop", "omni realtime stopped")),
    Program(
        "help-center",
        "vad_dash.py",
        ask("对话已开始", r"\[LLM\]"),
        says=(r"\[User\] .*seven", r"\[LLM\] .*twelve", "对话结束"),
        heard_s=0.5,
    ),
    Program("help-center", "vad_dash.py", hang_up_while_it_speaks, says=("对话结束",), heard_s=0.5),
    Program(
        "help-center",
        "manual_dash.py",
        push_to_talk,
        says=("question: .*seven", r"first audio delay: \d", "程序退出"),
        heard_s=1.0,
        events=("input_audio_buffer.commit", "response.create"),
    ),
    Program("help-center", "DashScope_SDK.py", watch, says=("Connected Successfully", "Connection closed .code=1000")),
    Program(
        "help-center-tts",
        "commit.py",
        let_run,
        says=(r"(?s)(response resp_\S+ done.*){3}", r"first audio delay: \d"),
        heard_s=2.0,
        writes=("result_0_24k.pcm", "result_1_24k.pcm", "result_2_24k.pcm"),
    ),
    Program(
        "help-center-asr",
        "asr_file.py",
        let_run,
        says=("Final recognized text: .*seven", "Audio processing completed", "Connection closed, code: 1000"),
        prepare=recording("your_audio_file.pcm"),
        packages=("deps",),
    ),
    Program(
        "voice-design",
        "02.py",
        let_run,
        says=("会话结束", r"session_id=sess_", r"first_audio_delay=\d"),
        heard_s=2.0,
    ),
    Program(
        "flask-tts",
        "flask_page.py",
        let_run,
        says=(r"spoken: [1-9]\.\d s",),
        hosts=("flask_page.py",),
        packages=("deps",),
    ),
    Program(
        "fastapi-tts",
        "fastapi_socket.py",
        let_run,
        says=("connection_opened", "session_created", r"spoken: [1-9]\.\d s"),
        hosts=("fastapi_socket.py",),
        packages=("deps",),
        environment={"LLM_QWEN_API_KEY": KEY},
    ),
    Program(
        "Xiao",
        "speaking_engine.py",
        let_run,
        says=("used and closed: True", "warm again: True", r"synthesized: [1-9]\.\d s", "spoken aloud", "stopped"),
        heard_s=1.5,
        hosts=("speaking_engine.py",),
        events=("response.cancel",),
    ),
    Program(
        "asr-module",
        "asr_caller.py",
        let_run,
        says=("transcript: .*seven", r"partial results: [1-9]"),
        prepare=recording("question.pcm"),
        hosts=("asr_caller.py",),
        events=("session.finish",),
    ),
    Program(
        "aplay-translator",
        "translate.py",
        pipe_sound,
        says=("Source .Chinese.: .*seven", "Translation stopped"),
        heard_s=0.5,
        hosts=("aplay",),
        packages=("deps",),
    ),
    Program(
        "RealTalk_AI",
        "interpreter.py",
        interpret,
        says=("is_final=True", "translated_text='[^']+'", "stopped"),
        hosts=("interpreter.py",),
        events=("session.finish",),
    ),
    Program(
        "pipeline",
        "pipeline.py",
        ask(r"\[SYS\] Ready", r"\[TTS\] playback finished"),
        says=(r"\[ASR\] transcript completed: .*seven", r"\[TTS\] response done"),
        heard_s=0.5,
        hosts=("openai.py",),
    ),
    Program(
        "agentscope-tts",
        "agent.py",
        let_run,
        says=(r"spoken: [1-9]\.\d s", "closed"),
        hosts=("agent.py",),
        packages=("deps",),
    ),
)
