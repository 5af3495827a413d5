#!/usr/bin/env bash
# Compares packet recorders (nothing, a program that only counts, tcpdump, dumpcap and
# pcapsule) on the same traffic between two network namespaces, recorded at the receiver.
# Needs root.
#
# "truth" is the interface's own count. "lost" is truth minus the packets in the file, "told"
# is the loss that the tool reports. CPU is that of the whole tool, µs per packet without its
# start; path is the CPU of both ends of the traffic per packet, including softirqs. If the
# output is /dev/null, the tool's report replaces the file.
#   BENCH_SHORT=1   one second per row, fewer rows: about 2 min; else all rates of small packets,
#                   bulk and short connections with and without TLS, about 20 min
#   BENCH_SECONDS   seconds of traffic per row (default 4); BENCH_ROUNDS: rounds (default 2)
#   BENCH_DIR       folder for files (default /dev/shm); BENCH_BYTES: maximum for unlimited TCP
#   BENCH_ONLY      traffic to measure, e.g. "http tls"; BENCH_BIN: another pcapsule
#   BENCH_CGROUP=/  record the root's sockets instead of the receiver's group: both ends and
#                   this machine's other traffic, so the true loss of pcapsule is unknown
set -euo pipefail
cd "$(dirname "$0")/.."
[ "$(id -u)" = 0 ] || { echo "bench-record: needs root: network namespaces and programs in the kernel" >&2; exit 1; }
for need in ip nsenter tcpdump bc; do
	command -v "$need" >/dev/null || { echo "bench-record: $need is needed" >&2; exit 1; }
done
short=${BENCH_SHORT:-}
seconds=${BENCH_SECONDS:-$([ -n "$short" ] && echo 1 || echo 4)}
rounds=${BENCH_ROUNDS:-$([ -n "$short" ] && echo 1 || echo 2)}
bin=${BENCH_BIN:-$PWD/bin/pcapsule}
available=$(($(awk '/^MemAvailable/ {print $2}' /proc/meminfo) * 1024))
most=${BENCH_BYTES:-$((available / 4 < 8000000000 ? available / 4 : 8000000000))}
cgroups=$(awk '$3 == "cgroup2" {print $2; exit}' /proc/mounts)
[ -n "$cgroups" ] || { echo "bench-record: control groups v2 are not mounted (mount -t cgroup2 none /sys/fs/cgroup/unified)" >&2; exit 1; }

dir=$(mktemp -d "${BENCH_DIR:-/dev/shm}/pcapsule-bench.XXXXXX")
a=pcapsule-a-$$ b=pcapsule-b-$$ group=pcapsule-bench-$$ host=10.99.0.2
declare -A own kept v
cleanup() {
	trap - EXIT INT TERM
	local pid
	for pid in "${!own[@]}"; do kill "$pid" 2>/dev/null || true; done
	for pid in "${!own[@]}"; do wait "$pid" 2>/dev/null || true; done
	ip netns del "$a" 2>/dev/null || true
	ip netns del "$b" 2>/dev/null || true
	rmdir "$cgroups/$group" 2>/dev/null || true
	rm -rf "$dir"
}
trap cleanup EXIT
trap 'exit 130' INT TERM

load=$dir/load
go build -o "$load" ./scripts/bench/load
mkdir "$cgroups/$group"
scope=${BENCH_CGROUP:-$group}
ip netns add "$a"
ip netns add "$b"
ip -n "$a" link add v0 type veth peer name v0 netns "$b"
# Not "ip netns exec": it mounts another /sys, without control groups.
in_a() { nsenter --net="/run/netns/$a" "$@"; }
in_b() { nsenter --net="/run/netns/$b" "$@"; }
for side in a b; do
	# Only the load's packets: no IPv6, and static neighbours, so there is no ARP.
	"in_$side" sysctl -qw net.ipv6.conf.all.disable_ipv6=1 net.ipv6.conf.default.disable_ipv6=1 2>/dev/null || true
	# Release waiting ports early, otherwise short connections run out of them.
	"in_$side" sysctl -qw net.ipv4.ip_local_port_range="1024 65000" net.ipv4.tcp_max_tw_buckets=8192 net.core.somaxconn=4096 2>/dev/null || true
