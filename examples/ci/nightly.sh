#!/usr/bin/env bash
# One night on a machine of your own, for cron or systemd: compare, add to the history, write the pages, end with the
# gate's exit code. Stands in one folder with reference.yaml, candidate.yaml, common.yaml and known-differences.yaml.
set -euo pipefail
cd "$(dirname "$(readlink -f "$0")")"

NIGHT=$(date -u +%F)
export NIGHT
tonight=runs/tonight
mkdir -p public
rm -rf "$tonight"

code=0
# A night that is not EQUIVALENT is asked again before it is red, unless all that differs is known.
evalkit compare reference.yaml candidate.yaml --rerun-on-fail --known known-differences.yaml --quiet \
  --out "$tonight" --openmetrics "$tonight/metrics.txt" || code=$?
if [ ! -f "$tonight/comparison.json" ]; then
  exit "$code" # no comparison was made: a mistake in a file (2), an interruption (130)
fi

evalkit report "$tonight" --format html --out "public/$NIGHT.html"
evalkit history add "$tonight" --series nightly
# For Prometheus: let the textfile collector of node_exporter read this folder. The move makes the file whole at once.
mv "$tonight/metrics.txt" public/evalkit.prom
# Known differences are shown and pass; anything else that is not EQUIVALENT ends with its verdict's exit code.
evalkit history --known known-differences.yaml --html public/index.html --gate strict
