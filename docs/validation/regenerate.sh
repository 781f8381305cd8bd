#!/bin/sh
# Prints the tables of docs/validation.md anew from the stored runs; needs evalkit installed, and no network.
set -e
here=$(cd "$(dirname "$0")" && pwd)
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
tar -xJf "$here/runs.tar.xz" -C "$scratch"
"${PYTHON:-python3}" "$here/tables.py" "$scratch" "$here/probes" "$here/bisect.jsonl.xz"
echo
"${PYTHON:-python3}" "$here/smoke/table.py" "$here/smoke/results.jsonl.xz"