done
ip -n "$a" addr add 10.99.0.1/24 dev v0
ip -n "$b" addr add "$host/24" dev v0
for n in "$a" "$b"; do ip -n "$n" link set lo up; ip -n "$n" link set v0 up; done
mac() { ip -n "$1" -br link show v0 | awk '{print $3}'; }
ip -n "$a" neigh replace "$host" lladdr "$(mac "$b")" dev v0 nud permanent
ip -n "$b" neigh replace 10.99.0.1 lladdr "$(mac "$a")" dev v0 nud permanent

# take FILE: reads its key=value pairs into v.
take() {
	local pair
	for pair in $(cat "$1" 2>/dev/null); do
		[[ $pair == *=* ]] && v[${pair%%=*}]=${pair#*=}
	done
	return 0
}
counted() { in_b awk '$1 == "v0:" {print $3 + $11}' /proc/net/dev; }
until_says() { # PATTERN FILE PID: waits at most 15 s
	local i
	for ((i = 0; i < 750; i++)); do
		grep -q "$1" "$2" && return
		kill -0 "$3" 2>/dev/null || break
		sleep 0.02
	done
	echo "bench-record: it does not start:" >&2
	cat "$2" >&2
	return 1
}
calc() { echo "scale=6; $1" | bc; }

start_tool() { # TOOL: sets pid and file
	local under=("$load" under "$dir/cost") ready
	file=$dir/out.pcap out=$dir/stdout
	case $1 in *null) file=- out=/dev/null ;; counting*) file=- ;; esac
	case $1 in *timed*) under+=(-programs --) ;; *) under+=(--) ;; esac
	case $1 in
	tcpdump*) ready="listening on" ;;
	dumpcap*) ready="^File:" ;;
	*) ready="^recording" ;;
	esac
	local command=("$bin" record --cgroup "$scope" -w "$file")
	case $1 in
	tcpdump,\ -B*) command=(in_b tcpdump -Z root -n -i v0 -B 65536 -w "$file") ;;
	tcpdump*) command=(in_b tcpdump -Z root -n -i v0 -w "$file") ;;
	dumpcap*) command=(in_b dumpcap -q -i v0 -w "$file") ;;
	counting*) command=("$load" counting "$cgroups/$group") ;;
	pcapsule,\ -B*) command+=(-B 64MiB) ;;
	*no\ owners*) command+=(--no-owners) ;;
	*keys*) command+=(--keys "cgroup:/$group") ;;
	esac
	[ "${command[0]}" = in_b ] && command=(nsenter --net="/run/netns/$b" "${command[@]:1}")
	"${under[@]}" "${command[@]}" >"$out" 2>"$dir/stderr" &
	pid=$!
	own[$pid]=1
	until_says "$ready" "$dir/stderr" "$pid"
}
word() { # TOOL: what it says itself: captured, told, and, of pcapsule, seen
	local line
	v[seen]=
	case $1 in
	tcpdump*)
		v[captured]=$(awk '/packets? captured/ {print $1}' "$dir/stderr")
		v[told]=$(awk '/dropped by kernel/ {print $1}' "$dir/stderr")
		;;
	counting*) v[captured]=$(awk '/^counted/ {print $2}' "$dir/stderr") ;;
	dumpcap*)
		line=$(sed -n "s/.*received\/dropped on interface 'v0': \([0-9]*\)\/\([0-9]*\).*/\1 \2/p" "$dir/stderr")
		read -r v[captured] v[told] <<<"$line"
		;;
	*)
		line=$(sed -n 's/^seen \(.*\) = filtered \(.*\) + delivered \(.*\) + dropped \(.*\)$/\1 \2 \3 \4/p' "$dir/stderr" | tr -d ,)
		read -r v[seen] filtered v[captured] v[told] <<<"$line"
		[ "${v[exit]}" = 0 ] && [ "${v[seen]}" = $((filtered + v[captured] + v[told])) ] && balanced=$((balanced + 1)) || unbalanced+=("$1: exit ${v[exit]}, ${line:-no account}")
		;;
	esac
}
row() { # TRAFFIC TOOL
	local traffic=$1 tool=$2 kind=${1%%-*} rate=0 before after pid= server file= out
	case $traffic in
	*k) rate=${traffic//[^0-9]/}000 ;;
	*G) rate=${traffic//[^0-9]/}000000000 ;;
	esac
	v=([tool_cpu]=0 [work]=0 [peak]=- [private]=- [told]=- [exit]=0)
	rm -f "$dir"/cost "$dir"/out.*
	: >"$dir/server"
	: >"$dir/stderr"
	sh -c 'echo $$ >"$1/cgroup.procs"; shift; exec "$@"' - "$cgroups/$group" nsenter --net="/run/netns/$b" "$load" serve "$host" >"$dir/server" 2>&1 &
	server=$!
	own[$server]=1
	until_says ready "$dir/server" "$server"
	if [ "$tool" != nothing ]; then
		start_tool "$tool"
		kill -USR1 "$pid"
		sleep 0.05
	fi
	before=$(counted)
	in_a timeout -k 5 90 "$load" "$kind" "$host" -rate "$rate" -seconds "$seconds" -bytes "$most" >"$dir/client" 2>"$dir/client.err" || { cat "$dir/client.err" >&2; return 1; }
	# Wait for packets in flight. tcpdump reads its ring once a second, dumpcap four times;
	# when they get the signal to end, they do not read what arrived since.
	case $tool in tcpdump*) sleep 1.1 ;; dumpcap*) sleep 0.5 ;; *) sleep 0.15 ;; esac
	after=$(counted)
	if [ -n "$pid" ]; then
		kill -INT "$pid"
		wait "$pid" || true
		unset "own[$pid]"
	fi
	kill -TERM "$server"
	wait "$server" || true
	unset "own[$server]"
	take "$dir/client"
	take "$dir/server"
	local truth=$((after - before)) lost=- packets=- each=- path keys=
	if [ -n "$pid" ]; then
		take "$dir/cost"
		word "$tool"
		if [ "$file" = - ]; then
			packets=${v[captured]:-0}
		else
			"$load" count "$file" >"$dir/count" 2>>"$dir/stderr" || cat "$dir/stderr" >&2
			v[packets]=0
			v[told_in_file]=0
			take <(sed 's/told=/told_in_file=/' "$dir/count")
			packets=${v[packets]}
		fi
		each=$(calc "${v[work]} * 1000000 / $truth")
		lost=$((truth - packets))
		if [[ $tool == pcapsule* && $scope != "$group" ]]; then
			each=$(calc "${v[work]} * 1000000 / $packets")
			v[seen]= lost=-
		fi
		[[ $tool == *keys* ]] && keys=$(grep -c '^CLIENT_TRAFFIC_SECRET_0 ' "$dir/out.keys" 2>/dev/null || true)
	fi
	path=$(calc "(${v[cpu]} + ${v[server_cpu]} - ${v[server_start]}) * 1000000 / $truth")
	rm -f "$dir"/out.*
	printf '%-9s %-26s %9d %9s %8s %8s %7.2f %7.2f %9s %-6s %6s %6s %6.2f %5s %5s' "$traffic" "$tool" "$truth" "$packets" "$lost" "${v[told]:-?}" \
		"${v[tool_cpu]}" "${each/#-/0}" "${v[rate]}" "${v[unit]}" "${v[p50]}" "${v[p99]}" "$path" "${v[peak]}" "${v[private]}"
	# For pcapsule: packets that no socket saw, and losses whose place is in the file.
	[ -n "${v[seen]:-}" ] && [ "${v[seen]}" != "$truth" ] && printf '  no socket: %d' $((truth - v[seen]))
	[ -n "${v[programs]:-}" ] && printf '  runs:ns %s' "${v[programs]}"
	[ -n "$keys" ] && printf '  keys of %d of %d connections' "$keys" "${v[sent]}"
	[ "${v[failed]:-0}" != 0 ] && printf '  %s requests failed' "${v[failed]}"
	[ "$kind" = udp ] && [ "${v[sent]}" != "${v[received]}" ] && printf '  received: %d of %d' "${v[received]}" "${v[sent]}"
	echo
	local key
	[ "$lost" = - ] && lost=0
	v[lost]=$lost v[each]=${each/#-/0} v[bytes]=$([ "$kind" = bulk ] && echo "${v[received_bytes]}" || echo 0)
	v[keyless]=$([ -n "$keys" ] && echo $((v[sent] - keys)) || true)
	for key in lost told each rate p99 work bytes private programs keyless; do kept[$traffic/$tool/$key]+=" ${v[$key]:-0}"; done
}

