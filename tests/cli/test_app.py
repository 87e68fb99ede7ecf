"""How the program ends: its status, one line for each error, Ctrl-C, and what it says where parts are missing."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from qwen_realtime.cli import app
from qwen_realtime.server import CloseWith, LocalServer, Silent

from .conftest import KEY, Result, until

Cli = Callable[..., Result]
Program = Callable[..., "subprocess.Popen[str]"]

COMMANDS = ["say", "transcribe", "chat", "translate", "serve", "demo", "devices", "doctor", "trace"]


def test_help_lists_all_commands_and_exits_well(cli: Cli) -> None:
    """Each command has help of its own, and an example stays on its line."""
    result = cli("--help")
    assert result.status == 0
    assert [word for word in COMMANDS if f"\n  {word} " in result.out] == COMMANDS
    assert '\n  qwen-realtime say --local "Good morning." -o morning.wav\n' in result.out
    for command in COMMANDS:
        assert cli(command, "-h").out.startswith(f"Usage: qwen-realtime {command}")


def test_without_a_command_the_help_is_shown(cli: Cli) -> None:
    """As it is with --help; but nothing was done."""
    for arguments in ([], ["trace"]):
        result = cli(*arguments)
        assert result.status == 2
        assert result.err == cli(*arguments, "--help").out


def test_a_wrong_use_is_status_2_with_where_to_look(cli: Cli) -> None:
    """In one line."""
    for arguments, word in (
        (["sya"], "No such command 'sya'"),
        (["say", "--bogus"], "No such option '--bogus'"),
        (["translate", "x.wav"], "Missing option '--to'"),
        (["say", "x", "--local", "--region", "cn"], "--local goes without"),
        (["say", "x", "--no-play"], "nothing to do"),
        (["say", "x", "--set", "voice"], "NAME=VALUE"),
        (["say", "--file"], "requires an argument"),
        (["serve", "--port", "99999"], "not in the range"),
        (["serve", "--pace", "-1"], "not in the range"),
    ):
        result = cli(*arguments)
        assert result.status == 2
        assert word in result.err
        command = f"{arguments[0]} " if arguments[0] in COMMANDS else ""
        assert result.err.endswith(f"(see qwen-realtime {command}--help)\n")
        assert result.err.count("\n") == 1


def test_a_failure_is_status_1_and_one_line_with_a_hint(cli: Cli, tmp_path: Path) -> None:
    """And for machines an object, too."""
    result = cli("say", "hello", "-o", tmp_path / "x.wav", "--json")
    assert result.status == 1
    assert result.err == (
        "qwen-realtime: no API key (set DASHSCOPE_API_KEY, give --api-key-file, or try it without an account: "
        "--local)\n"
    )
    (row,) = result.rows
    assert (row["type"], row["kind"], row["message"]) == ("error", "ConfigError", "no API key")


def test_tracebacks_are_for_debugging(cli: Cli, server: LocalServer, tmp_path: Path) -> None:
    """Without --debug there is none, whatever goes wrong."""
    failing = ["say", "x", "-o", str(tmp_path / "no" / "x.wav")]
    for line, there in ((["--debug", *failing], True), ([*failing, "--debug"], True), (failing, False)):
        result = cli(*line)
        assert result.status == 1
        assert ("Traceback" in result.err) is there
        assert "No such file or directory" in result.err


def test_a_fault_of_ours_is_told_in_a_line_too(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    """With what to do: report it."""

    def broken(*_: object, **__: object) -> None:
        raise ZeroDivisionError("oh")

    monkeypatch.setattr(app.cli, "main", broken)
    result = cli("devices")
    assert (result.status, result.err) == (
        1,
        "qwen-realtime: ZeroDivisionError: oh (run it again with --debug, and report it)\n",
    )


def test_the_key_comes_from_a_file_and_never_silently_from_the_command_line(
    cli: Cli, server: LocalServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A key among the arguments works, with a warning."""
    monkeypatch.delenv("DASHSCOPE_API_KEY")
    key_file = tmp_path / "key"
    key_file.write_text(f"{KEY}\n")
    to = ["-o", str(tmp_path / "x.wav")]
    assert cli("say", "hi", *to, "--api-key-file", key_file).status == 0
    result = cli("say", "hi", *to, "--api-key", KEY)
    assert result.status == 0
    assert "kept in the shell's history" in result.err
    assert KEY not in result.err
    key_file.write_text("")
    assert "is empty" in cli("say", "hi", *to, "--api-key-file", key_file).err
    assert "No such file" in cli("say", "hi", *to, "--api-key-file", tmp_path / "nowhere").err


def test_what_the_server_refuses_is_told(cli: Cli, server: LocalServer, tmp_path: Path) -> None:
    """A wrong key, an unknown voice, a setting that cannot be."""
    to = ["-o", str(tmp_path / "x.wav")]
    (tmp_path / "wrong").write_text("sk-other")
    assert "refused the key" in cli("say", "hi", *to, "--api-key-file", tmp_path / "wrong").err
    assert "'Nobody' is unknown" in cli("say", "hi", *to, "--voice", "Nobody").err
    assert cli("say", "hi", *to, "--voice", "Nobody").err.endswith(" (--set strict=false sends it all the same)\n")
    assert cli("say", "hi", *to, "--set", "speech_rate=99").status == 1


