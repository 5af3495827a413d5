#!/usr/bin/env bash
# Measures how long a server takes to answer questions about a bundle of many calls, and
# how long tshark takes for those that it can answer, on a part of the same capture.
#   BENCH_DIR    where the capture and the bundle are or will be made (default .cache/bench)
#   BENCH_CALLS  number of calls in them (default 5000000)
#   BENCH_PART   tshark reads one packet in this many (default 10)
set -euo pipefail
cd "$(dirname "$0")/../.."
dir=${BENCH_DIR:-.cache/bench} calls=${BENCH_CALLS:-5000000} part=${BENCH_PART:-10}
name=$dir/calls5m
[ "$calls" = 5000000 ] || name=$dir/calls$calls
mkdir -p "$dir"
if [ ! -d "$name.pcapsule" ]; then
	go run ./scripts/bench/calls -n "$calls" -o "$name.pcap" -kube "$name.kube.json"
	bin/pcapsule bundle "$name.pcap" --kube "$name.kube.json" -o "$name.pcapsule"
fi
out=$(mktemp -d)
trap 'rm -rf "$out"' EXIT
go build -o "$out/ask" ./scripts/bench/ask
"$out/ask" "$@" "$name.pcapsule"

printf '\nthe page\n'
bin/pcapsule open --print "$name.pcapsule" >"$out/address" &
server=$!
until grep -q http "$out/address"; do sleep 0.1; done
go run ./scripts/bench/page -server $server "$(grep -o 'http[^ ]*' "$out/address")"
kill $server

printf '\nlooking through texts, beside SQL over the same columns\n'
PCAPSULE_BENCH_CASE=$(realpath "$name.pcapsule") go test ./forensics -run xxx -bench Texts -benchtime 3x | grep ^Benchmark

packets=$(capinfos -Tmrc "$name.pcap" | cut -d, -f2)
editcap -r "$name.pcap" "$out/part.pcap" "1-$((packets / part))"
printf '\ntshark on one packet of %d, the first %d: %d MB\n%-44s %9s %9s %9s\n' "$part" $((packets / part)) $(($(stat -c %s "$out/part.pcap") / 1000000)) "" "CPU s" "wall s" "peak MiB"
peer() { # COMMAND…
	command time -f '%U %S %e %M' -o "$out/t" tshark -n -r "$out/part.pcap" "$@" >/dev/null 2>&1 || true
	read -r u s e m < <(tail -n 1 "$out/t")
	printf '%-44s %9.2f %9.2f %9d\n' "tshark $*" "$(echo "$u + $s" | bc)" "$e" $((m / 1024))
}
peer -Y 'http.response.code>=500' # find_failures
peer -q -z conv,tcp               # list_l4_flows
peer -q -z http,tree              # get_api_stats
peer -q -z http_srv,tree          # get_service_map
peer -Y 'frame contains "req-00000001"' # search_content
