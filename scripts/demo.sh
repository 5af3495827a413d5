#!/usr/bin/env bash
# Makes a bundle of the shop in samples/ and asks it what people ask: what is in it, what
# failed and why, which packets show it. Everything it makes is below demo/ and is made
# again each time. `make demo` calls it after the build.
set -euo pipefail
cd "$(dirname "$0")/.."
pcapsule=$PWD/bin/pcapsule
out=demo

if [ ! -x "$pcapsule" ]; then
	echo "demo: no bin/pcapsule; hint: make build" >&2
	exit 1
fi

# say prints what is done, ask prints a command as a person would type it and runs it.
say() { printf '\n== %s\n' "$*"; }
ask() {
	printf '\n$ pcapsule'
	local word
	for word in "$@"; do
		case $word in
		*\'*) printf ' "%s"' "$word" ;; # nothing asked here holds both kinds of quotes
		*[!A-Za-z0-9_./=,:-]*) printf " '%s'" "$word" ;;
		*) printf ' %s' "$word" ;;
		esac
	done
	printf '\n'
	"$pcapsule" "$@"
}

rm -rf "$out"
mkdir "$out"
shop=$out/shop.pcapsule

say "A capture and what kubectl printed become a bundle"
ask bundle samples/shop.pcapng --kube samples/shop.kube.json -o "$shop"

say "What is in it?"
ask info "$shop"

say "Which calls failed, and between whom?"
ask query "$shop" 'http && status_code >= 500' --columns ts,src_pod,dst_name,method,path,status_code,elapsed_us,cites --limit 12

say "Which endpoints are asked most, and how do they fare?"
ask sql "$shop" "select coalesce(dst_service, host) as service, method, path, count(*) as calls,
  count(*) filter (where status_code >= 500) as failed, max(elapsed_us) // 1000 as slowest_ms
from calls where protocol = 'http1' and user_agent not like 'kube-probe%'
group by all order by calls desc, service, path limit 10"

say "Why does payment fail? What it asked outside, and how long it waited"
ask sql "$shop" "select c.ts, coalesce(c.host, c.dst_name) as asked, c.path, coalesce(c.status_code::text, c.error) as outcome,
  coalesce(c.elapsed_us // 1000, (f.last_ns - c.ts_ns) // 1000000) as waited_ms
from calls c join flows f on c.flow_id = f.flow_id
where c.src_service = 'payment' and c.protocol = 'http1' and (c.error is not null or c.status_code >= 400) order by c.ts"

say "One of these calls in full: order 12345"
call=$("$pcapsule" query "$shop" 'dst.svc == "payment" && status_code == 500' --columns call_id --format csv --limit 1 | tail -n 1)
ask show "$shop" "$call"

say "Its packets, for Wireshark"
ask packets "$shop" --call "$call" -o "$out/order-12345.pcapng"
ask packets "$shop" 'dst.svc == "payment" && status_code == 503' --whole-connections -o "$out/payment-503.pcapng"
if command -v tshark >/dev/null; then
	for slice in order-12345 payment-503; do
		count=$(tshark -r "$out/$slice.pcapng" 2>/dev/null | wc -l)
		echo "tshark counts $count packets in $out/$slice.pcapng"
	done
fi

say "Is it what was recorded? Hashes, and the tables made again from the packets"
ask verify "$shop" --rederive

say "The same bundle as one page"
ask report "$shop" -o "$out/overview.html"

say "Done. Look at $out/overview.html in a browser, open $out/payment-503.pcapng in Wireshark, or ask on:"
cat <<EOF
  bin/pcapsule query $shop 'dns && failed' --count --group-by src_pod
  bin/pcapsule schema calls
  bin/pcapsule mcp $shop        # for an assistant, over stdio
EOF
