#!/usr/bin/env bash
# Fails if no program reaches a function, unless .ci/deadcode.txt names it with the reason. An entry of
# that list that is not needed is an error too.
set -euo pipefail
cd "$(dirname "$0")/.."
# testgate imports internal/duckdbtest, and scripts/bench/floods samples/frames, of which they need only a part: the rest
# is for tests.
mains=$(go list -f '{{if eq .Name "main"}}{{.ImportPath}}{{end}}' ./... | grep -v -e '/internal/testgate$' -e '/scripts/bench/floods$')
# shellcheck disable=SC2086
found=$(.cache/deadcode -f '{{$path := .Path}}{{range .Funcs}}{{println $path .Name}}{{end}}' $mains | sed "s|^$(go list -m)/||; /^$/d" | sort -u)
if ! diff <(grep -v '^#' .ci/deadcode.txt | cut -f1 | sort -u) <(echo "$found") >.cache/deadcode.diff; then
	echo "functions that no program reaches (>), and entries of .ci/deadcode.txt that are not needed (<):"
	grep '^[<>]' .cache/deadcode.diff
	exit 1
fi
