"""Ask a question and let the server find its end. Arguments: URL, file of 16 kHz PCM."""

# ruff: noqa - written as programs for the vendor's SDK are

import base64
import sys
import threading
import time

import dashscope
from dashscope.audio.qwen_omni import AudioFormat, MultiModality, OmniRealtimeCallback, OmniRealtimeConversation

dashscope.api_key = "sk-any"
done = threading.Event()


class SimpleCallback(OmniRealtimeCallback):
    def on_open(self):
        print("opened")
        self.out = bytearray()

    def on_event(self, response):
        print("event", response["type"])
        if response["type"] == "response.audio.delta":
            self.out += base64.b64decode(response["delta"])
        elif response["type"] == "conversation.item.input_audio_transcription.completed":
            print("result", f"[User] {response['transcript']}")
        elif response["type"] == "response.audio_transcript.done":
            print("result", f"[LLM] {response['transcript']}")
        elif response["type"] == "response.done":
            done.set()


callback = SimpleCallback()
conv = OmniRealtimeConversation(model="qwen3-omni-flash-realtime", callback=callback, url=sys.argv[1])
conv.connect()
conv.update_session(
    output_modalities=[MultiModality.AUDIO, MultiModality.TEXT],
    voice="Cherry",
    input_audio_format=AudioFormat.PCM_16000HZ_MONO_16BIT,
    output_audio_format=AudioFormat.PCM_24000HZ_MONO_16BIT,
    enable_input_audio_transcription=True,
    enable_turn_detection=True,
    turn_detection_type="server_vad",
    instructions="You are a helpful assistant.",
)
silence = bytes(3200)
with open(sys.argv[2], "rb") as f:
    for chunk in iter(lambda: f.read(3200), b""):
        conv.append_audio(base64.b64encode(chunk).decode())
        time.sleep(0.01)
for _ in range(15):
    conv.append_audio(base64.b64encode(silence).decode())
assert done.wait(20)
print("result", len(callback.out) > 0)
conv.close()
conv.thread.join(1)
