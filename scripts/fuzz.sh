#!/usr/bin/env bash
# Runs every fuzz target for a short time: scripts/fuzz.sh 3s
# A run that ends in an error without an input that causes it is tried again: on a busy
# machine the fuzzer now and then misses its own deadline.
set -euo pipefail
for_time=${1:-3s}
fuzz() { go test "./$1" -run '^$' -fuzz "^$2\$" -fuzztime "$for_time" -fuzzminimizetime 5x 2>&1; }
while IFS=: read -r file target; do
	dir=$(dirname "$file")
	printf 'fuzz %-44s %s\n' "$dir" "$target"
	for try in 1 2 3; do
		if out=$(fuzz "$dir" "$target"); then
			break
		fi
		if [ "$try" = 3 ] || grep -q 'Failing input\|panic:\|build failed\|setup failed' <<<"$out"; then
			echo "$out"
			exit 1
		fi
	done
done < <(git ls-files '*_test.go' | xargs grep -oE '^func Fuzz[A-Za-z0-9_]+' | sed 's/func //' | sort)
