#!/usr/bin/env bash
# Tests the pySigma backend with sigma-cli from the package index: its own tests, then rules that
# sigma-cli converts and pcapsule check runs on a capture of samples/. It needs bin/pcapsule and
# python3 with venv, and uses 60 MB in .cache/sigma.
set -euo pipefail
cd "$(dirname "$0")/.."
venv=.cache/sigma
backend=integrations/pysigma-backend-pcapsule
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
[ -x "$venv/bin/python" ] || python3 -m venv "$venv"
"$venv/bin/pip" install --quiet --disable-pip-version-check sigma-cli==3.1.0 pysigma==1.5.1 pytest==9.2.0
cp -r "$backend" "$work/backend" # a build writes into its folder
"$venv/bin/pip" install --quiet --disable-pip-version-check --no-deps --force-reinstall "$work/backend"
"$venv/bin/python" -m pytest -q -p no:cacheprovider "$work/backend/tests"

"$venv/bin/sigma" convert -t pcapsule -s -o "$work/rules.yaml" "$backend/tests/rules"
code=0
bin/pcapsule check samples/shop.pcapng "$work/rules.yaml" --json >"$work/out.json" || code=$?
[ $code = 8 ] || { echo "exit code $code, want 8"; exit 1; }
python3 - "$work/out.json" <<'PY'
import json, sys

got = {r["name"]: (r["status"], r["level"], len(r["broken"]) + r.get("more", 0), r.get("techniques")) for r in json.load(open(sys.argv[1]))["rules"]}
want = {
    "Payment": ("fail", "error", 11, ["T1190"]),
    "Unknown DNS name": ("fail", "warning", 48, ["T1071.004"]),
    "Web shell": ("pass", "error", 0, None),
}
assert got == want, f"{got}, want {want}"
PY
echo "sigma: 3 rules have the expected results"
