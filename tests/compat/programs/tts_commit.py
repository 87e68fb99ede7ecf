"""Speak one sentence after another; the program decides when. Arguments: URL."""

# ruff: noqa - written as programs for the vendor's SDK are

import base64
import sys
import threading

import dashscope
from dashscope.audio.qwen_tts_realtime import AudioFormat, QwenTtsRealtime, QwenTtsRealtimeCallback

dashscope.api_key = "sk-any"


class MyCallback(QwenTtsRealtimeCallback):
    def __init__(self):
        super().__init__()
        self.response_counter = 0
        self.response_done = threading.Event()
        self.finished = threading.Event()
        self.sizes = []

    def reset_event(self):
        self.response_counter += 1
        self.response_done = threading.Event()
        self.sizes.append(0)

    def on_open(self):
        print("opened")

    def on_close(self, close_status_code, close_msg):
        print("closed")

    def on_event(self, response):
        type = response["type"]
        print("event", type)
        if type == "response.audio.delta":
            self.sizes[-1] += len(base64.b64decode(response["delta"]))
        elif type == "response.done":
            self.response_done.set()
        elif type == "session.finished":
            self.finished.set()


callback = MyCallback()
tts = QwenTtsRealtime("qwen3-tts-flash-realtime", callback=callback, url=sys.argv[1])
tts.connect()
tts.update_session(
    voice="Ethan", response_format=AudioFormat.PCM_24000HZ_MONO_16BIT, mode="commit", language_type="English"
)
for sentence in ("This is the first sentence.", "And here is the second one."):
    callback.reset_event()
    tts.append_text(sentence)
    tts.commit()
    assert callback.response_done.wait(20)
tts.append_text("Nobody will hear this.")
tts.clear_appended_text()
tts.finish()
assert callback.finished.wait(20)
tts.close()
print("result", callback.sizes)
