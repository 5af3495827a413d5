#!/usr/bin/env bash
# Compares pcapsule serve with its own OpenAPI description, with all checks and phases of
# schemathesis (schemathesis.toml). EXAMPLES is how many requests each operation gets at most.
set -euo pipefail
cd "$(dirname "$0")/.."

st=.cache/schemathesis/bin/schemathesis
if [ ! -x $st ]; then
	python3 -m venv .cache/schemathesis
	.cache/schemathesis/bin/pip -q install 'schemathesis==4.32.5'
fi
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
$st run "$url/mcp/openapi.yaml" --url "$url" --max-examples "${EXAMPLES:-200}" --generation-deterministic "$@"
