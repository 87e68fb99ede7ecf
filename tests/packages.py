"""The packages as users get them: ``python tests/packages.py [python ...]``; not part of the normal tests.

Builds the sdist and the wheel (by way of the sdist), and for every Python named, or found as ``python3.10`` to
``python3.14``, installs the wheel alone into an empty environment and lets it work: import, types, the command line,
then with the extras the demo on the local server. Needs a package index for the dependencies.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
VERSIONS = ("3.10", "3.11", "3.12", "3.13", "3.14")
NEEDED = ("qwen_realtime/py.typed", "qwen_realtime/report.html", "qwen_realtime/cli/app.py")

TYPED = """
from qwen_realtime import TTSClient, Speech, Transcript, events, transcribe
from qwen_realtime.server import LocalServer

def speak(text: str) -> Speech:
    with LocalServer() as server, TTSClient(url=server.url, api_key="any", mode="commit") as client:
        @client.on(events.ResponseAudioDelta)
        def heard(event: events.ResponseAudioDelta) -> None:
            size: int = len(event.delta)
            print(size)
        return client.say(text)

def read(path: str) -> Transcript:
    return transcribe(path, language="en")

rate: int = speak("Hello.").sample_rate
words: str = read("x.wav").text
"""

# Each is wrong in one place, which a type checker has to find.
WRONG = TYPED + "\nwrong: str = speak('x').sample_rate\n"

SMOKE = """
import sys, qwen_realtime
assert "site-packages" in qwen_realtime.__file__, qwen_realtime.__file__
assert not {"numpy", "click", "rich", "websockets", "pyaudio"} & set(sys.modules), "importing is not light"
from qwen_realtime import TTSClient, ConfigError, AudioPlayer
from qwen_realtime.audio import MemoryOutput
try:
    TTSClient(voice="Nobody", api_key="k")
except ConfigError as error:
    print("refused:", error)
with AudioPlayer(24000, output=MemoryOutput()) as player:
    player.write(bytes(4800))
print(qwen_realtime.__version__, sys.version.split()[0])
"""


def main() -> int:
    """Build, install and try; the number of Pythons that failed."""
    pythons = sys.argv[1:] or [path for each in VERSIONS if (path := _find(each))]
    with tempfile.TemporaryDirectory(prefix="packages-") as folder:
        work = Path(folder)
        wheel = build(work)
        failed = [python for python in pythons if not _tried(python, wheel, work)]
    print(f"{len(pythons) - len(failed)} of {len(pythons)} came out right" + (f"; not {failed}" if failed else ""))
    return len(failed) or (0 if pythons else 1)


def _find(version: str) -> str | None:
    """A Python by its version: on the path, or in pyenv's folder."""
    found = shutil.which(f"python{version}")
    if found and subprocess.run([found, "-c", ""], capture_output=True, check=False).returncode == 0:
        return found
    home = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
    inside = sorted(home.glob(f"{version}.*/bin/python"))
    return str(inside[-1]) if inside else None


def build(work: Path) -> Path:
    """Build both packages from a clean copy and return the wheel."""
    source = work / "source"
    ignore = shutil.ignore_patterns(".*", "*.egg-info", "__pycache__", "out", "build", "dist")
    shutil.copytree(ROOT, source, ignore=ignore)
    tools = environment(sys.executable, work / "tools")
    run(tools, "-m", "pip", "install", "--quiet", "build")
    run(tools, "-m", "build", "--outdir", str(work / "dist"), str(source))
    (wheel,) = (work / "dist").glob("*.whl")
    (sdist,) = (work / "dist").glob("*.tar.gz")
    names = zipfile.ZipFile(wheel).namelist()
    missing = [name for name in NEEDED if name not in names]
    assert not missing, f"the wheel lacks {missing}"
    assert not [name for name in names if name.startswith(("tests/", "samples/"))], "the wheel holds too much"
    print(f"{wheel.name}: {len(names)} files, {wheel.stat().st_size // 1024} kB; {sdist.name}")
    return wheel


def environment(python: str, folder: Path) -> str:
    """Make an empty virtual environment and return its Python."""
    subprocess.run([python, "-m", "venv", str(folder)], check=True)
    return str(folder / ("Scripts" if os.name == "nt" else "bin") / "python")


def run(python: str, *arguments: str, cwd: Path | None = None, timeout: float = 600) -> str:
    """Run a Python, away from the checkout; its output."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "DASHSCOPE", "QWEN"))}
    done = subprocess.run(
        [python, *arguments], cwd=cwd, env=clean, capture_output=True, text=True, timeout=timeout, check=False
    )
    if done.returncode:
        raise RuntimeError(f"{arguments}: status {done.returncode}\n{done.stdout[-2000:]}{done.stderr[-3000:]}")
    return done.stderr + done.stdout


def _tried(python: str, wheel: Path, work: Path) -> bool:
    name = f"env-{abs(hash(python))}"
    try:
        mine = environment(python, work / name)
        try_one(mine, wheel, work)
    except Exception as error:  # noqa: BLE001 - told, and counted
        print(f"{python}: {error}")
        return False
    shutil.rmtree(work / name, ignore_errors=True)
    return True


def try_one(python: str, wheel: Path, work: Path) -> None:
    """Install the wheel alone, then with its extras, and let it work."""
    run(python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", str(wheel))
    print(run(python, "-c", SMOKE, cwd=work).strip())
    without = subprocess.run(
        [python, "-m", "qwen_realtime"], cwd=work, capture_output=True, text=True, timeout=60, check=False
    )
    assert without.returncode == 1, without
    assert "pip install 'qwen-realtime[cli]'" in without.stderr, without.stderr

    checkers = ("mypy", "pyright[nodejs]")
    run(python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", f"{wheel}[cli,local]", *checkers)
    told = run(python, "-m", "qwen_realtime", "demo", cwd=work)
    print(told.strip().splitlines()[-1])
    program = str(Path(python).with_name("qwen-realtime"))
    subprocess.run([program, "demo", "--local"], cwd=work, check=True, timeout=120, capture_output=True)
    run(python, "-m", "qwen_realtime", "say", "--local", "Hello.", "-o", "x.wav", "--trace", "t.jsonl", cwd=work)
    run(python, "-m", "qwen_realtime", "trace", "report", "t.jsonl", cwd=work)

    (work / "typed.py").write_text(TYPED, encoding="utf-8")
    (work / "wrong.py").write_text(WRONG, encoding="utf-8")
    (work / "pyrightconfig.json").write_text('{"strict": ["."]}', encoding="utf-8")
    for checker in (("mypy", "--strict"), ("pyright", "--pythonpath", python)):
        print(f"{checker[0]}:", run(python, "-m", *checker, "typed.py", cwd=work).strip().splitlines()[-1])
        wrong = subprocess.run(
            [python, "-m", *checker, "wrong.py"], cwd=work, capture_output=True, text=True, check=False
        )
        assert wrong.returncode == 1, wrong
        assert len(re.findall(r"wrong\.py:\d+(?::\d+)?(?::| -) error", wrong.stdout)) == 1, wrong.stdout


if __name__ == "__main__":
    sys.exit(main())
