#!/usr/bin/env bash
# Measure every hot path on the first GPU, in at most six minutes, and write results/gpu-NAME.csv and .md.
#   tests/benchmarks/gpu.sh                                 all paths
#   tests/benchmarks/gpu.sh --only "quickstart sweep"       one path, with all of the time
#   tests/benchmarks/gpu.sh --device cpu --toy              at toy size without a GPU, to test the script
# It needs Python with this package's dependencies; $PYTHON names another one. Exit status 1: a path was not measured.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
export HF_HUB_OFFLINE=1 TOKENIZERS_PARALLELISM=false
exec timeout --kill-after=5 355 "${PYTHON:-python3}" -u -m tests.benchmarks --device cuda --seconds 330 "$@"
