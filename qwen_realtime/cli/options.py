"""The options that commands share, and the one object that they become: where to connect, and how to write."""

from __future__ import annotations

import errno
import functools
import json
import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar, cast

import click
from click.shell_completion import CompletionItem

from ..endpoints import REGIONS
from ..errors import ConfigError
from ..protocol import Family
from ..settings import DEFAULT_MODELS, PROFILES
from .output import Screen

__all__ = ["PACE", "PORT", "Target", "connecting", "listening", "local_server", "read_key", "voice_option", "writing"]

F = TypeVar("F", bound=Callable[..., Any])

PORT, PACE = click.IntRange(0, 65535), click.FloatRange(min=0)
LOCAL_NEEDS = "pip install 'qwen-realtime[local]'"

# What the engines of the local server do, in the order of a conversation.
_VERBS = {"listening": "listens", "translation": "translates", "speech": "speaks"}


@dataclass(frozen=True)
class Target:
    """Where a command connects, and as whom.

    Attributes:
        screen: where it writes.
        local: to a server inside this program.
        options: of the client: region, model, url, proxy, trace, connect_timeout, and settings by name.
        api_key: the key, where an option gave it.
    """

    screen: Screen
    local: bool
    options: dict[str, Any]
    api_key: str | None = None

    @property
    def has_key(self) -> bool:
        """Whether a key was given, by an option or by the environment."""
        return bool(self.api_key or os.environ.get("DASHSCOPE_API_KEY"))

    @contextmanager
    def service(self, *engines: str, live: bool = False) -> Iterator[dict[str, Any]]:
        """Give the arguments for a client; with ``--local``, of a server that lives as long as the block.

        Args:
            engines: the jobs of the local server that this command is about, for the user to know who does them.
            live: somebody is going to speak: the local engines are loaded first, so that they keep up.

        Raises:
            ConfigError: there is no key.
        """
        if self.local:
            with local_server() as server:
                if live:
                    self.screen.info("(loading the local engines …)")
                    server.warm_up()
                names = {job: engine.partition(",")[0] for job, engine in server.describe().items()}
                told = [f"{names[job]} {verb}" for job, verb in _VERBS.items() if job in engines]
                self.screen.info(f"(local server: {', '.join(told)})" if told else "(local server)")
                yield {**self.options, "url": server.url, "api_key": "local"}
            return
        if not self.has_key:
            raise ConfigError(
                "no API key", hint="set DASHSCOPE_API_KEY, give --api-key-file, or try it without an account: --local"
            )
        yield {**self.options, **({"api_key": self.api_key} if self.api_key else {})}


def local_server(**options: Any) -> Any:
    """Make a local server.

    Raises:
        ConfigError: the extra ``local`` is not installed.
    """
    try:
        from ..server import LocalServer
    except ImportError as error:
        raise ConfigError(f"the local server needs {error.name}", hint=LOCAL_NEEDS) from error
    return LocalServer(**options)


@contextmanager
def listening(server: Any, address: str) -> Iterator[Any]:
    """Run a server.

    Raises:
        ConfigError: its address cannot be had.
    """
    with ExitStack() as stack:
        try:
            stack.enter_context(server)
        except OSError as error:
            hint = "--port 0 takes a free one" if error.errno == errno.EADDRINUSE else "try another --port or address"
            why = str(error.strerror).partition(" (")[0]  # asyncio tells the address once more
            raise ConfigError(f"cannot listen on {address}: {why}", hint=hint) from error
        yield server


def writing(command: F) -> F:
    """Give a command ``--json`` and ``--debug``; it gets a ``screen``."""

    @functools.wraps(command)
    def run(*args: Any, as_json: bool, debug: bool, **kwargs: Any) -> Any:  # noqa: ARG001 - run() in app.py has it
        screen = Screen(as_json=as_json)
        status = command(*args, screen=screen, **kwargs)
        screen.check()
        return status

    run = click.option("--debug", is_flag=True, help="Show the log, and tracebacks of errors.")(run)
    with_json = click.option("--json", "as_json", is_flag=True, help="Write JSON lines, for programs.")(run)
    return cast("F", with_json)


