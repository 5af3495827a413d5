#!/usr/bin/env bash
# Runs every fuzz target for a short time: scripts/fuzz.sh 3s
set -euo pipefail
for_time=${1:-3s}
while IFS=: read -r file target; do
	dir=$(dirname "$file")
	printf 'fuzz %-44s %s\n' "$dir" "$target"
	if ! out=$(go test "./$dir" -run '^$' -fuzz "^${target}\$" -fuzztime "$for_time" 2>&1); then
		echo "$out"
		exit 1
	fi
done < <(git ls-files '*_test.go' | xargs grep -oE '^func Fuzz[A-Za-z0-9_]+' | sed 's/func //' | sort)
