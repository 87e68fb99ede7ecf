"""Speak a text in pieces; the server decides when. Arguments: URL."""

# ruff: noqa - written as programs for the vendor's SDK are

import base64
import sys
import threading

import dashscope
from dashscope.audio.qwen_tts_realtime import *

dashscope.api_key = "sk-any"
pieces = ["Right? I love supermarkets like this. ", "Especially during the New Year, ", "they are a joy."]
qwen_tts_realtime: QwenTtsRealtime = None


class MyCallback(QwenTtsRealtimeCallback):
    def __init__(self):
        self.complete_event = threading.Event()
        self.audio = b""

    def on_open(self) -> None:
        print("opened")

    def on_close(self, close_status_code, close_msg) -> None:
        print("closed")

    def on_event(self, response: str) -> None:
        try:
            type = response["type"]
            print("event", type)
            if "response.audio.delta" == type:
                self.audio += base64.b64decode(response["delta"])
            if "session.finished" == type:
                self.complete_event.set()
        except Exception as e:
            print("[Error]", e)

    def wait_for_finished(self):
        assert self.complete_event.wait(20)


callback = MyCallback()
qwen_tts_realtime = QwenTtsRealtime(model="qwen3-tts-flash-realtime", callback=callback, url=sys.argv[1])
qwen_tts_realtime.connect()
qwen_tts_realtime.update_session(
    voice="Cherry", response_format=AudioFormat.PCM_24000HZ_MONO_16BIT, mode="server_commit"
)
for piece in pieces:
    qwen_tts_realtime.append_text(piece)
qwen_tts_realtime.finish()
callback.wait_for_finished()
print("result", len(callback.audio))
assert qwen_tts_realtime.get_session_id()
assert qwen_tts_realtime.get_last_response_id()
assert qwen_tts_realtime.get_first_audio_delay() > 0
qwen_tts_realtime.close()
