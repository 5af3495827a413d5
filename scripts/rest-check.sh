#!/usr/bin/env bash
# Compares pcapsule serve with its own OpenAPI description, with all checks and phases of
# schemathesis (schemathesis.toml). EXAMPLES is how many requests each operation gets at most.
# Before, redocly judges that description and those that generate-openapi writes about the servers in
# some samples, and har-validator the HARs of the same calls.
set -euo pipefail
cd "$(dirname "$0")/.."

st=.cache/schemathesis/bin/schemathesis
if [ ! -x $st ]; then
	python3 -m venv .cache/schemathesis
	.cache/schemathesis/bin/pip -q install 'schemathesis==4.32.5'
fi
npm install --silent --no-audit --no-fund --prefix .cache/peers @redocly/cli@2 har-validator@5
work=$(mktemp -d)
trap 'kill $pid 2>/dev/null || true; rm -rf "$work"' EXIT
bin/pcapsule bundle samples/shop.pcapng --kube samples/shop.kube.json -o "$work/shop.pcapsule" 2>/dev/null
bin/pcapsule serve "$work/shop.pcapsule" --addr 127.0.0.1:0 2>"$work/log" &
pid=$!
for _ in $(seq 100); do
	url=$(sed -n 's|^listening on \(http://.*\)/mcp$|\1|p' "$work/log")
	[ -z "$url" ] || break
	sleep 0.1
done
curl -s "$url/mcp/openapi.yaml" -o "$work/rest.yaml"
for sample in shop http1 web apis files mcp; do
	kube=()
	[ ! -e samples/$sample.kube.json ] || kube=(--kube samples/$sample.kube.json)
	b=$work/$sample.pcapsule
	[ -e "$b" ] || bin/pcapsule bundle samples/$sample.pcapng "${kube[@]}" -o "$b" 2>/dev/null
	for ip in $(bin/pcapsule sql "$b" "SELECT DISTINCT dst_ip FROM calls WHERE protocol IN ('http1', 'http2', 'http3') AND path LIKE '/%'" --format csv | tail -n +2); do
		bin/pcapsule ask generate-openapi "$b" --service "$ip" --yaml >"$work/$sample-$ip.yaml" 2>/dev/null
	done
	bin/pcapsule query "$b" http --format har >"$work/$sample.har"
	NODE_PATH=.cache/peers/node_modules node -e 'require("har-validator").har(JSON.parse(require("fs").readFileSync(process.argv[1]))).catch(e => { console.error(process.argv[1], e.errors); process.exit(1) })' "$work/$sample.har"
done
echo 'extends: [spec]' >"$work/redocly.yaml"
.cache/peers/node_modules/.bin/redocly lint --config "$work/redocly.yaml" "$work"/*-*.yaml "$work/rest.yaml"

$st run "$url/mcp/openapi.yaml" --url "$url" --max-examples "${EXAMPLES:-200}" --generation-deterministic "$@"
