#!/bin/bash
# Starts on one GPU all servers that ask.py asks, side by side, and waits until each answers or has ended: `serve.sh WEIGHTS`.
# vLLM, FlagGems and examples/vllm-flaggems/plugin have to be importable by "$PYTHON"; logs are written to "$LOGS".
here=$(cd "$(dirname "$0")" && pwd); root=$(cd "$here/../../.." && pwd); weights=$1; logs=${LOGS:-/tmp/smoke-logs}; python=${PYTHON:-python3}
mkdir -p "$logs"; ports=()
export VLLM_NO_USAGE_STATS=1 DO_NOT_TRACK=1 HF_HUB_OFFLINE=1 VLLM_USE_FLASHINFER_SAMPLER=0
one() { # NAME PORT [VARIABLE=VALUE...] [-- FLAG...]
  local name=$1 port=$2 variables=(); shift 2
  while [ $# -gt 0 ] && [ "$1" != -- ]; do variables+=("$1"); shift; done; shift
  local mode=--enforce-eager; [ "$name" = compiled ] && mode=--no-enforce-eager
  env "${variables[@]}" setsid nohup "$python" -W ignore -m vllm.entrypoints.cli.main serve "$weights" \
    --served-model-name smollm2 --host 127.0.0.1 --port "$port" --dtype bfloat16 --max-model-len 8192 $mode \
    --gpu-memory-utilization 0.06 --kv-cache-memory-bytes 2G --enable-auto-tool-choice --tool-call-parser hermes "$@" \
    >"$logs/$name.log" 2>&1 &
  ports+=("$name:$port:$!")
}
one native 8001
one native-again 8002
one compiled 8003
one triton-attention 8004 -- --attention-backend TRITON_ATTN
one float16 8005 -- --dtype float16
one small-batches 8006 -- --no-enable-prefix-caching --max-num-seqs 8 --max-num-batched-tokens 8192
one chunked 8007 -- --max-num-batched-tokens 256
one flaggems 8008 USE_FLAGGEMS=1 GEMS_UNUSED=mul,mul_,mm
one damaged 8011 DAMAGED_OPERATORS=mm DAMAGED_BITS=3
one rope 8012 -- '--hf-overrides={"rope_parameters": {"rope_type": "default", "rope_theta": 10000.0}}'
one template 8013 -- --chat-template "$root/examples/vllm-flaggems/no-system.jinja"
one kv-fp8 8014 -- --kv-cache-dtype fp8
one weights-fp8 8015 -- --quantization fp8
one truncated 8016 -- '--override-generation-config={"max_new_tokens": 3}'
for entry in "${ports[@]}"; do
  IFS=: read -r name port pid <<<"$entry"
  for second in $(seq "${WAIT_SECONDS:-200}"); do
    curl -sf "http://127.0.0.1:$port/health" >/dev/null && { echo "$name: up"; break; }
    kill -0 "$pid" 2>/dev/null || { echo "$name: ended: $(grep -a Error "$logs/$name.log" | tail -1 | cut -c1-200)"; break; }
    sleep 1
  done
done
