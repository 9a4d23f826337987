#!/bin/sh
# Holds the files of serve/ that deploy to the tools of their kind: sh scripts/lint_deploy.sh VENV
set -eu
cd "$(dirname "$0")/.."
bin=$1/bin

"$bin/hadolint" serve/Dockerfile
"$bin/yamllint" --strict -d '{extends: default, rules: {line-length: disable, braces: disable}}' \
    serve/compose.yaml serve/k8s.yaml
"$bin/check-jsonschema" --builtin-schema vendor.compose-spec serve/compose.yaml
"$bin/kubernetes-validate" --strict serve/k8s.yaml
"$bin/python" scripts/lint_queries.py serve/grafana.json

# aurora is not installed here; what systemd does not know it only warns of, and goes on
sed 's|^ExecStart=/opt/aurora/bin/aurora|ExecStart=/bin/true|' serve/aurora.service >"$1/aurora.service"
said=$(systemd-analyze verify "$1/aurora.service" 2>&1) && [ -z "$said" ] || {
    printf 'serve/aurora.service: %s\n' "${said:-systemd-analyze failed}" >&2
    exit 1
}
echo "serve/: all files pass"