middle() { tr ' ' '\n' <<<"${kept[$1]:-}" | awk NF | sort -g | awk '{x[NR] = $1} END {if (NR) print NR % 2 ? x[(NR + 1) / 2] : (x[NR / 2] + x[NR / 2 + 1]) / 2}'; }
worst() { tr ' ' '\n' <<<"${kept[$1]:-}" | awk NF | sort -g | tail -n 1; }
target() { # TEXT VALUE AT-MOST
	if [ -z "$2" ]; then printf '%-78s %12s  not measured\n' "$1" -; return; fi
	printf '%-78s %12.2f  %s\n' "$1" "$2" "$([ "$(calc "$2 <= $3")" = 1 ] && echo reached || echo "NOT reached")"
}
at_rate() { # TEXT TRAFFIC TOOL RATE: nothing lost at a rate that was there
	local lost rate
	lost=$(worst "$2/$3/lost")
	if [ -z "$lost" ]; then printf '%-78s %12s  not measured\n' "$1" -; return; fi
	rate=$(middle "$2/$3/rate")
	printf '%-78s %12d  %s\n' "$1, at $rate" "$lost" "$([ "$lost" -gt 0 ] && echo "NOT reached" || { [ "$(calc "$rate >= $4")" = 1 ] && echo reached || echo "NOT shown: the load was slower"; })"
}
ns() { # TRAFFIC TOOL: nanoseconds of its dearest packet program, of those that ran for many packets
	tr ' ' '\n' <<<"${kept[$1/$2/programs]:-}" | awk NF | tr , '\n' | awk -F: '$1 > 100 && $2 > m {m = $2} END {if (m) print m}'
}

