"""Evaluates the conditions that go test ./kfl -run TestDialects -args -dialects RUN.json writes in one
engine, and compares the rows for which each is true with those that the SQL of a case selects.

A statement evaluates many conditions as columns, because planning costs more than 40 rows do. A condition
must be true or false: NULL is a difference. If a statement fails, its halves are tried.

kfl.py RUN.json duckdb | spark | trino PORT
"""

import json
import sys
import time

BATCH = 50


def duckdb_engine(calls):
    import duckdb

    duckdb.execute("CREATE TABLE calls AS " + calls)
    return lambda sql: duckdb.execute(sql).fetchall()


def spark_engine(calls):
    from pyspark.sql import SparkSession

    b = SparkSession.builder.master("local[2]").appName("kfl").config("spark.driver.memory", "1500m").config("spark.ui.enabled", "false").config("spark.ui.showConsoleProgress", "false")
    spark = b.config("spark.driver.host", "127.0.0.1").config("spark.driver.bindAddress", "127.0.0.1").config("spark.sql.ansi.enabled", "true").getOrCreate()
    spark.sparkContext.setLogLevel("ERROR")
    spark.sql(calls).coalesce(1).localCheckpoint().createOrReplaceTempView("calls")
    return lambda sql: [tuple(r) for r in spark.sql(sql).collect()]


def trino_engine(calls, port):
    import trino

    conn = trino.dbapi.connect(host="127.0.0.1", port=int(port), user="lake", catalog="lake", schema="kfl")

    def ask(sql):
        c = conn.cursor()
        c.execute(sql)
        return c.fetchall()

    # A table, because Trino evaluates conditions on VALUES while it plans.
    ask("CREATE SCHEMA kfl")
    ask("CREATE TABLE calls AS " + calls)
    return ask


def evaluate(cases):
    """Yields each case with the rows for which it is true, or with the error."""
    sql = "SELECT kfl_row, %s FROM calls ORDER BY kfl_row" % ", ".join("(%s) AS c%d" % (c["where"][name], i) for i, c in enumerate(cases))
    try:
        answer = ask(sql)
    except Exception as e:
        if len(cases) == 1:
            yield cases[0], "error: " + str(e)[:600]
            return
        half = len(cases) // 2
        yield from evaluate(cases[:half])
        yield from evaluate(cases[half:])
        return
    for i, case in enumerate(cases):
        yield case, [("NULL", r[0]) if r[i + 1] is None else r[0] for r in answer if r[i + 1] is not False]


name = sys.argv[2]
run = json.load(open(sys.argv[1]))
cases, wrong, begin = run["cases"], 0, time.time()
ask = {"duckdb": duckdb_engine, "spark": spark_engine, "trino": trino_engine}[name](run["calls"][name], *sys.argv[3:])
for at in range(0, len(cases), BATCH):
    for case, got in evaluate(cases[at : at + BATCH]):
        if got != case["rows"]:
            wrong += 1
            if wrong <= 20:
                print("%s: %s\n  rows %s, want %s\n  %s" % (name, case["kfl"], got, case["rows"], case["where"][name][:1500]), file=sys.stderr)
    print("%s: %d of %d conditions, %.0f s" % (name, min(at + BATCH, len(cases)), len(cases), time.time() - begin), file=sys.stderr)
if wrong or not cases:
    sys.exit("%s: %d of %d KFL filters differ" % (name, wrong, len(cases)))
print("%s: %d KFL filters select the same rows, %.0f s" % (name, len(cases), time.time() - begin))
