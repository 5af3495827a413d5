"""Asks the questions of questions.sql in one engine and prints the answers as JSON.

ask.py duckdb FILES.json | spark | trino PORT
"""

import datetime
import decimal
import json
import os
import pathlib
import sys
import time


def questions():
    text = (pathlib.Path(__file__).parent / "questions.sql").read_text()
    for part in text.split("-- name: ")[1:]:
        name, sql = part.split("\n", 1)
        yield name.strip(), sql.strip().rstrip(";")


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
    db.execute("SET memory_limit='1GB'; SET threads=2")
    for table, list_ in json.load(open(files)).items():
        db.execute("CREATE TABLE files_%s(path VARCHAR, bundle_id VARCHAR, cluster VARCHAR, day DATE)" % table)
        db.executemany("INSERT INTO files_%s VALUES (?, ?, ?, ?)" % table, [(f["path"], f["bundle_id"], f["cluster"], f["day"]) for f in list_])
        db.execute("SET VARIABLE files = (SELECT list(path ORDER BY path) FROM files_%s)" % table)
        own = "" if table in ("bundles", "removals") else ", f.bundle_id, f.cluster, f.day"
        db.execute("CREATE TABLE %s AS SELECT t.* EXCLUDE (filename)%s FROM read_parquet(getvariable('files'), union_by_name=true, filename=true, hive_partitioning=false) t JOIN files_%s f ON f.path = t.filename" % (table, own, table))
    return lambda sql: db.execute(sql).fetchall()


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
        "spark.sql.session.timeZone": "UTC",
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
    return lambda sql: [tuple(r) for r in spark.sql(sql).collect()]


def trino_engine(port):
    import trino

    conn = trino.dbapi.connect(host="127.0.0.1", port=int(port), user="lake", catalog="lake", schema="pcapsule")

    def ask(sql):
        c = conn.cursor()
        c.execute(sql)
        return c.fetchall()

    return ask


engine = {"duckdb": duckdb_engine, "spark": spark_engine, "trino": trino_engine}[sys.argv[1]](*sys.argv[2:])
out = {}
for name, sql in questions():
    begin = time.time()
    out[name] = [[plain(v) for v in row] for row in engine(sql)]
    print("%s: %s: %.2f s" % (sys.argv[1], name, time.time() - begin), file=sys.stderr)
json.dump(out, sys.stdout, indent=1, sort_keys=True)
