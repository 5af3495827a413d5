#!/usr/bin/env bash
# Runs the official conformance suites of the Model Context Protocol against the product's
# HTTP handling (mcp/conformance): the revisions with sessions, and the newest without.
# The suites are npm packages, kept in .cache/conformance. Exit code 75: they are unavailable.
set -euo pipefail
cd "$(dirname "$0")/.."
root=$PWD
kept=$root/.cache/conformance
mkdir -p "$kept"
if ! command -v npm >/dev/null; then
	echo "needs npm packages: npm is not installed" >&2
	exit 75
fi
if ! cmp -s mcp/conformance/package-lock.json "$kept/package-lock.json" || ! [ -e "$kept/installed" ]; then
	rm -f "$kept/installed"
	cp mcp/conformance/package.json mcp/conformance/package-lock.json "$kept/"
	if ! (cd "$kept" && npm ci --no-audit --no-fund >npm.log 2>&1) || ! "$kept/node_modules/.bin/node" --version >/dev/null; then
		echo "needs npm packages: they cannot be had:" >&2
		tail -n 5 "$kept/npm.log" >&2
		exit 75
	fi
	touch "$kept/installed"
fi
${GO:-go} build -o "$kept/server" ./mcp/conformance
out=$(mktemp -d)
"$kept/server" >"$out/url" &
server=$!
trap 'kill $server 2>/dev/null || true; rm -rf "$out"' EXIT
for _ in $(seq 200); do
	[ -s "$out/url" ] && break
	sleep 0.1
done
url=$(cat "$out/url")
failed=0
suite() { # name, package, arguments
	local name=$1 package=$2
	shift 2
	if (cd "$kept" && node_modules/.bin/node "node_modules/$package/dist/index.js" server --url "$url" --expected-failures "$root/mcp/conformance/baseline.yaml" -o "$out/$name" "$@") >"$out/$name.txt" 2>&1; then
		echo "ok   $name: $(grep '^Total:' "$out/$name.txt")"
	else
		echo "FAIL $name"
		sed -n '/=== SUMMARY/,$p' "$out/$name.txt"
		failed=1
	fi
}
suite "suite 0.1.16, revisions to 2025-11-25" conformance-sessions
suite "suite 0.2.0-alpha.12, revisions to 2025-11-25" conformance-stateless
suite "suite 0.2.0-alpha.12, what 2026-07-28 requires" conformance-stateless --requirements 2026-07-28
exit $failed
