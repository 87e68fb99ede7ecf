#!/bin/sh
# All set-up on a fresh machine, then all checks and tests: sh tests/run.sh [arguments of pytest]
set -eu
cd "$(dirname "$0")/.."
. samples/setup.sh

system_packages flite pocketsphinx-testdata apertium apertium-eng-spa \
    pulseaudio pulseaudio-utils libasound2-plugins portaudio19-dev gcc python3-dev \
    chromium fonts-dejavu-core xvfb python3-tk
environment .venv dev,audio
run=.venv/bin/python

"$run" -m ruff check .
"$run" -m ruff format --check .
"$run" -m mypy
"$run" -m pytest "$@" && exit 0
[ $? = 1 ] || exit 1
# Some tests listen in real time, which a machine that is busy with something else cannot do: those that failed are
# run once more, alone. What fails twice has failed.
exec "$run" -m pytest --last-failed --last-failed-no-failures none "$@"
