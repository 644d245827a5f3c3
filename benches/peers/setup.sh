#!/usr/bin/env bash
# Creates the Python environment of the peers with pinned versions (CPython 3.11 or newer).
# Usage: benches/peers/setup.sh [VENV]      default VENV: target/peers-venv
#        TORCH=1 benches/peers/setup.sh     also PyTorch (4 GB), for the learned workloads and tests/golden
#        AMGCL=1 benches/peers/setup.sh     also AMGCL; needs a C++ compiler and the headers of Boost
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
venv=${1:-$here/../../target/peers-venv}
"${PYTHON:-python3}" -m venv "$venv"
"$venv/bin/pip" install --quiet --disable-pip-version-check -r "$here/requirements.txt"
"$venv/bin/python" -c 'import exponax, jax_cfd.spectral; print("exponax", exponax.__version__, "and jax-cfd are ready")'
if [ -n "${TORCH:-}" ]; then
    # The wheel links the libraries of CUDA, used or not; triton and cuda-bindings can be spared, hence --no-deps.
    "$venv/bin/pip" install --quiet --disable-pip-version-check --no-deps -r "$here/requirements-torch.txt"
    "$venv/bin/python" -c 'import torch; print("torch", torch.__version__, "is ready")'
fi
if [ -n "${AMGCL:-}" ]; then
    sources=$(mktemp -d)
    "$venv/bin/pip" download --quiet --disable-pip-version-check --no-deps --no-binary :all: \
        --dest "$sources" pyamgcl==1.0.0.post4
    tar --extract --strip-components 1 --directory "$sources" --file "$sources"/pyamgcl-1.0.0.post4.tar.gz
    "${CXX:-g++}" -O3 -march=native -DNDEBUG -std=c++17 -fopenmp -w -I"$sources" "$here/amgcl_cases.cpp" \
        -o "$venv/bin/amgcl_cases"
    rm -r "$sources"
    echo "amgcl: $venv/bin/amgcl_cases"
fi
echo "python: $venv/bin/python"
