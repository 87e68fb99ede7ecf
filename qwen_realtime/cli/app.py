"""All commands together, and how the program ends: its status, its last line, Ctrl-C."""

from __future__ import annotations

import errno
import os
import sys
import traceback
from collections.abc import Sequence
from contextlib import suppress

import click

from ..errors import ConnectionClosed, RealtimeError
from ..version import __version__
from .chat import chat
from .demo import demo
from .devices import devices
from .doctor import doctor
from .interrupt import Interrupts
from .output import logging_to_stderr, tell_error
from .say import say
from .serve import serve
from .trace import trace
from .transcribe import transcribe
from .translate import translate

__all__ = ["cli", "run"]

NAME = "qwen-realtime"
INTERRUPTED = 130
SHELLS = ("bash", "zsh", "fish")


def _show_completion(context: click.Context, _parameter: click.Parameter, shell: str | None) -> None:
    """Print the script that completes this program's commands in a shell."""
    if shell is None or context.resilient_parsing:
        return
    from click.shell_completion import get_completion_class

    kind = get_completion_class(shell)
    if kind is None:  # pragma: no cover - the choices are those that click has
        raise click.UsageError(f"no completion for {shell}")
    # click's own source() starts bash to learn its version, which a script to be read by bash need not
    script = kind(cli, {}, NAME, "_QWEN_REALTIME_COMPLETE")
    click.echo(script.source_template % script.source_vars())
    context.exit()


class _InOrder(click.Group):
    """A group that lists its commands as they were added, not by the alphabet."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        return list(self.commands)


@click.group(cls=_InOrder, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name=NAME)
@click.option(
    "--completion",
    type=click.Choice(SHELLS),
    callback=_show_completion,
    expose_value=False,
    is_eager=True,
    help="Print the script that completes commands; see above.",
)
@click.option("--debug", is_flag=True, expose_value=False, help="As after the command: the log, and tracebacks.")
def cli() -> None:
    """Qwen realtime speech from the command line.

    With --local a command needs no account and no network: a server inside this program answers, with small engines.
    Otherwise the key comes from DASHSCOPE_API_KEY or --api-key-file.

    \b
    qwen-realtime say --local "Good morning." -o morning.wav
    qwen-realtime transcribe --local morning.wav
    eval "$(qwen-realtime --completion bash)"
    """  # noqa: D301 - click's mark for lines that stay as they are is the character, not the letters


for _command in (say, transcribe, chat, translate, serve, demo, devices, doctor, trace):
    cli.add_command(_command)


def run(arguments: Sequence[str]) -> int:
    """Run one command; on the main thread.

    Args:
        arguments: without the program's name.

    Returns:
        The exit status: 0 only on success, 2 for a wrong use, 130 after Ctrl-C, otherwise 1.
    """
    debug, as_json = "--debug" in arguments, "--json" in arguments
    with Interrupts(INTERRUPTED), logging_to_stderr(debug=debug):
        try:
            status = cli.main(list(arguments), prog_name=NAME, standalone_mode=False)
        except (KeyboardInterrupt, click.Abort):  # click has ended the line
            status = INTERRUPTED
        except SystemExit as ending:  # click's own, after completing a word for a shell
            status = ending.code if isinstance(ending.code, int) else 0
        except click.ClickException as error:
            if type(error).__name__ == "NoArgsIsHelpError":  # of click 8.2 and newer
                click.echo(error.format_message(), err=True)
                return error.exit_code
            context = getattr(error, "ctx", None)
            path = context.command_path if context else _meant(arguments)
            tell_error(error.format_message(), f"see {path} --help", as_json=as_json)
            status = error.exit_code
        except RealtimeError as error:
            status = _failed(error, error.message, error.hint or _otherwise(error), debug=debug, as_json=as_json)
        except BrokenPipeError:
            status = _pipe_is_gone()
        except OSError as error:
            status = _failed(error, str(error.strerror or error), _about(error), debug=debug, as_json=as_json)
        except Exception as error:  # noqa: BLE001 - a fault of ours: told in one line all the same
            what = f"{type(error).__name__}: {error}"
            status = _failed(error, what, "run it again with --debug, and report it", debug=debug, as_json=as_json)
    return int(status or 0)


def _meant(arguments: Sequence[str]) -> str:
    """The command meant, as far as the first words tell."""
    group: click.Group = cli
    path = NAME
    for word in arguments:
        command = group.commands.get(word)
        if command is None:
            break
        path = f"{path} {word}"
        if not isinstance(command, click.Group):
            break
        group = command
    return path


def _failed(error: BaseException, message: str, hint: str, *, debug: bool, as_json: bool) -> int:
    if debug:
        traceback.print_exception(error)
    tell_error(message, hint, kind=type(error).__name__, as_json=as_json)
    return 1


def _otherwise(error: RealtimeError) -> str:
    """What to do where the error itself does not know."""
    return "run it again; --trace FILE records what happens" if isinstance(error, ConnectionClosed) else ""


def _about(error: OSError) -> str:
    return str(error.filename) if error.filename else errno.errorcode.get(error.errno or 0, "")


def _pipe_is_gone() -> int:
    """Whoever read our output has stopped: nothing can be told to it, nor at the interpreter's end."""
    with suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 1
