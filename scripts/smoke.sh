#!/bin/sh
# Installs a wheel into an environment of its own and uses it from an empty folder, up to a stage of
# the demo: sh scripts/smoke.sh dist/aurora_release-0.1.0-py3-none-any.whl [STAGE]
set -eu
wheel=$(realpath "$1")
stage=${2:-clean}
pins=$(realpath "$(dirname "$0")/../constraints.txt")
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT INT TERM
unset PYTHONPATH
cd "$place"
"${PYTHON:-python3}" -m venv venv
venv/bin/pip --disable-pip-version-check install --quiet -c "$pins" ${TORCH_INDEX:+--extra-index-url "$TORCH_INDEX"} "$wheel[all]"
venv/bin/pip --disable-pip-version-check check
mkdir empty
cd empty
aurora=../venv/bin/aurora
case $wheel in *"-$($aurora --version | cut -d' ' -f2)-"*) ;; *) echo "$wheel says another version" >&2; exit 1 ;; esac
$aurora --help >/dev/null
names='import json, sys; print(*(recipe["name"] for recipe in json.load(sys.stdin)))'
for recipe in $($aurora recipes --json | ../venv/bin/python -c "$names"); do
    $aurora run "$recipe" --dry-run >/dev/null
    echo "$recipe can be read"
done
[ -z "$(ls -A)" ] || { echo "a dry run wrote something" >&2; exit 1; }
$aurora run demo --until "$stage"