all="udp-20k udp-50k udp-100k udp-200k udp-max bulk-2G bulk-8G bulk-max http tls"
balanced=0 unbalanced=()
printf 'files in %s (%s), %s s a row; %s CPUs, Linux %s, %s\n' "${dir%/*}" "$(stat -f -c %T "$dir")" "$seconds" "$(nproc)" "$(uname -r)" "$("$bin" --version 2>/dev/null | head -n 1)"
for ((round = 1; round <= rounds; round++)); do
	printf '\n%-9s %-26s %9s %9s %8s %8s %7s %7s %9s %-6s %6s %6s %6s %5s %5s\n' traffic tool truth "in file" lost told "CPU s" "µs each" rate "" "p50 ms" "p99 ms" "path" peak priv.
	for traffic in ${BENCH_ONLY:-$all}; do
		tools=(nothing counting tcpdump "tcpdump, -B 64 MiB" dumpcap "pcapsule" "pcapsule, no owners")
		case $short/$traffic in
		1*/udp-20k | 1*/udp-50k | 1*/udp-100k) tools=(nothing tcpdump pcapsule) ;;
		1*/bulk-2G | 1*/tls) tools=(nothing tcpdump pcapsule) ;;
		1*/udp-max) tools=(nothing tcpdump dumpcap pcapsule "pcapsule, no owners") ;;
		1*/bulk-max) tools=(nothing tcpdump "tcpdump, -B 64 MiB" dumpcap pcapsule) ;;
		/bulk-*) tools+=("pcapsule, -B 64 MiB") ;;
		esac
		case $traffic in
		udp-max | bulk-8G | bulk-max) tools+=("tcpdump, to null" "pcapsule, to null") ;;
		tls) tools+=("pcapsule, keys") ;;
		http) tools+=(nothing) ;; # again: the machine may have changed meanwhile
		esac
		case $traffic in
		udp-200k) tools+=("counting, timed" "pcapsule, timed" "pcapsule, no owners, timed") ;;
		bulk-8G | http) tools+=("pcapsule, timed") ;;
		esac
		for tool in "${tools[@]}"; do
			[ "$tool" = dumpcap ] && ! command -v dumpcap >/dev/null && continue
			row "$traffic" "$tool"
		done
	done
