"""Asks questions in one engine and prints the answers as JSON, and what each took on standard error.

ask.py QUESTIONS.sql duckdb FILES.json | spark | trino PORT

A question may begin with a line "-- files: FLAGS". DuckDB, which has no bounds of files but those in the
files themselves, then looks only into the files that "pcapsule-lake files TABLE FLAGS" lists.
"""

import datetime
import decimal
import json
import os
import pathlib
import subprocess
import sys
import time


def questions(path):
    for part in pathlib.Path(path).read_text().split("-- name: ")[1:]:
        name, sql = part.split("\n", 1)
        flags = []
        if sql.startswith("-- files: "):
            line, sql = sql.split("\n", 1)
            flags = line.removeprefix("-- files: ").split()
        yield name.strip(), flags, sql.strip().rstrip(";")


def cpu():
    """Processor time of this process and its descendants, in seconds."""
    parents, times = {}, {}
    for stat in pathlib.Path("/proc").glob("[0-9]*/stat"):
        try:
            f = stat.read_text().rsplit(")", 1)[1].split()
        except OSError:  # it has ended
            continue
        pid = int(stat.parent.name)
        parents[pid], times[pid] = int(f[1]), int(f[11]) + int(f[12])
    mine = {os.getpid()}
    while more := {p for p, of in parents.items() if of in mine} - mine:
        mine |= more
    return sum(times.get(p, 0) for p in mine) / os.sysconf("SC_CLK_TCK")


def plain(v):
    """A value in the spelling that all engines share."""
    if isinstance(v, decimal.Decimal):
        return int(v)
    if isinstance(v, datetime.datetime):
        return v.replace(tzinfo=None).isoformat(timespec="microseconds")
    if isinstance(v, datetime.date):
        return v.isoformat()
    return v


def duckdb_engine(files):
    import duckdb

    db = duckdb.connect()
    db.execute("SET memory_limit='1GB'; SET threads=2; SET TimeZone='UTC'")

    def views(tables):
        for table, list_ in tables.items():
            db.execute("CREATE OR REPLACE TABLE files_%s(path VARCHAR, bundle_id VARCHAR, cluster VARCHAR, day DATE)" % table)
            db.executemany("INSERT INTO files_%s VALUES (?, ?, ?, ?)" % table, [(f["path"], f["bundle_id"], f["cluster"], f["day"]) for f in list_])
            paths = ", ".join("'%s'" % f["path"].replace("'", "''") for f in list_)
            own = "" if table in ("bundles", "removals") else ", f.bundle_id, f.cluster, f.day"
            db.execute("CREATE OR REPLACE VIEW %s AS SELECT t.* EXCLUDE (filename)%s FROM read_parquet([%s], union_by_name=true, filename=true, hive_partitioning=false) t JOIN files_%s f ON f.path = t.filename" % (table, own, paths, table))

    every = json.load(open(files))
    views(every)

    def ask(sql, flags):
        count = ""
        if flags:
            some = json.loads(subprocess.check_output([os.environ["LAKE"], "files", "calls", "--json"] + flags))
            at = os.environ["LAKE_FILES"]
            if some:
                views({"calls": [dict(f, path=f["path"].replace("s3://", at)) for f in some]})
            count = "%d of %d files" % (len(some), len(every["calls"]))
        rows = db.execute(sql).fetchall()
        if flags:
            views({"calls": every["calls"]})
        return rows, count

    return ask


def spark_engine():
    from pyspark.sql import SparkSession

    b = SparkSession.builder.master("local-cluster[1,2,1024]").appName("lake")
    c = "spark.sql.catalog.pcapsule"
    for key, value in {
        "spark.driver.memory": "1g",
        "spark.ui.enabled": "false",
        "spark.ui.showConsoleProgress": "false",
        "spark.jars": os.environ["SPARK_JARS"],
        "spark.sql.shuffle.partitions": "2",
        "spark.sql.adaptive.enabled": "false",  # so that a plan's leaves are its scans
        "spark.sql.session.timeZone": "UTC",
        "spark.sql.timestampType": "TIMESTAMP_NTZ",  # as the columns are; a comparison with others is not pushed down
        "spark.driver.host": "127.0.0.1",
        "spark.driver.bindAddress": "127.0.0.1",
        "spark.sql.extensions": "org.apache.iceberg.spark.extensions.IcebergSparkSessionExtensions",
        c: "org.apache.iceberg.spark.SparkCatalog",
        c + ".type": "jdbc",
        c + ".uri": os.environ["LAKE_JDBC"],
        c + ".jdbc.user": "lake",
        c + ".jdbc.schema-version": "V1",
        c + ".warehouse": os.environ["LAKE_WAREHOUSE"],
        c + ".io-impl": "org.apache.iceberg.aws.s3.S3FileIO",
        c + ".s3.endpoint": os.environ["AWS_ENDPOINT_URL"],
        c + ".s3.path-style-access": "true",
        "spark.executorEnv.AWS_REGION": os.environ["AWS_REGION"],
        "spark.executorEnv.AWS_ACCESS_KEY_ID": os.environ["AWS_ACCESS_KEY_ID"],
        "spark.executorEnv.AWS_SECRET_ACCESS_KEY": os.environ["AWS_SECRET_ACCESS_KEY"],
    }.items():
        b = b.config(key, value)
    spark = b.getOrCreate()
    spark.sparkContext.setLogLevel("ERROR")
    spark.sql("USE pcapsule.pcapsule")

    def ask(sql, flags):
        answer = spark.sql(sql)
        rows = [tuple(r) for r in answer.collect()]
        return rows, scanned(answer._jdf.queryExecution().executedPlan().collectLeaves())

    return ask


def scanned(leaves):
    """The number of files that Iceberg's scans of a plan read and skipped."""
    n = {"resultDataFiles": 0, "skippedDataFiles": 0}
    for i in range(leaves.size()):
        metrics = leaves.apply(i).metrics()
        for name in n:
            if metrics.contains(name):
                n[name] += metrics.apply(name).value()
    return "%d of %d files" % (n["resultDataFiles"], sum(n.values()))


def trino_engine(port):
    import trino

    conn = trino.dbapi.connect(host="127.0.0.1", port=int(port), user="lake", catalog="lake", schema="pcapsule")

    def ask(sql, flags):
        c = conn.cursor()
        c.execute(sql)
        return c.fetchall(), ""

    return ask


name = sys.argv[2]
engine = {"duckdb": duckdb_engine, "spark": spark_engine, "trino": trino_engine}[name](*sys.argv[3:])
out = {}
for question, flags, sql in questions(sys.argv[1]):
    begin, used = time.time(), cpu()
    rows, files = engine(sql, flags)
    out[question] = [[plain(v) for v in row] for row in rows]
    print("%s: %-52s %8.2f s %8.2f CPU s  %s" % (name, question, time.time() - begin, cpu() - used, files), file=sys.stderr)
json.dump(out, sys.stdout, indent=1, sort_keys=True)
