"""The layers of the package, read from its imports: arrows point one way, and heavy things stay outside."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import qwen_realtime

PACKAGE = Path(qwen_realtime.__file__).parent
NAME = "qwen_realtime"


def _modules() -> dict[str, Path]:
    """All modules by their name inside the package; a package is named by itself."""
    modules = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(PACKAGE).with_suffix("").parts
        modules[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return modules


MODULES = _modules()


def _is_typing_only(node: ast.If) -> bool:
    return isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"


def _import_nodes(tree: ast.AST) -> Iterator[ast.Import | ast.ImportFrom]:
    """Imports that happen at run time, also those inside functions."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, (ast.Import, ast.ImportFrom)):
            yield node
        elif not (isinstance(node, ast.If) and _is_typing_only(node)):
            yield from _import_nodes(node)


def _imports(module: str) -> set[str]:
    """What a module imports: ``.x`` for modules of this package, plain names for others."""
    path = MODULES[module]
    here = ([*module.split("."), ""] if path.name == "__init__.py" else module.split(".")) if module else [""]
    found: set[str] = set()
    for node in _import_nodes(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
            continue
        names = [alias.name for alias in node.names]
        if node.level:
            base = [each for each in here[: len(here) - node.level] if each]
            base += node.module.split(".") if node.module else []
        elif node.module and node.module.split(".")[0] == NAME:
            base = node.module.split(".")[1:]
        else:
            found.add(node.module or "")
            continue
        target = ".".join(base)
        for name in names:
            inner = f"{target}.{name}" if target else name
            found.add(f".{inner if inner in MODULES else target}")
    return {f".{each[len(NAME) + 1 :]}" if each.split(".")[0] == NAME else each for each in found}


IMPORTS = {module: _imports(module) for module in MODULES}


def _within(module: str, *packages: str) -> bool:
    return any(module == package or module.startswith(f"{package}.") for package in packages)


def _ours(module: str) -> set[str]:
    return {each[1:] for each in IMPORTS[module] if each.startswith(".")}


# The core, the ground first: a module imports from its own row and from those before it.
LAYERS = [
    ["errors", "version", "notices", "locks"],
    ["events", "protocol"],
    ["codec", "settings", "hints", "endpoints", "sockets", "masking", "trace", "recording", "metrics", "reconnect"],
    ["handlers", "mailbox", "dialing", "journal", "results", "chunking", "tools"],
    ["transport", "receiver", "sources", "recovery"],
    ["handshake", "connection", "dispatch"],
    ["session", "toolbox"],
    ["resumable"],
    ["client"],
    ["families"],
    ["helpers"],
]
LEVEL = {module: level for level, row in enumerate(LAYERS) for module in row}

# Modules that sit on top of the clients, or beside them: anything may be below them, and nothing of the core above.
ABOVE = ("voice", "echo", "subtitles", "batch", "cli", "compat", "doctor", "report", "testing", "__main__")

# Worlds of their own, with rules of their own below.
BESIDE = ("audio", "server")


def _level(module: str) -> int | None:
    return LEVEL.get(module.split(".")[0])


def test_every_module_has_its_place() -> None:
    """One that is new is put into the list; one that is gone is taken out."""
    assert {module.split(".")[0] for module in MODULES if module} == {*LEVEL, *ABOVE, *BESIDE}


@pytest.mark.parametrize("module", [each for each in MODULES if _level(each) is not None])
def test_the_core_points_downwards(module: str) -> None:
    """A module imports from its own row in the list and from those before it."""
    mine = _level(module)
    for target in _ours(module):
        theirs = _level(target)
        if theirs is not None:
            assert mine is not None
            assert theirs <= mine, f"{module} imports {target}, which is above it"
        assert not _within(target, *ABOVE, "server"), f"{module} imports {target}"


def test_there_are_no_circles() -> None:
    """Within a row neither."""
    done: set[str] = set()

    def visit(module: str, path: tuple[str, ...]) -> None:
        assert module not in path, " -> ".join((*path[path.index(module) :], module))
        if module in done:
            return
        for target in _ours(module):
            if target in MODULES and target not in ("", module):
                visit(target, (*path, module))
        done.add(module)

    for module in MODULES:
        if module:
            visit(module, ())


def test_errors_know_nothing() -> None:
    """They are at the bottom."""
    assert IMPORTS["errors"] <= {"__future__"}


def test_events_and_protocol_do_no_io() -> None:
    """No socket, thread or clock below the connection."""
    forbidden = {"socket", "ssl", "select", "threading", "queue", "time", "selectors", "asyncio"}
    for module in MODULES:
        if _within(module, "errors", "events", "protocol", "codec", "settings", "hints", "results"):
            assert not IMPORTS[module] & forbidden, module


def test_audio_imports_errors_and_locks_only() -> None:
    """It knows neither events nor sockets."""
    for module in MODULES:
        if _within(module, "audio"):
            assert all(_within(target, "audio", "errors", "locks") for target in _ours(module)), (module, _ours(module))


def test_the_server_knows_nothing_of_the_client() -> None:
    """It shares events, codec, protocol, settings and errors, and is judged by the same table."""
    client = (
        "client",
        "connection",
        "transport",
        "handshake",
        "dialing",
        "dispatch",
        "families",
        "helpers",
        "handlers",
        "mailbox",
    )
    for module in MODULES:
        if _within(module, "server"):
            assert not any(_within(target, *client) for target in _ours(module)), (module, _ours(module))


@pytest.mark.parametrize(
    ("imported", "allowed"),
    [
        ("websocket", {"handshake"}),
        ("base64", {"codec", "dialing", "compat.dashscope.omni"}),  # the vendor's classes speak base64
        ("binascii", {"codec"}),
        ("pyaudio", {"audio.devices"}),
        ("av", {"audio.compressed"}),
        ("dashscope", set()),
        ("pickle", set()),
        ("multiprocessing", set()),
        ("asyncio", set()),
    ],
)
def test_each_border_has_one_gate(imported: str, allowed: set[str]) -> None:
    """A library is named in the one module that knows it."""
    users = {module for module in MODULES if any(each.split(".")[0] == imported for each in IMPORTS[module])}
    assert users <= allowed


def test_websockets_is_for_the_server_only() -> None:
    """The client has a library of its own."""
    users = {module for module in MODULES if any(each.split(".")[0] == "websockets" for each in IMPORTS[module])}
    assert all(_within(module, "server", "testing") for module in users), users


def test_importing_the_package_imports_nothing_heavy() -> None:
    """Neither numpy, nor an audio library, nor the server's libraries."""
    heavy = ["numpy", "pyaudio", "av", "websockets", "pocketsphinx", "click", "rich", "asyncio"]
    program = f"import sys, {NAME}; print(*(name for name in {heavy!r} if name in sys.modules))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.strip() == ""


def test_public_names_are_there() -> None:
    """Also those that are imported late; others are not."""
    for name in qwen_realtime.__all__:
        assert getattr(qwen_realtime, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'Nonsense'"):
        qwen_realtime.Nonsense  # noqa: B018 - the access is the test
