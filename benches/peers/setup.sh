#!/usr/bin/env bash
# Creates the Python environment of the peers with pinned versions (CPython 3.11 or newer).
# Usage: benches/peers/setup.sh [VENV]      default VENV: target/peers-venv
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
venv=${1:-$here/../../target/peers-venv}
"${PYTHON:-python3}" -m venv "$venv"
"$venv/bin/pip" install --quiet --disable-pip-version-check -r "$here/requirements.txt"
"$venv/bin/python" -c 'import exponax, jax_cfd.spectral; print("exponax", exponax.__version__, "and jax-cfd are ready")'
echo "python: $venv/bin/python"
