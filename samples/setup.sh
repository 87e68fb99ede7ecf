# Sourced by samples/demo.sh and tests/run.sh, in the project's folder: what a fresh machine needs.

# Install Debian packages that are missing, where that is possible; say what is missing where it is not.
system_packages() {
    command -v dpkg-query >/dev/null 2>&1 || { echo "not Debian: install by hand the likes of: $*"; return 0; }
    missing=""
    for package in "$@"; do
        dpkg-query -W -f '${Status}' "$package" 2>/dev/null | grep -q "install ok installed" || missing="$missing $package"
    done
    [ -z "$missing" ] && return 0
    if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null 2>&1; then
        echo "not installed, and only root can:  apt-get install$missing"
        return 0
    fi
    echo "installing$missing"
    apt-get update -qq >/dev/null 2>&1 || true
    # shellcheck disable=SC2086  # a list of names
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $missing >/dev/null 2>&1 ||
        echo "could not install$missing"
}

# Make a virtual environment and install the project into it with the extras named: environment FOLDER EXTRAS.
environment() {
    folder=$1
    extras=$2
    python=${PYTHON:-python3}
    if [ ! -x "$folder/bin/python" ]; then
        "$python" -m venv "$folder" 2>/dev/null || {
            rm -rf "$folder"
            system_packages python3-venv
            "$python" -m venv "$folder"
        }
    fi
    echo "installing qwen-realtime[$extras] into $folder"
    "$folder/bin/python" -m pip install --quiet --disable-pip-version-check -e ".[$extras]"
}
