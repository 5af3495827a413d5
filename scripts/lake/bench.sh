#!/usr/bin/env bash
# Measures questions over a lake of many calls, in DuckDB and Spark side by side: bundles of 5 million
# generated calls, a day each, of two clusters.
#   LAKE_CALLS    number of calls (default 100000000; about 40 GB of disk and 45 minutes)
#   LAKE_PART     calls of a bundle (default 5000000)
#   LAKE_ENGINES  what is compared with DuckDB (default spark)
set -euo pipefail
cd "$(dirname "$0")/../.."
cache=$PWD/.cache/lake
engines=${LAKE_ENGINES-spark}
calls=${LAKE_CALLS:-100000000} part=${LAKE_PART:-5000000}
requirements=scripts/lake/requirements.txt
. scripts/lake/lib.sh

go build -o "$work/calls" ./scripts/bench/calls
bundles=$(((calls + part - 1) / part))
begin=$SECONDS
for i in $(seq 0 $((bundles - 1))); do
	name=$(printf 'day%03d' "$i")
	"$work/calls" -n "$part" -seed "$((i + 1))" -day "$i" -o "$work/$name.pcap" -kube "$work/kube.json" >>"$work/calls.log"
	bin/pcapsule bundle "$work/$name.pcap" --kube "$work/kube.json" -o "$work/$name.pcapsule" >"$work/bundle.log" 2>&1 || { tail -n 3 "$work/bundle.log" >&2; exit 1; }
	bin/pcapsule store push "$work/$name.pcapsule" "s3://evidence/2026?use_path_style=true" >/dev/null
	rm -r "$work/$name.pcap" "$work/$name.pcapsule"
done
echo "made and pushed $bundles bundles of $part calls: $(du -sh "$work/s3/evidence" | cut -f 1) in $((SECONDS - begin)) s; $(find "$work/s3/evidence" -path '*/data/tables/*' -name '*.parquet' -printf '%s\n' | awk '{n += $1} END {printf "%.0f MB in %d tables", n / 1e6, NR}')"
begin=$SECONDS
for i in $(seq 0 $((bundles - 1))); do
	cluster=east
	[ $((i % 2)) = 0 ] || cluster=west
	"$lake" --warehouse s3://lake/warehouse add "$(printf 's3://evidence/2026/day%03d.pcapsule' "$i")" --cluster "$cluster" >>"$work/add.log"
done
echo "verified and registered in $((SECONDS - begin)) s; metadata: $(du -sh "$work/s3/lake" | cut -f 1)"
list_files bundles calls endpoints >"$work/files.json"

"$cache/py/bin/python" scripts/lake/ask.py scripts/lake/large.sql duckdb "$work/files.json" >"$work/duckdb.json"
for engine in $engines; do
	case $engine in
	trino)
		start_trino
		"$cache/py/bin/python" scripts/lake/ask.py scripts/lake/large.sql trino "$http" >"$work/trino.json"
		;;
	spark)
		JAVA_HOME=$JAVA_SPARK "$cache/py/bin/python" scripts/lake/ask.py scripts/lake/large.sql spark >"$work/spark.json" 2>"$work/spark.log" || { tail -n 60 "$work/spark.log" >&2; exit 1; }
		grep '^spark: ' "$work/spark.log" >&2
		;;
	esac
	diff -u "$work/duckdb.json" "$work/$engine.json" || { echo "lake: DuckDB and $engine differ" >&2; exit 1; }
done
echo "$(grep -c '^-- name' scripts/lake/large.sql) questions over $((bundles * part)) calls: the same answers from duckdb $engines"
