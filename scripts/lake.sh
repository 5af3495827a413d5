#!/usr/bin/env bash
# The lake with real parts: versitygw as the object store, PostgreSQL as the catalog, and Spark, Trino and
# DuckDB as engines, all on this machine and from package registries. Bundles of samples/ are pushed and
# registered by two writers at once; then each engine answers scripts/lake/questions.sql, and the answers
# must be the same, also after the rows of a namespace were removed.
#
# scripts/lake.sh short: versitygw and DuckDB only, with SQLite as the catalog and three bundles; under a
# minute. LAKE_BUNDLES=N limits the number of bundles; default 100, and beyond the samples pairs of them.
#
# It needs bin/pcapsule, PostgreSQL's programs, python3, Maven, Java 17 for Spark and Java 24 or newer for
# Trino (JAVA_SPARK and JAVA_TRINO name their folders), about 2 GB in .cache/lake, and 5 GB of memory.
set -euo pipefail
cd "$(dirname "$0")/.."
cache=$PWD/.cache/lake
engines=${LAKE_ENGINES-trino spark}
bundles=${LAKE_BUNDLES:-100}
requirements=scripts/lake/requirements.txt
if [ "${1:-}" = short ]; then
	engines='' bundles=3 requirements=scripts/lake/short.txt cache=$PWD/.cache/lake-short
fi
. scripts/lake/lib.sh

# Bundles, pushed and registered by two writers at once.
mkdir "$work/bundles"
captures=(samples/shop.pcapng samples/redis.pcap samples/dns.pcap)
for f in samples/*.pcap samples/*.pcapng; do
	case " ${captures[*]} " in *" $f "*) ;; *) captures+=("$f") ;; esac
done
made=0
capsule() { # NAME CAPTURE...
	[ "$made" -lt "$bundles" ] || return 0
	local name=$1
	shift
	bin/pcapsule bundle "$@" --kube samples/shop.kube.json -o "$work/bundles/$name.pcapsule" >"$work/bundle.log" 2>&1 || { echo "lake: $* makes no bundle: $(tail -n 1 "$work/bundle.log")" >&2; return 0; }
	made=$((made + 1))
}
for f in "${captures[@]}"; do capsule "$(basename "${f%.*}")" "$f"; done
for step in 1 2; do # pairs
	for i in $(seq 0 $((${#captures[@]} - 1 - step))); do
		a=${captures[$i]} b=${captures[$((i + step))]}
		capsule "$(basename "${a%.*}")-$(basename "${b%.*}")" "$a" "$b"
	done
done
bin/pcapsule store push "$work"/bundles/*.pcapsule "s3://evidence/2026?use_path_style=true" >/dev/null
mapfile -t addresses < <(cd "$work/bundles" && printf 's3://evidence/2026/%s\n' *.pcapsule)
half=$((${#addresses[@]} / 2))
begin=$SECONDS
"$lake" --warehouse s3://lake/warehouse add "${addresses[0]}" --cluster east >"$work/add0.log"
"$lake" add "${addresses[@]:1:half}" --cluster east >"$work/add1.log" &
first=$!
# The second writer also adds a bundle that the first adds.
"$lake" add "${addresses[1]}" "${addresses[@]:half+1}" --cluster west >"$work/add2.log"
wait "$first"
echo "registered ${#addresses[@]} bundles in $((SECONDS - begin)) s"
"$lake" check --deep
"$lake" files calls --protocol redis >/dev/null
of() { "$lake" files "$1" --json | python3 -c 'import json, sys; print(sum(f["rows"] for f in json.load(sys.stdin)))'; }
before=$(of calls)
"$lake" remove kube-system --by lake.sh --reason test >"$work/removed"
"$lake" check --deep
[ "$(of calls)" -lt "$before" ] || { echo "lake: removing a namespace left all $before calls" >&2; exit 1; }
echo "removed a namespace from $(wc -l <"$work/removed") bundles: $((before - $(of calls))) of $before calls"

list_files bundles calls endpoints flows bodies anomalies removals >"$work/files.json"
"$cache/py/bin/python" scripts/lake/ask.py scripts/lake/questions.sql duckdb "$work/files.json" >"$work/duckdb.json"
go test ./kfl -run 'TestDialects$' -count=1 -args -dialects "$work/kfl.json" >/dev/null
"$cache/py/bin/python" scripts/lake/kfl.py "$work/kfl.json" duckdb

answers() { # ENGINE
	case $1 in
	trino)
		start_trino
		"$cache/py/bin/python" scripts/lake/ask.py scripts/lake/questions.sql trino "$http" >"$work/trino.json"
		"$cache/py/bin/python" scripts/lake/kfl.py "$work/kfl.json" trino "$http"
		kill "$trino"
		wait "$trino" 2>/dev/null || true
		;;
	spark)
		JAVA_HOME=$JAVA_SPARK "$cache/py/bin/python" scripts/lake/ask.py scripts/lake/questions.sql spark >"$work/spark.json" 2>"$work/spark.log" || { tail -n 60 "$work/spark.log" >&2; exit 1; }
		grep -o 'spark: .* CPU s' "$work/spark.log" >&2 || true
		JAVA_HOME=$JAVA_SPARK "$cache/py/bin/python" scripts/lake/kfl.py "$work/kfl.json" spark 2>"$work/kfl.log" || { tail -n 60 "$work/kfl.log" >&2; exit 1; }
		;;
	esac
}

# LAKE_ENGINES chooses engines.
for engine in $engines; do
	answers "$engine"
	diff -u "$work/duckdb.json" "$work/$engine.json" || { echo "lake: DuckDB and $engine differ" >&2; exit 1; }
done
echo "$(grep -c '^-- name' scripts/lake/questions.sql) questions over ${#addresses[@]} bundles: the same answers from duckdb ${engines}"
