"""Runs the cases that go test ./kfl -run TestDialects -args -dialects CASES.json writes in one engine,
and compares the rows with those that KFL's matcher selects.

kfl.py CASES.json duckdb | spark | trino PORT
"""

import json
import sys


def duckdb_engine():
    import duckdb

    return lambda sql: duckdb.execute(sql).fetchall()


def spark_engine():
    from pyspark.sql import SparkSession

    b = SparkSession.builder.master("local[1]").appName("kfl").config("spark.driver.memory", "1500m").config("spark.ui.enabled", "false").config("spark.ui.showConsoleProgress", "false")
    spark = b.config("spark.driver.host", "127.0.0.1").config("spark.driver.bindAddress", "127.0.0.1").config("spark.sql.ansi.enabled", "true").getOrCreate()
    spark.sparkContext.setLogLevel("ERROR")
    return lambda sql: [tuple(r) for r in spark.sql(sql).collect()]


def trino_engine(port):
    import trino

    conn = trino.dbapi.connect(host="127.0.0.1", port=int(port), user="lake")

    def ask(sql):
        c = conn.cursor()
        c.execute(sql)
        return c.fetchall()

    return ask


name = sys.argv[2]
ask = {"duckdb": duckdb_engine, "spark": spark_engine, "trino": trino_engine}[name](*sys.argv[3:])
cases = json.load(open(sys.argv[1]))
wrong = 0
for case in cases:
    try:
        got = [r[0] for r in ask(case["sql"][name])]
    except Exception as e:
        got = "error: " + str(e)[:600]
    if got != case["rows"]:
        wrong += 1
        if wrong <= 20:
            print("%s: %s\n  rows %s, want %s\n  %s" % (name, case["kfl"], got, case["rows"], case["sql"][name].rsplit(" AS calls", 1)[-1][:1500]), file=sys.stderr)
if wrong or not cases:
    sys.exit("%s: %d of %d KFL filters differ" % (name, wrong, len(cases)))
print("%s: %d KFL filters select the same rows" % (name, len(cases)))
