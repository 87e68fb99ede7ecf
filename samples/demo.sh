#!/bin/sh
# All set-up on a fresh machine, then the main job on the embedded local server: sh samples/demo.sh
set -eu
cd "$(dirname "$0")/.."
. samples/setup.sh

# the voice that recognition understands best, human recordings, and a translator
system_packages flite pocketsphinx-testdata apertium apertium-eng-spa
environment .venv local
exec .venv/bin/python samples/demo.py "$@"
