"""A Flask application around a blueprint that speaks; asks it for a sentence, as a browser would."""

import io
import wave

from flask import Flask  # type: ignore[import-not-found,unused-ignore]
from tts import bp  # type: ignore[import-not-found]  # the program

app = Flask("host")
app.register_blueprint(bp)
answer = app.test_client().post("/api/tts/synthesize", json={"text": "Good morning, everybody.", "voice": "Ethan"})
assert answer.status_code == 200, answer.get_data(as_text=True)
with wave.open(io.BytesIO(answer.data)) as file:
    print(f"spoken: {file.getnframes() / file.getframerate():.1f} s")
