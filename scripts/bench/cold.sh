#!/usr/bin/env bash
# Measures how long commands take that start cold, of two programs in turn, and prints one table.
# usage: cold.sh [OLD] NEW
#   BENCH_DIR    where the large capture is or will be made (default .cache/bench)
#   BENCH_LARGE  bytes of that capture (default 1 GB)
#   RUNS         runs of each command (default 7)
#   ONLY         only commands that match this regular expression
#   SAME=1       both programs read the bundles that OLD made
#   KEEP=1       keep the large bundle that NEW made too; that of OLD stays in BENCH_DIR
set -euo pipefail
if [ $# -lt 1 ] || [ $# -gt 2 ]; then
	sed -n '2,/^set/p' "$0" | sed -n 's/^# \?//p'
	exit 2
fi
programs=()
for p in "$@"; do programs+=("$(realpath "$p")"); done
cd "$(dirname "$0")/../.."
dir=${BENCH_DIR:-.cache/bench}
[ -f "$dir/large.pcap" ] || scripts/bench/captures.sh "$dir" 200000000 "${BENCH_LARGE:-1000000000}"
out=$(mktemp -d "$dir/cold.XXXXXX")
trap 'rm -rf "$out"' EXIT
bundles=()
for i in "${!programs[@]}"; do
	if [ "$i" = 1 ] && [ "${SAME:-0}" = 1 ]; then
		bundles+=("${bundles[0]}")
		continue
	fi
	large=$dir/large.$(sha256sum "${programs[i]}" | cut -c1-8).pcapsule
	if [ ! -d "$large" ]; then
		[ "$i" = 0 ] && [ ${#programs[@]} = 2 ] || [ "${KEEP:-0}" = 1 ] || large=$out/large.pcapsule
		"${programs[i]}" bundle "$dir/large.pcap" -o "$large" >/dev/null
	fi
	"${programs[i]}" bundle samples/diameter.pcapng -o "$out/few$i.pcapsule" >/dev/null
	bundles+=("$large,$out/few$i.pcapsule")
done
go build -o "$out/cold" ./scripts/bench/cold
args=()
for i in "${!programs[@]}"; do args+=("${programs[i]}" "${bundles[i]}"); done
"$out/cold" -runs "${RUNS:-7}" -only "${ONLY:-}" "${args[@]}"
