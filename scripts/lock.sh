#!/usr/bin/env bash
# Writes the hashed locks. No index address goes into them: whoever installs uses the index they trust.
set -euo pipefail
cd "$(dirname "$0")/.."
compile() { .tools/bin/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header --no-annotate --no-emit-index-url "$@"; }
compile pyproject.toml --all-extras --group build -o requirements.txt
compile pyproject.toml --all-extras --group build --group dev -c requirements.txt -o requirements-dev.txt
compile scripts/uv.in -o scripts/uv.txt
