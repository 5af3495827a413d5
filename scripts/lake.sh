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
work=$(mktemp -d /tmp/pcapsule-lake.XXXXXX)
pids=()
finish() {
	for pid in "${pids[@]}"; do kill "$pid" 2>/dev/null || true; done
	wait 2>/dev/null || true
	rm -rf "$work"
}
trap finish EXIT

java_of() { # the folder of the newest Java that is at least $1
	local dir best='' best_version=0 v
	for dir in /usr/lib/jvm/*/; do
		[ -x "$dir/bin/java" ] || continue
		v=$("$dir/bin/java" -version 2>&1 | sed -n '1s/[^"]*"\([0-9]*\).*/\1/p')
		if [ "${v:-0}" -ge "$1" ] && [ "${v:-0}" -le "$2" ] && [ "$v" -gt "$best_version" ]; then best=$dir best_version=$v; fi
	done
	[ -n "$best" ] || { echo "lake: no Java of version $1 to $2 in /usr/lib/jvm; install one, or name its folder in JAVA_SPARK or JAVA_TRINO" >&2; exit 1; }
	echo "$best"
}
full() { [ -n "$engines" ]; } # other engines need Java and PostgreSQL
if full; then
	JAVA_SPARK=${JAVA_SPARK:-$(java_of 11 17)}
	JAVA_TRINO=${JAVA_TRINO:-$(java_of 24 99)}
	pg=$(ls -d /usr/lib/postgresql/*/bin 2>/dev/null | tail -n 1)
	[ -n "$pg" ] || { echo "lake: no PostgreSQL in /usr/lib/postgresql; install the package postgresql" >&2; exit 1; }
fi

# What the registries have.
mkdir -p "$cache"
artifact() { # GROUP:NAME:VERSION:TYPE[:CLASSIFIER] FILE
	[ -s "$cache/$2" ] && return
	mvn -q -B dependency:get -Dartifact="$1" -Dtransitive=false
	IFS=: read -r group name version type classifier <<<"$1"
	cp "$HOME/.m2/repository/${group//.//}/$name/$version/$name-$version${classifier:+-$classifier}.$type" "$cache/$2"
}
if full; then
	artifact org.apache.iceberg:iceberg-spark-runtime-3.5_2.12:1.11.0:jar iceberg-spark.jar
	artifact org.apache.iceberg:iceberg-aws-bundle:1.11.0:jar iceberg-aws.jar
	artifact org.postgresql:postgresql:42.7.7:jar postgresql.jar
	if [ ! -d "$cache/trino/plugin/iceberg" ]; then
		artifact io.trino:trino-server-core:476:tar.gz trino.tar.gz
		artifact io.trino:trino-iceberg:476:zip trino-iceberg.zip
		mkdir -p "$cache/trino" "$cache/trino/iceberg.part"
		tar xzf "$cache/trino.tar.gz" -C "$cache/trino" --strip-components=1
		python3 -c 'import sys, zipfile, pathlib
for n in zipfile.ZipFile(sys.argv[1]).namelist():
    if n.endswith(".jar"): (pathlib.Path(sys.argv[2]) / pathlib.Path(n).name).write_bytes(zipfile.ZipFile(sys.argv[1]).read(n))' "$cache/trino-iceberg.zip" "$cache/trino/iceberg.part"
		mv "$cache/trino/iceberg.part" "$cache/trino/plugin/iceberg"
		rm "$cache/trino.tar.gz" "$cache/trino-iceberg.zip"
	fi
fi
if ! cmp -s "$requirements" "$cache/py/requirements.txt"; then
	python3 -m venv "$cache/py"
	"$cache/py/bin/pip" install -q -r "$requirements"
	cp "$requirements" "$cache/py/requirements.txt"
fi
[ -x .cache/versitygw ] || go build -C store/testdata/gateway -o "$PWD/.cache/versitygw" github.com/versity/versitygw/cmd/versitygw
go build -C lake -ldflags '-s -w' -o "$PWD/bin/pcapsule-lake" ./cmd/pcapsule-lake
lake=$PWD/bin/pcapsule-lake

port() { python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'; }
until_up() { # NAME SECONDS COMMAND...
	local name=$1 n=$2
	shift 2
	for _ in $(seq "$((n * 4))"); do "$@" >/dev/null 2>&1 && return; sleep 0.25; done
	echo "lake: $name did not start in $n s" >&2
	tail -n 20 "$work"/*.log >&2
	exit 1
}

# Object store.
s3=$(port)
export AWS_ACCESS_KEY_ID=lake AWS_SECRET_ACCESS_KEY=lakesecret AWS_REGION=us-east-1 AWS_ENDPOINT_URL=http://127.0.0.1:$s3 AWS_S3_USE_PATH_STYLE=true
mkdir -p "$work/s3/evidence" "$work/s3/lake" "$work/side"
ROOT_ACCESS_KEY=lake ROOT_SECRET_KEY=lakesecret .cache/versitygw --port "127.0.0.1:$s3" posix --sidecar "$work/side" "$work/s3" >"$work/s3.log" 2>&1 &
pids+=($!)
until_up versitygw 10 curl -s "http://127.0.0.1:$s3/"

# Catalog. PostgreSQL refuses to run as root.
if full; then
	as() { if [ "$(id -u)" = 0 ]; then setpriv --reuid=postgres --regid=postgres --clear-groups "$@"; else "$@"; fi; }
	db=$(port)
	mkdir "$work/pg"
	chmod 711 "$work"
	if [ "$(id -u)" = 0 ]; then chown postgres "$work/pg"; fi
	as "$pg/initdb" -D "$work/pg/data" -U lake -A trust >"$work/pg.log"
	as "$pg/postgres" -D "$work/pg/data" -p "$db" -c listen_addresses=127.0.0.1 -c unix_socket_directories= -c fsync=off >>"$work/pg.log" 2>&1 &
	pids+=($!)
	until_up PostgreSQL 20 "$pg/pg_isready" -h 127.0.0.1 -p "$db"
	psql -q -h 127.0.0.1 -p "$db" -U lake -d postgres -c 'CREATE DATABASE lake'
	export PCAPSULE_LAKE="postgres://lake@127.0.0.1:$db/lake?sslmode=disable"
else
	export PCAPSULE_LAKE="sqlite://$work/lake.db"
fi

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

# Engines.
for table in bundles calls endpoints flows bodies anomalies removals; do
	printf '"%s": ' "$table"
	"$lake" files "$table" --json
	[ "$table" = removals ] || echo ,
done | (echo '{'; cat; echo '}') | sed "s|s3://|$work/s3/|" >"$work/files.json"
export LAKE_JDBC=jdbc:postgresql://127.0.0.1:${db:-}/lake LAKE_WAREHOUSE=s3://lake/warehouse SPARK_JARS=$cache/iceberg-spark.jar,$cache/iceberg-aws.jar,$cache/postgresql.jar
"$cache/py/bin/python" scripts/lake/ask.py duckdb "$work/files.json" >"$work/duckdb.json"
go test ./kfl -run 'TestDialects$' -count=1 -args -dialects "$work/kfl.json" >/dev/null
"$cache/py/bin/python" scripts/lake/kfl.py "$work/kfl.json" duckdb

start_trino() {
	http=$(port)
	mkdir -p "$work/trino/etc/catalog" "$work/trino/data"
	cat >"$work/trino/etc/config.properties" <<EOF
coordinator=true
node-scheduler.include-coordinator=true
http-server.http.port=$http
node.internal-address=127.0.0.1
discovery.uri=http://127.0.0.1:$http
query.max-memory=800MB
query.max-memory-per-node=800MB
memory.heap-headroom-per-node=300MB
EOF
	printf 'node.environment=test\nnode.id=lake\nnode.data-dir=%s\n' "$work/trino/data" >"$work/trino/etc/node.properties"
	cat >"$work/trino/etc/catalog/lake.properties" <<EOF
connector.name=iceberg
iceberg.catalog.type=jdbc
iceberg.jdbc-catalog.catalog-name=pcapsule
iceberg.jdbc-catalog.driver-class=org.postgresql.Driver
iceberg.jdbc-catalog.connection-url=$LAKE_JDBC
iceberg.jdbc-catalog.connection-user=lake
iceberg.jdbc-catalog.connection-password=none
iceberg.jdbc-catalog.default-warehouse-dir=$LAKE_WAREHOUSE
iceberg.jdbc-catalog.schema-version=V1
fs.native-s3.enabled=true
s3.endpoint=$AWS_ENDPOINT_URL
s3.region=us-east-1
s3.path-style-access=true
s3.aws-access-key=lake
s3.aws-secret-key=lakesecret
EOF
	(cd "$work/trino" && exec "$JAVA_TRINO/bin/java" -Xmx2G -XX:+ExitOnOutOfMemoryError --sun-misc-unsafe-memory-access=allow \
		--add-modules jdk.incubator.vector --enable-native-access=ALL-UNNAMED -Duser.timezone=UTC -Djdk.attach.allowAttachSelf=true \
		-Dnode.environment=test -Dnode.id=lake -Dnode.data-dir="$work/trino/data" -Dconfig="$work/trino/etc/config.properties" \
		-Dplugin.dir="$cache/trino/plugin" -Dcatalog.config-dir="$work/trino/etc/catalog" -cp "$cache/trino/lib/*" io.trino.server.TrinoServer) >"$work/trino.log" 2>&1 &
	trino=$!
	pids+=("$trino")
	until_up Trino 240 sh -c "curl -s http://127.0.0.1:$http/v1/info | grep -q '\"starting\":false'"
}

answers() { # ENGINE
	case $1 in
	trino)
		start_trino
		"$cache/py/bin/python" scripts/lake/ask.py trino "$http" >"$work/trino.json"
		"$cache/py/bin/python" scripts/lake/kfl.py "$work/kfl.json" trino "$http"
		kill "$trino"
		wait "$trino" 2>/dev/null || true
		;;
	spark)
		JAVA_HOME=$JAVA_SPARK "$cache/py/bin/python" scripts/lake/ask.py spark >"$work/spark.json" 2>"$work/spark.log" || { tail -n 60 "$work/spark.log" >&2; exit 1; }
		grep -o 'spark: .* s$' "$work/spark.log" >&2 || true
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
