#!/bin/sh
# Makes .venv with everything in it. PYTHON=python3.11 chooses the interpreter; TORCH_INDEX names a
# package index that has torch's CPU builds, where the configured one does not.
set -eu
cd "$(dirname "$0")/.."
VENV=${VENV:-.venv}
PYTHON=${PYTHON:-python3}

say() { printf '\033[1m%s\033[0m\n' "$*"; }
die() { printf 'setup: %s\n' "$*" >&2; exit 2; }

as_root_install() { # Debian packages that pip cannot bring
    [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null || return 1
    apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$@" >/dev/null
}

"$PYTHON" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 13))' 2>/dev/null ||
    die "$PYTHON is not Python 3.11 or 3.12; install one and run: make setup PYTHON=python3.11"
"$PYTHON" -c 'import venv, ensurepip' 2>/dev/null || as_root_install python3-venv ||
    die "$PYTHON has no venv module; on Debian: apt-get install python3-venv"
# gptqmodel depends on pypcre, which PyPI has as source only
command -v cc >/dev/null || as_root_install gcc libc6-dev ||
    die "there is no C compiler; on Debian: apt-get install gcc libc6-dev"

say "Setting up $VENV (about 3 GB, a few minutes): the environment, 1 of 4"
"$PYTHON" -m venv "$VENV"
pip="$VENV/bin/python -m pip --disable-pip-version-check install --quiet -c constraints.txt"
[ -z "${TORCH_INDEX:-}" ] || pip="$pip --extra-index-url $TORCH_INDEX"

say "torch, 2 of 4"
if [ -e /dev/nvidiactl ]; then
    $pip torch==2.13.0
else
    $pip torch==2.13.0+cpu 2>/dev/null || {
        say "No CPU build of torch in this package index: taking the CUDA one (2 GB more)."
        say "To avoid it, give the index of torch's CPU builds: make setup TORCH_INDEX=..."
        $pip torch==2.13.0
    }
fi
say "aurora and the libraries of all its parts, which takes longest, 3 of 4"
$pip -e ".[all,dev]"

say "chromium for the tests of the pages, where it is not there yet, 4 of 4"
if [ -z "${AURORA_NO_BROWSER:-}" ] && ! command -v chromium >/dev/null; then
    as_root_install chromium || say "no chromium: that test will say so (AURORA_NO_BROWSER=1 skips it)"
fi
touch "$VENV/.ready"
say "Ready: $VENV/bin/aurora   (next: . $VENV/bin/activate; aurora doctor)"