done

echo
http=$(middle http/nothing/rate) quiet=$(middle http/nothing/p99)
against() { # PERCENT|TIMES TOOL
	local with
	with=$(middle "http/$2/$([ "$1" = percent ] && echo rate || echo p99)")
	[ -z "$http" ] || [ -z "$with" ] || if [ "$1" = percent ]; then calc "($http - $with) * 100 / $http"; else calc "$with / $quiet"; fi
}
at_rate "small packets lost (wanted: 0 at 200,000 a second)" udp-200k pcapsule 195000
at_rate "small packets lost, flat out (wanted: 0)" udp-max pcapsule 1
at_rate "packets lost of short connections (wanted: 0 at 18,000 a second)" http pcapsule 18000
at_rate "packets lost of bulk to a file (wanted: 0 at 8 Gbit/s)" bulk-8G pcapsule 7.6
target "program, ns a small packet (at most 450)" "$(ns udp-200k "pcapsule, timed")" 450
target "program, ns a small packet, no owners (at most 300)" "$(ns udp-200k "pcapsule, no owners, timed")" 300
size=$(middle "bulk-8G/pcapsule, timed/bytes") runs=$(tr ' ' '\n' <<<"${kept[bulk-8G/pcapsule, timed/programs]:-}" | awk -F: '$1 {print int($1); exit}')
each=$(ns bulk-8G "pcapsule, timed") # for packets of size / runs bytes
target "program, ns for 45 KB of bulk (at most 2500)" "$([ -z "$size" ] || [ -z "$each" ] || calc "$each * 45000 * $runs / $size")" 2500
target "reader, µs a small packet (at most 0.4)" "$(middle udp-200k/pcapsule/each)" 0.4
gb=$(middle bulk-8G/pcapsule/bytes)
target "reader, CPU s a GB (at most 0.4)" "$([ -z "$gb" ] || calc "$(middle bulk-8G/pcapsule/work) * 1000000000 / $gb")" 0.4
target "short connections, % slower with owners (at most 15)" "$(against percent pcapsule)" 15
target "short connections, % slower without owners (at most 10)" "$(against percent "pcapsule, no owners")" 10
target "short connections, p99 times that of nothing (at most 1.6)" "$(against times pcapsule)" 1.6
memory=$(for k in "${!kept[@]}"; do case $k in */pcapsule*/private) tr ' ' '\n' <<<"${kept[$k]}" ;; esac; done | awk NF | sort -g | tail -n 1)
target "TLS connections without keys (wanted: 0)" "$(worst "tls/pcapsule, keys/keyless")" 0
target "private memory beside the ring buffer, MiB (at most 64)" "$memory" 64
target "runs whose counters do not balance (wanted: 0, of $((balanced + ${#unbalanced[@]})))" "${#unbalanced[@]}" 0
for u in "${unbalanced[@]}"; do echo "  $u"; done
