#!/usr/bin/env bash
# Measures the cost of decryption: one conversation captured in clear text and as TLS 1.3, with
# its keys. CPU is user and system seconds of the whole process; memory is its peak.
#   BENCH_DIR   where the captures are or will be made (default .cache/bench)
#   BENCH_TLS   bytes of each capture (default 1 GB)
set -euo pipefail
cd "$(dirname "$0")/.."
dir=${BENCH_DIR:-.cache/bench}/tls
bin=$PWD/bin/pcapsule
bytes=${BENCH_TLS:-1000000000}
mkdir -p "$dir"
if [ "$(stat -c %s "$dir/tls.pcap" 2>/dev/null || echo 0)" -lt "$bytes" ]; then
	go run ./scripts/bench/tlspair "$dir" "$bytes"
fi
out=$(mktemp -d "$dir/run.XXXXXX")
trap 'rm -rf "$out"' EXIT
time_bin=$(command -v time) || { apt-get install -y -qq time >/dev/null && time_bin=/usr/bin/time; }

declare -A cpu
measure() { # NAME COMMAND…: prints a row and remembers the CPU seconds
	local name=$1
	shift
	sync # what the one before wrote must not be written now
	"$time_bin" -f '%U %S %e %M' -o "$out/t" "$@" >"$out/stdout" 2>"$out/stderr" || { echo "$name failed:"; cat "$out/stderr"; }
	read -r u s e m < <(tail -n 1 "$out/t")
	cpu[$name]=$(echo "$u + $s" | bc)
	printf '%-38s %9.2f %9.2f %9d\n' "$name" "${cpu[$name]}" "$e" $((m / 1024))
}
ratio() { printf '%-62s %6.2f\n' "$3" "$(echo "scale=3; ${cpu[$1]} / ${cpu[$2]}" | bc)"; }

cat "$dir"/*.pcap >/dev/null # into the page cache, for all of them
printf '%-38s %9s %9s %9s\n' "tls.pcap, $(($(stat -c %s "$dir/tls.pcap") / 1000000)) MB" "CPU s" "wall s" "peak MiB"
fields=(-T fields -e frame.time_epoch -e ip.src -e http.request.method -e http.request.uri -e http.host -e http.response.code -e http.content_type)
count() { "$bin" sql "$out/a.pcapsule" "select count(*) as n from calls where protocol = 'http1'" --format csv | tail -n 1 | tr -d '\r'; }
measure "pcapsule bundle, in clear" "$bin" bundle "$dir/clear.pcap" -o "$out/a.pcapsule"
clear_calls=$(count)
rm -rf "$out/a.pcapsule"
measure "pcapsule bundle, TLS without keys" "$bin" bundle "$dir/tls.pcap" -o "$out/a.pcapsule"
rm -rf "$out/a.pcapsule"
measure "pcapsule bundle, TLS with keys" "$bin" bundle "$dir/tls.pcap" --keys "$dir/tls.keylog" -o "$out/a.pcapsule"
open_calls=$(count)
rm -rf "$out/a.pcapsule"
measure "tshark -T fields, TLS with keys" tshark -n -r "$dir/tls.pcap" -o "tls.keylog_file:$dir/tls.keylog" -d tcp.port==8443,tls "${fields[@]}"
tshark_calls=$(awk -F'\t' '$3 != ""' "$out/stdout" | wc -l)
echo
echo "HTTP calls: $clear_calls in clear, $open_calls decrypted, $tshark_calls by tshark"
ratio "pcapsule bundle, TLS with keys" "pcapsule bundle, in clear" "TLS with keys / the same in clear (at most 2.5)"
ratio "tshark -T fields, TLS with keys" "pcapsule bundle, TLS with keys" "tshark -T fields / pcapsule, both with keys (wanted: 20)"
