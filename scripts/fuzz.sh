#!/usr/bin/env bash
# Runs every fuzz target for a short time: scripts/fuzz.sh 3s [short]
#
# The short form, part of make extended, takes as long however many protocols there are: it runs the
# targets where input from outside first arrives (exporter/dissect/all has all protocols), and those
# of packages that the last commit or uncommitted changes touch. go test runs the seeds of all.
#
# The test program of a package is compiled once for all its targets, and only our own code is
# instrumented: "go test -fuzz" would compile all dependencies once more. One target runs per
# processor, each with one worker. If a run ends in an error without an input that causes it,
# it is repeated, because on a busy machine the fuzzer sometimes misses its own deadline.
set -euo pipefail
cd "$(dirname "$0")/.."
go=${GO:-go}
programs=$PWD/.cache/fuzz
export programs for_time=${1:-3s} kept

kept=$($go env GOCACHE)/fuzz
module=$($go list -m)
mkdir -p "$programs"

# target PACKAGE TARGET: runs one target.
target() {
	local name=${1//\//_} try out
	for try in 1 2 3; do
		if out=$(cd "$1" && "$programs/$name" -test.run '^$' -test.fuzz "^$2\$" -test.fuzztime "$for_time" -test.fuzzminimizetime 5x \
			-test.parallel 1 -test.fuzzcachedir "$kept/$module/$1" 2>&1); then
			if grep -q 'not built with coverage instrumentation' <<<"$out"; then
				printf 'fuzz %-44s %s: no coverage\n%s\n' "$1" "$2" "$out"
				return 255
			fi
			printf 'fuzz %-44s %s\n' "$1" "$2"
			return
		fi
		if [ "$try" = 3 ] || grep -q 'Failing input\|panic:' <<<"$out"; then
			printf 'FAIL fuzz %-44s %s\n%s\n' "$1" "$2" "$out"
			return 255 # xargs starts no more
		fi
	done
}
export module
export -f target

targets=$(git ls-files '*_test.go' | xargs grep -oE '^func Fuzz[A-Za-z0-9_]+' | sed -E 's|/[^/]*:func | |' | sort)
if [ "${2:-}" = short ]; then
	short='recorder/pcapng recorder/secrets exporter exporter/bundle exporter/decode exporter/dissect/all forensics/internal/wire kfl mcp/rpc'
	for package in $short; do
		grep -q "^$package " <<<"$targets" || { echo "fuzz: $package has no targets" >&2; exit 1; }
	done
	changed=$({ git diff --name-only HEAD^ -- '*.go' 2>/dev/null || git diff --name-only HEAD -- '*.go'; } | xargs -r -n 1 dirname | sort -u)
	targets=$(awk 'NR == FNR { run[$1]; next } $1 in run' <(tr ' ' '\n' <<<"$short $changed") - <<<"$targets")
fi
[ -n "$targets" ] || { echo "fuzz: no targets" >&2; exit 1; }
cut -d ' ' -f 1 <<<"$targets" | sort -u | while read -r package; do
	$go test -vet=off -c -gcflags="$module/...=-d=libfuzzer" -ldflags='-s -w' -o "$programs/${package//\//_}" "./$package" >&2 </dev/null || exit 1
	grep "^$package " <<<"$targets"
done | xargs -r -L 1 -P "$(nproc)" bash -c 'target "$@"' fuzz