def test_a_connection_that_breaks_comes_with_what_to_do(
    cli: Cli, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """As all errors do."""
    with LocalServer(faults=[CloseWith(code=1011, reason="gone", times=0)]) as server:
        monkeypatch.setenv("QWEN_REALTIME_URL", server.url)
        monkeypatch.setenv("DASHSCOPE_API_KEY", "any")
        result = cli("say", "hi", "-o", tmp_path / "x.wav")
    assert result.status == 1
    assert result.err.endswith("1011 gone (run it again; --trace FILE records what happens)\n")


def test_completion_scripts_are_printed_and_complete(cli: Cli, program: Program) -> None:
    """For three shells; commands, options, voices and models."""
    for shell in ("bash", "zsh", "fish"):
        result = cli("--completion", shell)
        assert result.status == 0
        assert "_QWEN_REALTIME_COMPLETE" in result.out


@pytest.mark.parametrize(
    ("words", "found"),
    [
        ("qwen-realtime tr", "transcribe"),
        ("qwen-realtime say --voice Che", "Cherry"),
        ("qwen-realtime chat --model qwen3.5-omni-f", "qwen3.5-omni-flash-realtime"),
    ],
)
def test_the_shell_is_told_what_may_follow(cli: Cli, monkeypatch: pytest.MonkeyPatch, words: str, found: str) -> None:
    """By the protocol between click and bash."""
    monkeypatch.setenv("_QWEN_REALTIME_COMPLETE", "bash_complete")
    monkeypatch.setenv("COMP_WORDS", words)
    monkeypatch.setenv("COMP_CWORD", str(len(words.split()) - 1))
    assert found in cli().out


@pytest.mark.parametrize("missing", ["click", "rich"])
def test_without_its_libraries_it_says_what_to_install(missing: str) -> None:
    """In one line, on a machine where only the package is installed."""
    code = f"import sys; sys.modules[{missing!r}] = None; from qwen_realtime.cli import main; main()"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 1
    assert done.stderr == f"qwen-realtime: the command line needs {missing} (pip install 'qwen-realtime[cli]')\n"


def test_without_the_local_extra_it_says_what_to_install(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    """For --local and serve alike."""
    monkeypatch.setitem(sys.modules, "qwen_realtime.server", None)
    for arguments in (["say", "--local", "hi", "-o", "x.wav"], ["serve"]):
        result = cli(*arguments)
        assert result.status == 1
        assert "pip install 'qwen-realtime[local]'" in result.err


def test_a_closed_stdin_is_an_empty_one(server: LocalServer, tmp_path: Path) -> None:
    """As some schedulers start programs."""
    command = ["sh", "-c", 'exec "$0" -m qwen_realtime say -o "$1" <&-', sys.executable, str(tmp_path / "x.wav")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    assert (done.returncode, done.stderr) == (1, "qwen-realtime: there was nothing to speak (give it words)\n")


def test_a_terminal_without_the_characters_gets_their_numbers(program: Program, server: LocalServer) -> None:
    """Nothing is lost, and what machines read is still JSON."""
    environment = {**os.environ, "PYTHONIOENCODING": "ascii"}
    out, err = program("doctor", "--no-sound", env=environment).communicate(timeout=30)
    assert out.startswith("\\u2713 key"), err
    process = program("chat", "--json", "--no-play", env=environment, encoding="utf-8")
    out, err = process.communicate("¿Qué?\n", timeout=30)
    assert process.returncode == 0, err
    assert out.isascii()
    assert json.loads(out.splitlines()[0])["type"] == "user"


# Ctrl-C.


def _interrupted(process: subprocess.Popen[str]) -> tuple[int, float, str]:
    began = time.monotonic()
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=10)
    return process.returncode, time.monotonic() - began, err


@pytest.mark.parametrize("command", [["say", "hi", "-o", "-"], ["chat", "--text", "--no-play"]])
def test_ctrl_c_ends_within_a_second_whatever_the_server_does(
    program: Program, command: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """With status 130 and without a traceback: here the server never says a word."""
    with LocalServer(faults=[Silent(times=0)]) as silent:
        monkeypatch.setenv("QWEN_REALTIME_URL", silent.url)
        monkeypatch.setenv("DASHSCOPE_API_KEY", "any")
        process = program(*command)
        until(lambda: silent.connections, process)
        status, took, err = _interrupted(process)
    assert status == 130, err
    assert took < 3  # a second, and the interpreter's end on a busy machine; the server would be waited for 10 s
    assert "Traceback" not in err


@pytest.mark.parametrize("module", ["click", "qwen_realtime.cli.app"])
def test_ctrl_c_while_it_is_being_loaded_leaves_no_traceback(module: str) -> None:
    """Whatever is being imported."""
    code = (
        "import os, signal, sys\n"
        "class Pressed:\n"
        "    def find_spec(self, name, *_):\n"
        f"        if name == {module!r}: os.kill(os.getpid(), signal.SIGINT)\n"
        "sys.meta_path.insert(0, Pressed())\n"
        "from qwen_realtime.cli import main; main()"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=30, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "")


def test_a_second_ctrl_c_needs_no_patience(program: Program) -> None:
    """And what hangs in its farewell is cut off."""
    code = (
        "import sys, time\n"
        "from qwen_realtime.cli import interrupt\n"
        "interrupt.PATIENCE_S = float(sys.argv[1])\n"
        "with interrupt.Interrupts(130):\n"
        "    try:\n"
        "        print('ready', flush=True); time.sleep(60)\n"
        "    except KeyboardInterrupt:\n"
        "        print('hanging', flush=True); time.sleep(60)\n"
    )
    for second in (True, False):
        command = [sys.executable, "-c", code, "50" if second else "0.1"]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
            process.send_signal(signal.SIGINT)
            assert process.stdout.readline() == "hanging\n"
            if second:
                process.send_signal(signal.SIGINT)
            assert process.wait(10) == 130
