#!/usr/bin/env bash
# Measures pcapsule and the tools a person would use instead, in one run, and prints
# ratios. CPU is user and system seconds of the whole process; memory is its peak.
#   scripts/bench.sh floods  only long floods, whose memory has a limit; 1 min
#   BENCH_DIR   where the captures are or will be made (default .cache/bench)
#   BENCH_LARGE bytes of the large capture (default 1 GB); BENCH_SMALL of the small one
set -euo pipefail
cd "$(dirname "$0")/.."
dir=${BENCH_DIR:-.cache/bench}
bin=$PWD/bin/pcapsule
mkdir -p "$dir"
[ "${1:-}" = floods ] || [ -f "$dir/large.pcap" ] || scripts/bench/captures.sh "$dir" "${BENCH_SMALL:-200000000}" "${BENCH_LARGE:-1000000000}"
command -v tcpflow >/dev/null || { apt-get update -qq >/dev/null && apt-get install -y -qq --no-install-recommends tcpflow >/dev/null; } || true
out=$(mktemp -d "$dir/run.XXXXXX")
trap 'rm -rf "$out"' EXIT
time_bin=$(command -v time) || { apt-get install -y -qq time >/dev/null && time_bin=/usr/bin/time; }

declare -A cpu
measure() { # NAME COMMAND…: prints a row and remembers the CPU seconds
	local name=$1
	shift
	"$time_bin" -f '%U %S %e %M' -o "$out/t" "$@" >"$out/stdout" 2>"$out/stderr" || { echo "$name failed:"; cat "$out/stderr"; }
	read -r u s e m < <(tail -n 1 "$out/t")
	cpu[$name]=$(echo "$u + $s" | bc) peak=$((m / 1024))
	printf '%-38s %9.2f %9.2f %9d\n' "$name" "${cpu[$name]}" "$e" $((m / 1024))
}
ratio() { printf '%-62s %6.1f\n' "$3" "$(echo "scale=3; ${cpu[$1]} / ${cpu[$2]}" | bc)"; }
header() { printf '\n%-38s %9s %9s %9s\n' "$1" "CPU s" "wall s" "peak MiB"; }

if [ "${1:-}" = floods ]; then sizes=(); else sizes=(small large); fi
for size in "${sizes[@]}"; do
	f=$dir/$size.pcap
	bytes=$(stat -L -c %s "$f")
	cat "$f" >/dev/null # into the page cache, for all of them
	header "$size.pcap, $((bytes / 1000000)) MB"
	measure "cat" sh -c "cat $f >/dev/null"
	measure "sha256sum" sha256sum "$f"
	measure "tcpdump -r -w (port 8080)" tcpdump -r "$f" -w "$out/x.pcap" tcp port 8080
	command -v tcpflow >/dev/null && { mkdir -p "$out/flows"; measure "tcpflow" tcpflow -r "$f" -o "$out/flows"; rm -rf "$out/flows"; }
	measure "pcapsule bundle" "$bin" bundle "$f" -o "$out/a.pcapsule"
	measure "tshark -Y (one question)" tshark -n -r "$f" -Y 'http.response.code==500'
	measure "tshark -T fields (7 http fields)" tshark -n -r "$f" -T fields -e frame.time_epoch -e ip.src -e http.request.method -e http.request.uri -e http.host -e http.response.code -e http.content_type
	measure "tshark -z conv,tcp" tshark -n -r "$f" -q -z conv,tcp
	[ "$size" = small ] && measure "tshark -Y http -T ek" tshark -n -r "$f" -Y http -T ek
	measure "pcapsule query (cold)" "$bin" query "$out/a.pcapsule" 'http && status_code == 500' --format json --limit 1000
	measure "pcapsule sql (cold)" "$bin" sql "$out/a.pcapsule" 'select protocol, count(*) from calls group by 1'
	measure "pcapsule packets" "$bin" packets "$out/a.pcapsule" 'http && status_code == 500' -o "$out/slice.pcapng"
	measure "tshark -w (the same packets)" tshark -n -r "$f" -Y 'http.response.code==500' -w "$out/peer.pcapng"
	measure "pcapsule verify" "$bin" verify "$out/a.pcapsule"
	packed=$(du -sb "$out/a.pcapsule" | cut -f1)
	printf '%-38s %9.3f times the capture\n' "bundle size" "$(echo "scale=4; $packed / $bytes" | bc)"
	echo
	ratio "tshark -T fields (7 http fields)" "pcapsule bundle" "tshark -T fields / pcapsule bundle (wanted: 10, aim: 20)"
	ratio "tshark -Y (one question)" "pcapsule bundle" "tshark, one question / pcapsule bundle with all protocols"
	ratio "tshark -Y (one question)" "pcapsule query (cold)" "tshark, one question / pcapsule query on the bundle"
	ratio "tshark -w (the same packets)" "pcapsule packets" "tshark -w / pcapsule packets"
	[ "$size" = small ] && ratio "tshark -Y http -T ek" "pcapsule bundle" "tshark -T ek / pcapsule bundle"
	rm -rf "$out"/a.pcapsule "$out"/*.pcap*
done
# Long floods must stay below --memory, which does not count the program's own pages: what a small
# capture takes, and 16 MiB because the collector may run late.
flood() { # NAME ARGUMENTS of crowd: makes a bundle with the default limit and with 64 MiB
	local f=$out/flood.pcap
	"$out/crowd" "${@:2}" >"$f"
	header "$1, $(($(stat -c %s "$f") / 1000000)) MB"
	for limit in 256 64; do
		measure "pcapsule bundle --memory ${limit}MiB" "$bin" bundle "$f" --memory "${limit}MiB" -o "$out/a.pcapsule"
		[ $peak -le $((limit + own + 16)) ] || { echo "the peak is above the limit"; flooded=1; }
		rm -rf "$out/a.pcapsule"
	done
	rm -f "$f"
}
# Connections that all wait for an answer at once must get it: waiting CONNECTIONS LIMIT-IN-MIB.
waiting() {
	local f=$out/waiting.pcap paired
	"$out/crowd" -conns "$1" -calls 2 >"$f"
	header "$1 connections that wait at once, $(($(stat -c %s "$f") / 1000000)) MB"
	measure "pcapsule bundle --memory ${2}MiB" "$bin" bundle "$f" --memory "${2}MiB" -o "$out/a.pcapsule"
	[ $peak -le $(($2 + own + 16)) ] || { echo "the peak is above the limit"; flooded=1; }
	paired=$("$bin" sql "$out/a.pcapsule" 'select count(*) from calls where complete' --format csv | tail -n 1)
	echo "$paired of $((2 * $1)) calls have their response"
	[ "$paired" = $((2 * $1)) ] || flooded=1
	rm -rf "$out/a.pcapsule" "$f"
}
flooded=0
header "samples/dns.pcap"
measure "pcapsule bundle" "$bin" bundle samples/dns.pcap -o "$out/a.pcapsule"
own=$peak
rm -rf "$out/a.pcapsule"
go build -o "$out/crowd" ./scripts/bench/crowd
flood "unanswered HTTP requests" -conns 10000 -calls 1 -unanswered -size 27000
flood "a million unanswered HTTP requests" -conns 30000 -calls 34 -unanswered
waiting 25000 256
waiting 220000 2048
if [ "${1:-}" = floods ]; then exit $flooded; fi
printf '\nthroughput of each protocol, on one processor\n'
go test ./exporter/dissect/all -run '^$' -bench Protocols -benchtime 1x
printf '\nquestions over MCP\n'
BENCH_DIR=$dir scripts/bench/ask.sh
exit $flooded
