#!/usr/bin/env bash
# Measures how long each template's report about 5 million calls takes, and fails if one takes more than 30 s
# or 1 GiB. It uses the bundle that ask.sh makes.
set -euo pipefail
cd "$(dirname "$0")/../.."
bundle=${BENCH_DIR:-.cache/bench}/calls5m.pcapsule
out=$(mktemp -d)
trap 'rm -rf "$out"' EXIT

# resident prints the memory of a program and of the processes that it started, in KiB.
resident() { ps -o rss= --pid "$1" --ppid "$1" | awk '{ n += $1 } END { print n + 0 }'; }

failed=0
printf '%-14s %7s %8s %6s %8s\n' template 'CPU s' 'clock s' MiB 'file kB'
for template in report/templates/*.yaml; do
	template=$(basename "$template" .yaml)
	TIMEFORMAT='%U %S %R'
	{ time bin/pcapsule report "$bundle" --template "$template" -o "$out/r.html" >/dev/null 2>"$out/errors"; } 2>"$out/time" &
	peak=0
	while kill -0 $! 2>/dev/null; do
		program=$(pgrep -P $! pcapsule || true)
		[ -z "$program" ] || now=$(resident "$program")
		[ "${now:-0}" -le "$peak" ] || peak=$now
		sleep 0.1
	done
	wait $! || { cat "$out/errors" >&2; exit 1; }
	read -r user system clock <"$out/time"
	printf '%-14s %7.1f %8.1f %6d %8d\n' "$template" "$(echo "$user + $system" | bc)" "$clock" $((peak / 1024)) $(($(stat -c %s "$out/r.html") / 1000))
	[ $((peak / 1024)) -le 1024 ] && [ "$(echo "$clock <= 30" | bc)" = 1 ] || failed=1
	rm "$out/r.html"
done
[ $failed = 0 ] || echo "over 30 s or 1 GiB" >&2
exit $failed
