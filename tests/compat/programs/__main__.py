"""Run public programs for the vendor's SDK on ours: python -m tests.compat.programs FOLDER [NAME ...].

Each is copied, its import lines are changed and nothing else, and it runs in a process of its own against the local
server and the virtual sound card. See ``catalogue.py`` and ``PROGRAMS.md``.
"""

from __future__ import annotations

import argparse
import json
import re
import shutil
import sys
import tempfile
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from qwen_realtime.events import SessionUpdate

from ...virtual_audio import virtual_audio
from ..catalogue import PROGRAMS, Program
from ..stage import Running, Stage, import_lines_changed
from ..steering import Detour

HOSTS = Path(__file__).parents[1] / "hosts"


def copied(program: Program, collection: Path, stage: Stage, folder: Path, sdk: str) -> None:
    """Copy a program with its import lines changed, and make what it wants."""
    shutil.copytree(collection / program.name, folder)
    for path in folder.rglob("*.py"):
        if sdk != "vendor":
            source = path.read_text("utf-8")
            path.write_text(import_lines_changed(source, module=sdk == "ours"), "utf-8")
    for name in program.hosts:
        shutil.copy(HOSTS / name, folder / name)
    program.prepare(folder, stage)


def tried(program: Program, collection: Path, stage: Stage, sdk: str, log: Path | None) -> tuple[str, Running]:
    """Run a program; returns what is wrong, which is nothing where all is well, and the program that has ended."""
    server = stage.detour.server
    before = len(server.records)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary) / "program"
        copied(program, collection, stage, folder, sdk)
        command = [program.main, *program.arguments]
        packages = [collection / name for name in program.packages]
        running = Running(stage, command, folder, packages, program.environment)
        wrong = []
        try:
            program.drive(running)
        except AssertionError as error:
            wrong.append(str(error).splitlines()[0])
        heard = running.heard_s
        status = running.finish()
        output = running.output
        if status not in (0, None) and not wrong:
            wrong.append(f"exit status {status}")
        wrong += [f"no {pattern!r}" for pattern in program.says if not re.search(pattern, output)]
        wrong += [f"{name} is empty" for name in program.writes if not _size(folder / name)]
        wrong += [line for line in output.splitlines() if re.search(r"Traceback|\[Error\]|Exception in thread", line)]
        if heard < program.heard_s:
            wrong.append(f"{heard:.1f} s heard")
        sent: Counter[str] = sum((record.client_events for record in list(server.records)[before:]), Counter())
        wrong += [f"no {kind} was sent" for kind in program.events if not sent[kind]]
        if log is not None:
            log.mkdir(parents=True, exist_ok=True)
            name = f"{program.name}.{Path(program.main).stem}.{sdk}"
            (log / f"{name}.txt").write_text(output, "utf-8")
            events = [event for record in list(server.records)[before:] for event in record.received]
            sessions = [event.session for event in events if isinstance(event, SessionUpdate)]
            (log / f"{name}.sessions.json").write_text(json.dumps(sessions, indent=1, ensure_ascii=False), "utf-8")
    return "; ".join(wrong), running


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def main(arguments: Sequence[str] | None = None) -> int:
    """Run from the command line; prints a table, and returns 0 where all is well."""
    parser = argparse.ArgumentParser(prog="python -m tests.compat.programs", description=__doc__)
    parser.add_argument("folder", type=Path, help="has the programs, each in the folder of its name")
    parser.add_argument("names", nargs="*", help="of folders or files; all where none is given")
    parser.add_argument(
        "--log", type=Path, help="a folder for what they print, and for the session objects that they send"
    )
    parser.add_argument(
        "--sdk",
        choices=("ours", "ours-one-line", "vendor"),
        default="ours",
        help="one-line: leave 'import dashscope', which sets the key, as it is; vendor: leave everything",
    )
    options = parser.parse_args(arguments)
    collection: Path = options.folder.resolve()
    chosen = [each for each in PROGRAMS if not options.names or {each.name, each.main} & set(options.names)]
    failures = 0
    with tempfile.TemporaryDirectory() as folder, Detour(Path(folder)) as detour, virtual_audio() as card:
        detour.server.warm_up()
        stage = Stage(detour, card)
        for program in chosen:
            label = f"{program.name}/{program.main}"
            if not (collection / program.name).is_dir():
                failures += 1
                print(f"{label:<45} is not in {collection}")
                continue
            wrong, running = tried(program, collection, stage, options.sdk, options.log)
            failures += bool(wrong)
            print(f"{label:<45}{running.seconds:6.1f} s{running.heard_s:6.1f} s heard   {wrong or 'ok'}", flush=True)
    print(f"{len(chosen) - failures} of {len(chosen)} with {options.sdk}; other hosts asked for: {detour.refused}")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
