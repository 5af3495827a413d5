# Parts of the lake's scripts: an object store, a catalog and engines, all on this machine and from package
# registries. The caller sets engines (may be empty), cache and requirements, and is in the project's folder.
# It gets work (a folder that is removed at the end) and lake (the program).

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
	if [[ $engines == *trino* && ! -d $cache/trino/plugin/iceberg ]]; then
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

export LAKE_JDBC=jdbc:postgresql://127.0.0.1:${db:-}/lake LAKE_WAREHOUSE=s3://lake/warehouse SPARK_JARS=$cache/iceberg-spark.jar,$cache/iceberg-aws.jar,$cache/postgresql.jar

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

# list_files prints the files of tables, for DuckDB, which reads them where versitygw keeps them.
export LAKE=$lake LAKE_FILES=$work/s3/
list_files() { # TABLE...
	local table comma=''
	echo '{'
	for table; do
		printf '%s"%s": ' "$comma" "$table"
		"$lake" files "$table" --json | sed "s|s3://|$LAKE_FILES|"
		comma=,
	done
	echo '}'
}
