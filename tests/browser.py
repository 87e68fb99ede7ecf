"""A headless Chromium, driven through its debugging protocol, for tests that look at pages."""

from __future__ import annotations

import itertools
import json
import shutil
import subprocess
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import websocket

__all__ = ["Page", "browser"]

_NAMES = ("chromium", "chromium-browser", "google-chrome")
_FLAGS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--remote-debugging-port=0"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync", "--mute-audio"),
    *("--autoplay-policy=no-user-gesture-required", "--host-resolver-rules=MAP * ~NOTFOUND"),
)
START_S = 30.0


class Page:
    """One page; its methods block on the browser, at most ten seconds."""

    def __init__(self, url: str) -> None:
        self._socket = websocket.create_connection(url, timeout=10, suppress_origin=True)
        self._ids = itertools.count(1)
        self._loads = 0  # pages that have been loaded
        self.problems: list[str] = []  # what the page threw

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Call a method of the protocol and wait for its answer."""
        number = next(self._ids)
        self._socket.send(json.dumps({"id": number, "method": method, "params": parameters}))
        while True:
            message = self._receive()
            if message.get("id") == number:
                assert "error" not in message, message
                return dict(message["result"])

    def _receive(self) -> dict[str, Any]:
        message: dict[str, Any] = json.loads(self._socket.recv())
        if message.get("method") == "Runtime.exceptionThrown":
            self.problems.append(json.dumps(message["params"])[:500])
        elif message.get("method") == "Page.loadEventFired":
            self._loads += 1
        return message

    def open(self, path: Path, width: int, height: int) -> None:
        """Show a file in a window of that size; returns when the page says that it is ready."""
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
        self.call("Emulation.setDeviceMetricsOverride", **size)
        self.call("Runtime.enable")
        self.call("Page.enable")
        self._loads = 0
        self.call("Page.navigate", url=path.resolve().as_uri())
        while not self._loads:  # its script has run then
            self._receive()

    def evaluate(self, script: str) -> Any:
        """The value of a JavaScript expression, awaited."""
        result = self.call("Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True)
        assert "exceptionDetails" not in result, result["exceptionDetails"]
        return result["result"].get("value")

    def press(self, kind: str, x: float, y: float, **more: Any) -> None:
        """Send a mouse event."""
        self.call("Input.dispatchMouseEvent", type=kind, x=x, y=y, **more)

    def close(self) -> None:
        """Let the page go."""
        self._socket.close()


@contextmanager
def browser() -> Iterator[Page]:
    """Run a browser without a profile and without a network, with one page.

    Raises:
        RuntimeError: none is installed, or it does not start. Never a skipped test.
    """
    program = next(filter(None, map(shutil.which, _NAMES)), None)
    if program is None:
        raise RuntimeError("pages are tested in a browser: apt-get install -y chromium")
    profile = tempfile.mkdtemp(prefix="browser-")
    process = subprocess.Popen(
        [program, *_FLAGS, f"--user-data-dir={profile}", "about:blank"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    watch = threading.Timer(START_S, process.kill)
    watch.start()
    try:
        assert process.stderr is not None
        told = next((line for line in process.stderr if "DevTools listening on" in line), "")
        if not told:
            raise RuntimeError(f"{program} did not start")
        drain = threading.Thread(target=process.stderr.read, daemon=True)
        drain.start()
        address = told.rpartition("ws://")[2].partition("/")[0]
        listing = websocket.create_connection(told.split()[-1], timeout=10, suppress_origin=True)
        listing.send(json.dumps({"id": 1, "method": "Target.getTargets"}))
        targets = json.loads(listing.recv())["result"]["targetInfos"]
        listing.close()
        target = next(each["targetId"] for each in targets if each["type"] == "page")
        page = Page(f"ws://{address}/devtools/page/{target}")
        try:
            yield page
        finally:
            page.close()
    finally:
        watch.cancel()
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(10)
        if process.stderr is not None:
            process.stderr.close()
        shutil.rmtree(profile, ignore_errors=True)
