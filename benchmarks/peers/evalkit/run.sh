#!/usr/bin/env bash
# evalkit as a peer of the other harnesses in the side-by-side measurements:
# DATA_DIR C TASKS (comma-separated) [more options of `evalkit run`].
# Reads DATA_DIR/items/NAME.jsonl (id, prompt, answer) and asks $SIM_BASE; needs `evalkit` on PATH or $EVALKIT.
set -euo pipefail
data=$1 concurrency=$2 tasks=$3
shift 3
home=$(cd "$(dirname "$0")" && pwd)
work=${SIM_DIR:-$(mktemp -d)}
mkdir -p "$work/suites"
suites=()
for name in ${tasks//,/ }; do
  name=${name#sim_}
  sed -e "s|@NAME@|$name|g" -e "s|@FILE@|$(cd "$data" && pwd)/items/$name.jsonl|g" "$home/suite.yaml.in" >"$work/suites/sim_$name.yaml"
  suites+=("{name: sim_$name}")
done
cat >"$work/endpoint.yaml" <<YAML
name: sim
base_url: $SIM_BASE
model: sim-model
runs: $work/runs
suite_folders: [$work/suites]
limits: {concurrency: $concurrency}
suites: [$(IFS=,; echo "${suites[*]}")]
YAML
exec "${EVALKIT:-evalkit}" run "$work/endpoint.yaml" --quiet "$@"
