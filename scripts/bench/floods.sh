#!/usr/bin/env bash
# Bundles floods with one or two programs in turn: floods.sh [OLD] NEW. It prints CPU seconds for each GB, how much twice
# the input costs, and the peak memory.
set -euo pipefail
cd "$(dirname "$0")/../.."
dir=$(mktemp -d "${TMPDIR:-/tmp}/floods.XXXXXX")
trap 'rm -rf "$dir"' EXIT
go build -o "$dir/floods" ./scripts/bench/floods
type -P time >/dev/null || apt-get install -y -qq time >/dev/null
measure() { # PROGRAM CAPTURE: sets cpu and most
	local user system
	rm -rf "$dir/x.pcapsule"
	"$(type -P time)" -f '%U %S %M' -o "$dir/t" "$1" bundle "$2" -o "$dir/x.pcapsule" >/dev/null 2>&1
	read -r user system most < <(tail -n 1 "$dir/t")
	cpu=$(echo "$user + $system" | bc) most=$((most / 1024))
}
printf '%-10s %10s  %-28s %10s %12s %14s %10s\n' flood packets program "CPU s" "CPU s / GB" "for twice it" "peak MiB"
for kind in "dns 100000" "gets 50000" "syn 500000" "streams 200000"; do
	read -r name n <<<"$kind"
	"$dir/floods" "$name" "$n" >"$dir/one.pcap"
	"$dir/floods" "$name" $((2 * n)) >"$dir/two.pcap"
	for program in "$@"; do
		measure "$program" "$dir/two.pcap"
		two=$cpu
		measure "$program" "$dir/one.pcap"
		printf '%-10s %10d  %-28s %10.2f %12.0f %14.2f %10d\n' "$name" "$n" "$program" "$cpu" \
			"$(echo "scale=3; $cpu * 1000000000 / $(stat -c %s "$dir/one.pcap")" | bc)" "$(echo "scale=3; $two / $cpu" | bc)" "$most"
	done
done
