#!/usr/bin/env bash
# Judges the files for other programs with programs of others: SARIF with Microsoft's validator, JUnit XML with
# junitparser, OTLP with OpenTelemetry's own messages, OSCAL with compliance-trestle. It needs Python, PyPI and npm.
set -euo pipefail
cd "$(dirname "$0")/.."

peers=$PWD/.cache/formats
if [ ! -e "$peers/installed" ]; then
	python3 -m venv "$peers"
	"$peers/bin/pip" -q install 'junitparser==5.0.3' 'compliance-trestle==5.2.0' 'opentelemetry-proto==1.45.2'
	touch "$peers/installed"
fi
npm install --silent --no-audit --no-fund --prefix .cache/peers @microsoft/sarif-multitool@5
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
pcapsule=$PWD/bin/pcapsule
"$pcapsule" bundle samples/shop.pcapng --kube samples/shop.kube.json -o "$work/shop.pcapsule" 2>/dev/null
for f in samples/weeks/*.pcapng; do
	"$pcapsule" bundle "$f" -o "$work/$(basename "$f" .pcapng).pcapsule" 2>/dev/null
done

# Rules of which one passes, one fails and one cannot be judged.
cat >"$work/rules.yaml" <<'EOF'
version: 1
rules:
  - {name: payments succeed, calls: 'http && path == "/v1/payments"', error_rate: 1%}
  - {name: health checks are quick, calls: 'http && path == "/healthz"', latency: {p99: 30s}}
  - {name: LDAP answers, calls: ldap, error_rate: 1%}
EOF
(cd "$work" && "$pcapsule" check shop.pcapsule rules.yaml --sarif check.sarif --junit check.xml >check.txt) || [ $? = 8 ]
"$pcapsule" query "$work/shop.pcapsule" http --format otlp >"$work/shop.otlp.json"
echo $'version: 1\ntitle: Shop\nperiod: {from: 2026-10-05, to: 2026-11-01}\nbundles: ["week-*.pcapsule"]\nnodes: [node-1, node-2]\ncontrols: [nist80053/CM-7, pci/8.3.2]\nattest: true' >"$work/shop.yaml"
"$pcapsule" collection report "$work/shop.yaml" --at 2026-11-02 -o "$work/shop.oscal.json" >/dev/null

DOTNET_SYSTEM_GLOBALIZATION_INVARIANT=1 .cache/peers/node_modules/.bin/sarif-multitool validate "$work/check.sarif" --output "$work/judged.sarif" --level Error --log ForceOverwrite
"$peers/bin/python" scripts/format-peers.py "$work/check.sarif" "$work/judged.sarif" "$work/check.xml" "$work/shop.otlp.json"

mkdir "$work/trestle"
cd "$work/trestle"
"$peers/bin/trestle" init >/dev/null
"$peers/bin/trestle" import -f "$work/shop.oscal.json" -o shop
"$peers/bin/trestle" validate -t assessment-results -n shop
