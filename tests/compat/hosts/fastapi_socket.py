"""A browser at a FastAPI application's WebSocket that speaks what it is sent."""

import base64
import logging
import sys
import types

from fastapi import FastAPI, WebSocketDisconnect
from fastapi.testclient import TestClient

logging.basicConfig(level=logging.WARNING)
app = FastAPI()
# the two modules of the application around the program
sys.modules["web"], sys.modules["web.web"] = types.ModuleType("web"), types.ModuleType("web.web")
sys.modules["web.web"].app = app  # type: ignore[attr-defined]
sys.modules["bootstrap"], sys.modules["bootstrap.logger"] = types.ModuleType("b"), types.ModuleType("b.logger")
sys.modules["bootstrap.logger"].get_logger = logging.getLogger  # type: ignore[attr-defined]

import tts_service  # type: ignore[import-not-found]  # noqa: E402, F401 - the program; it adds a route

sound = 0
seen: list[str] = []
with TestClient(app).websocket_connect("/ws/tts") as browser:
    browser.send_json({"event": "send_text", "data": "Good morning, everybody."})
    browser.send_json({"event": "send_text", "data": "How are you?"})
    browser.send_json({"event": "close"})
    while not seen or seen[-1] != "session_finished":
        try:
            message = browser.receive_json()
        except WebSocketDisconnect:  # the program may drop its last message: it cancels who sends when all has come
            break
        if message["event"] == "audio_delta":
            sound += len(base64.b64decode(message["data"]))
        else:
            seen.append(message["event"])
print(seen)
print(f"spoken: {sound / 48000:.1f} s")