def connecting(family: Family | None = None, *, one_model: bool = True) -> Callable[[F], F]:
    """Give a command the options of a connection; it gets a ``target``.

    Args:
        family: whose models and settings; ``None`` for all, and then there is neither ``--set`` nor ``--trace``.
        one_model: whether ``--model`` makes sense.
    """

    def decorate(command: F) -> F:
        @functools.wraps(command)
        def run(*args: Any, screen: Screen, **kwargs: Any) -> Any:
            return command(*args, target=_target(screen, kwargs), **kwargs)

        for option in reversed(_options(family, one_model=one_model)):
            run = option(run)
        return cast("F", writing(run))

    return decorate


def _options(family: Family | None, *, one_model: bool) -> list[Callable[[Any], Any]]:
    options = [
        click.option("--local", is_flag=True, help="Run against a server inside this program: no account, no network."),
        click.option("--region", type=click.Choice(list(REGIONS)), help="Where the key belongs to. [default: intl]"),
        click.option("--url", metavar="URL", help="Another server, in place of a region (or QWEN_REALTIME_URL)."),
        click.option(
            "--api-key-file", type=click.Path(path_type=Path), help="File with the key (or DASHSCOPE_API_KEY)."
        ),
        click.option("--api-key", hidden=True),
        click.option("--proxy", metavar="URL", help="http:// or socks5h:// proxy, in place of the environment's."),
        click.option("--connect-timeout", type=float, default=10.0, show_default=True, metavar="SECONDS"),
    ]
    if one_model:
        told = f"[default: {DEFAULT_MODELS[family]}]" if family else "The model to ask for."
        options.append(click.option("--model", shell_complete=_complete_models(family), help=told))
    if family is not None:
        options.append(
            click.option("--trace", type=click.Path(path_type=Path), help="Record the session to a file; see trace.")
        )
        options.append(
            click.option(
                "--set", "settings", multiple=True, metavar="NAME=VALUE", help="Any setting of the session, as JSON."
            )
        )
    return options


def _target(screen: Screen, given: dict[str, Any]) -> Target:
    """Make a target of the options that belong to it, taking them out."""
    local, key_file, key = given.pop("local"), given.pop("api_key_file"), given.pop("api_key")
    settings = given.pop("settings", ())
    options = {name: given.pop(name, None) for name in ("region", "model", "url", "proxy", "connect_timeout", "trace")}
    options = {name: value for name, value in options.items() if value is not None}
    options.update(map(_setting, settings))
    if local and (key_file or key or "url" in options or "region" in options):
        raise click.UsageError("--local goes without --url, --region and a key")
    if key:
        click.echo(
            "qwen-realtime: a key on the command line is seen by all users of this machine and kept in the shell's "
            "history (use --api-key-file or DASHSCOPE_API_KEY)",
            err=True,
        )
    if key_file is not None:
        key = read_key(key_file)
    return Target(screen, local, options, key)


def _setting(text: str) -> tuple[str, Any]:
    name, equals, value = text.partition("=")
    if not equals:
        raise click.BadParameter(f"{text!r} is not NAME=VALUE", param_hint="--set")
    try:
        return name.strip().replace("-", "_"), json.loads(value)
    except ValueError:
        return name.strip().replace("-", "_"), value


def read_key(path: Path) -> str:
    """The key in a file.

    Raises:
        ConfigError: there is none.
    """
    try:
        key = path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is not text"
        raise ConfigError(f"cannot read the key file {path}: {why}", hint="check --api-key-file") from error
    if not key:
        raise ConfigError(f"the key file {path} is empty", hint="put the key into it, alone")
    return key


# Completion.


def _complete_models(family: Family | None) -> Callable[..., list[CompletionItem]]:
    def complete(_context: click.Context, _parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
        names = [name for name, profile in PROFILES.items() if family in (None, profile.family)]
        return [CompletionItem(name) for name in names if name.startswith(incomplete)]

    return complete


def _complete_voices(family: Family) -> Callable[..., list[CompletionItem]]:
    def complete(context: click.Context, _parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
        profile = PROFILES.get(context.params.get("model") or DEFAULT_MODELS[family])
        voices = profile.voices if profile else ()
        return [CompletionItem(name) for name in voices if name.lower().startswith(incomplete.lower())]

    return complete


def voice_option(family: Family) -> Callable[[F], F]:
    """``--voice``, completed from the model's list."""
    return click.option("--voice", shell_complete=_complete_voices(family), help="One of the model's voices.")
