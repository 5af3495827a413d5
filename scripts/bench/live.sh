#!/bin/sh
# Measures the lag of db live at a rate of packets (docs/design/031-live.md):
#   scripts/bench/live.sh [PACKETS_PER_SECOND] [TIME]
set -eu
cd "$(dirname "$0")/../.."
dir=$(mktemp -d "${TMPDIR:-/var/tmp}/live.XXXXXX")
trap 'rm -rf "$dir"' EXIT
go build -o "$dir/live" ./scripts/bench/live
"$dir/live" -rate "${1:-20000}" -for "${2:-30s}" -dir "$dir"
