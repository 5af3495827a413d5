#!/usr/bin/env bash
# Makes a bundle of the shop in samples/ and asks common questions about it: what failed and
# why, the path of a request, findings, whether rules pass, who talks to whom, which packets
# show it; as a person, and as an assistant would over MCP. Everything that it makes is in
# demo/ and is made again each time. `make demo` calls it after the build.
set -euo pipefail
cd "$(dirname "$0")/.."
pcapsule=$PWD/bin/pcapsule
out=demo

if [ ! -x "$pcapsule" ]; then
	echo "demo: no bin/pcapsule; hint: make build" >&2
	exit 1
fi

# say prints a description, ask prints a command as a person would type it and runs it.
say() { printf '\n== %s\n' "$*"; }
ask() {
	printf '\n$ pcapsule'
	local word
	for word in "$@"; do
		case $word in
		*\'*) printf ' "%s"' "$word" ;; # no word here contains both kinds of quotes
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

say "Make a bundle from a capture and the output of kubectl"
ask bundle samples/shop.pcapng --kube samples/shop.kube.json -o "$shop"
ask info "$shop"

say "What failed, and where did it begin?"
ask ask find-failures "$shop" --service payment --class 5xx --limit 2

say "The complete path of the request for order 12345"
ask ask trace-request "$shop" --text 12345

say "Security problems in this traffic, with masked evidence"
ask ask list-findings "$shop" --severity high --limit 3

say "Does the traffic pass these rules? A pipeline checks the exit code"
cat >"$out/rules.yaml" <<'EOF'
version: 1
rules:
  - name: health checks answer
    calls: http && path == "/healthz"
    every: status_code == 200
    latency: {p99: 5s}
  - name: payments answer 201, 402 or 503
    calls: http && path == "/v1/payments"
    every: status_code in [201, 402, 503]
EOF
cat "$out/rules.yaml"
status=0
ask check "$shop" "$out/rules.yaml" --junit "$out/check.xml" --sarif "$out/check.sarif" || status=$?
echo "exit code $status"
[ "$status" = 8 ] # the second rule fails: order 12345 got a 500

say "Who talks to whom, as a drawing"
echo "\$ pcapsule ask get-service-map $shop --format mermaid | sed -n '/^graph/,/^\$/p'"
"$pcapsule" ask get-service-map "$shop" --format mermaid | sed -n '/^graph/,/^$/p' | tee "$out/map.mermaid"

say "Calls selected by their content, and by SQL"
ask query "$shop" 'http && request.body.json().order == "12345"' --columns src_service,dst_service,summary,elapsed_us,cites
ask sql "$shop" "select coalesce(dst_service, host) as service, method, path, count(*) as calls,
  count(*) filter (where status_code >= 500) as failed, max(elapsed_us) as slowest_us
from calls where protocol = 'http1' and user_agent not like 'kube-probe%'
group by all order by calls desc, service, path limit 5"

say "The packets of the failed calls, for Wireshark"
ask packets "$shop" 'dst.svc == "payment" && status_code >= 500' --with-context -o "$out/payment.pcapng"
if command -v tshark >/dev/null; then
	count=$(tshark -r "$out/payment.pcapng" 2>/dev/null | wc -l)
	echo "tshark counts $count packets in $out/payment.pcapng"
fi

say "The same question from an assistant, over MCP on standard input and output"
cat >"$out/requests.jsonl" <<'EOF'
{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{},"clientInfo":{"name":"demo","version":"1"}}}
{"jsonrpc":"2.0","method":"notifications/initialized"}
{"jsonrpc":"2.0","id":2,"method":"tools/call","params":{"name":"find_failures","arguments":{"service":"payment","class":"5xx","limit":1}}}
EOF
tail -n 1 "$out/requests.jsonl"
echo "\$ pcapsule mcp $shop <$out/requests.jsonl"
"$pcapsule" mcp "$shop" <"$out/requests.jsonl" | tail -n 1 | cut -c 1-900
echo "… one JSON object, marked as captured data"

say "Is the bundle unchanged? Check hashes, and make the tables again from the packets"
ask verify "$shop" --rederive

say "The same bundle as a one-page report"
ask report "$shop" -o "$out/overview.html"

say "Done. Look at $out/overview.html in a browser, open $out/payment.pcapng in Wireshark, or continue with:"
cat <<EOF
  bin/pcapsule ask --help                       # the questions
  bin/pcapsule ask get-dependencies $shop --service redis --blast-radius
  bin/pcapsule kfl fields status                # fields of KFL for status
  bin/pcapsule mcp $shop          # for an assistant that starts programs
  bin/pcapsule serve $shop        # for an assistant that connects: http://127.0.0.1:8898/mcp
EOF
