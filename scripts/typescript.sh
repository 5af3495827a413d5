#!/bin/sh
# Check the types of the page (web/src) with TypeScript, which is kept in .cache/typescript.
# Exit code 75: TypeScript is unavailable.
set -eu
cd "$(dirname "$0")/.."
kept=.cache/typescript
version=5.9.3
if ! command -v npm >/dev/null; then
	echo "needs npm packages: npm is not installed" >&2
	exit 75
fi
if ! grep -qs "\"version\": \"$version\"" "$kept/node_modules/typescript/package.json"; then
	mkdir -p "$kept"
	if ! npm install --prefix "$kept" --no-audit --no-fund --ignore-scripts "typescript@$version" >"$kept/npm.log" 2>&1; then
		echo "needs npm packages: TypeScript cannot be had:" >&2
		tail -n 5 "$kept/npm.log" >&2
		exit 75
	fi
fi
exec node "$kept/node_modules/typescript/bin/tsc" --noEmit -p "${1:-web}"
