#!/usr/bin/env bash
# What the npm package canonicalize takes for the text that json_bench left: milliseconds, one a line. Nothing where it cannot be installed.
#
#   bench/canonicalize_peer.sh [RUNS]
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
node=$("$root/scripts/interop" canonicalize) || exit 0
exec "$node" "$root/interop/canonicalize/peer.mjs" "$root/bench/out/artifact-1MiB.json" "${1-10}"
