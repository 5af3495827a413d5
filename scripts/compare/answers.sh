#!/usr/bin/env bash
# Compares the answers of two programs about every sample and other captures: each makes a
# bundle of every capture, and is asked every question, filters and SQL about its bundle.
# usage: answers.sh OLD NEW [DIR]
#   OLD, NEW  the programs
#   DIR       keeps bundles and answers of OLD, by the content of captures and program
#             (default .cache/compare)
#   CAPTURES  folder with an INDEX.tsv of more captures (default ../shared/captures, if it exists)
#   MOST      captures of each protocol there (default 1; 0: all of them)
#   EVERY     one capture in this many, samples too (default 1)
#   INPUTS    inputs for each question (default 1; 0: all; KFL and SQL: always all)
#   ONLY      only captures whose path matches this regular expression
#   ASK       only questions whose name matches this regular expression
#   SAME=1    both read the bundles that OLD made
#   KEEP=1    keep bundles and answers of NEW too
#   JOBS      captures at once (default 2)
# Prints a table: question, equal and different answers. DIR/different-ID/ has both answers and
# their diff for each answer that differs; ID is the start of the hash of NEW. Exit code 1: answers differ.
set -euo pipefail
if [ $# -lt 2 ] || [ $# -gt 3 ]; then
	sed -n '2,/^set/p' "$0" | sed -n 's/^# \?//p'
	exit 2
fi
old=$(realpath "$1") new=$(realpath "$2") dir=$(realpath -m "${3:-.cache/compare}")
cd "$(dirname "$0")/../.."
captures=${CAPTURES-../shared/captures}
[ -f "$captures/INDEX.tsv" ] || captures=
build=$(mktemp -d)
trap 'rm -rf "$build"' EXIT
go build -o "$build/compare" ./scripts/compare
"$build/compare" -captures "$captures" -most "${MOST:-1}" -every "${EVERY:-1}" -inputs "${INPUTS:-1}" -only "${ONLY:-}" -ask "${ASK:-}" -same="${SAME:-0}" -keep="${KEEP:-0}" \
	-jobs "${JOBS:-2}" "$old" "$new" "$dir"
