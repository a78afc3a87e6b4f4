#!/bin/sh
# Install from Debian or Ubuntu what the tests work with: servers, a compiler for the
# sketch of a board, a virtual display and a browser. Tests start their own, on ports of
# their own. Usage: tests/services.sh [sudo]
set -eu
sudo=${1:-}

# A command or file, and the package that has it.
missing=
need() {
    command -v "$1" >/dev/null || ls $1 >/dev/null 2>&1 || missing="$missing $2"
}
need '/usr/lib/postgresql/*/bin/initdb' postgresql
need redis-server redis-server
need /usr/sbin/nginx nginx-light
need curl curl
need node nodejs
need npm npm
need g++ g++
need Xvfb xvfb
need xauth xauth
need xdotool xdotool

# Of PsychoPy: OpenGL, fonts, sound, and Qt's dialogs.
libraries="libgl1 libglu1-mesa libgl1-mesa-dri libfontconfig1 fonts-dejavu-core
    libasound2 libjack-jackd2-0 libglib2.0-0 libportaudio2 libegl1 libdbus-1-3
    libxkbcommon-x11-0 libxcb-cursor0 libxcb-icccm4 libxcb-image0 libxcb-keysyms1
    libxcb-render-util0 libxcb-shape0"
for library in $libraries; do
    dpkg-query --show --showformat '${db:Status-Status}' "$library" 2>/dev/null |
        grep -q '^installed' ||
        dpkg-query --show --showformat '${db:Status-Status}' "${library}t64" \
            2>/dev/null | grep -q '^installed' || missing="$missing $library"
done

# Ubuntu's chromium is a snap; there the tests take Playwright's.
ubuntu=$(. /etc/os-release 2>/dev/null && echo "${ID:-}" | grep -x ubuntu || true)
[ -n "$ubuntu" ] || need chromium chromium

if [ -n "$missing" ]; then
    command -v apt-get >/dev/null || { echo "install:$missing" >&2; exit 1; }
    echo "Installing for the tests:$missing ..."
    $sudo apt-get -qq update
    packages=
    for package in $missing; do
        # Since 2024 some libraries have the width of their time in their name.
        apt-cache show "${package}t64" >/dev/null 2>&1 && package=${package}t64
        packages="$packages $package"
    done
    $sudo env DEBIAN_FRONTEND=noninteractive apt-get -qq install --yes \
        --no-install-recommends $packages
fi
[ -z "$ubuntu" ] || .venv/bin/playwright install --with-deps chromium
