#!/usr/bin/env bash
# Everything that a device is for, in one table, in eight minutes at most.
#
#   benchmarks/device.sh                         # CUDA
#   benchmarks/device.sh --device cpu --small    # so that it cannot rot: two minutes, on a busy machine as long as it takes
#
# Data sets come from HPO_BENCH_DATA, the cache or the package index, as they do everywhere.
set -euo pipefail
cd "$(dirname "$0")/.."
export CUBLAS_WORKSPACE_CONFIG="${CUBLAS_WORKSPACE_CONFIG:-:4096:8}" PYTHONUNBUFFERED=1
export PYTHONPATH="$PWD:$PWD/benchmarks${PYTHONPATH:+:$PYTHONPATH}"
limit=480
[[ " $* " == *" --small "* ]] && limit=3600
exec timeout -k 5 "$limit" python3 benchmarks/device.py "$@"
