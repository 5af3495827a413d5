"""A client of clickhouse-driver.

usage: clickhouse.py ADDRESS PASSWORD SAID
The client notes each request with its result: rows, "ok", or the number of the error.
"""
import datetime
import sys

from clickhouse_driver import Client, connection, errors

SAID = []


def said(*words):
    SAID.append("\t".join(str(w).replace("\n", " ") for w in words))


def ping(self, plain=connection.Connection.ping):
    """The driver does so before each statement of an open connection."""
    answer = plain(self)
    said("PING", "", "ok" if answer else "none")
    return answer


connection.Connection.ping = ping


def clients(address, password):
    """The same in clear text and with both compressions."""
    for method in (False, "lz4", "zstd"):
        yield Client(address, user="shop", password=password, database="default", compression=method, client_name="shop-service")


def run(client, query, *values, rows=None, **options):
    kind = query.split()[0]
    try:
        got = client.execute(query, *values, **options)
    except errors.ServerException as e:
        client.disconnect()  # the server may close it
        said(kind, query, "error %d" % e.code)
        return None
    if rows is None and isinstance(got, list):
        said(kind, query, "%d rows" % len(got))
    else:
        said(kind, query, "ok" if rows is None else rows)
    return got


TYPES = """SELECT toUInt8(number) AS small, toInt64(-number) AS big, number / 4 AS ratio, concat('name ', toString(number)) AS name,
 toFixedString('abc', 5) AS fixed, toDate('2026-11-21') AS day, toDateTime(1795000000 + number) AS at, [number, number + 1] AS list, (number, 'x') AS pair,
 if(number = 1, NULL, number) AS maybe, toDecimal64(number, 3) AS price, CAST(number % 2 + 1 AS Enum8('paid' = 1, 'sent' = 2)) AS state,
 [[toString(number)], []] AS lists, NULL AS nothing, toUUID('61f0c404-5cb3-11e7-907b-a6006ad3dba0') AS id FROM system.numbers LIMIT 3"""


def talk(c):
    for q in (
        "DROP TABLE IF EXISTS orders",
        "CREATE TABLE orders (id UInt32, status String, total Nullable(Float64), tags Array(String), at DateTime) ENGINE = Memory",
        "SELECT 1",
        TYPES,
    ):
        run(c, q)
    rows = [(1, "paid", 10.5, ["a", "b"], datetime.datetime(2026, 11, 21, 9, 0)), (2, "sent", None, [], datetime.datetime(2026, 11, 21, 10, 0))]
    run(c, "INSERT INTO orders (id, status, total, tags, at) VALUES", rows, rows="ok")
    run(c, "SELECT id, status FROM orders WHERE status = 'paid'")
    run(c, "SELECT status, count() FROM orders GROUP BY status WITH TOTALS ORDER BY status", rows="2 rows")  # and the totals
    run(c, "SELECT toUInt8(number) FROM system.numbers LIMIT 70000")
    run(c, "SELECT * FROM orders WHERE id > 5")
    run(c, "SELECT nothing FROM nowhere")
    run(c, "SELEC 1")
    with_id = c.execute("SELECT count() FROM orders", query_id="report-7", settings={"max_threads": 1, "max_block_size": 1000})
    assert with_id == [(2,)]
    said("SELECT", "SELECT count() FROM orders", "1 rows")
    c.disconnect()


def main(address, password, file):
    for c in clients(address, password):
        talk(c)
    for user, word, database in (("shop", "wrong", "default"), ("shop", password, "nowhere")):
        c = Client(address, user=user, password=word, database=database)
        try:
            c.execute("SELECT 1")
            said("SELECT", "SELECT 1", "1 rows")
        except errors.ServerException as e:
            said("HELLO", user, "error %d" % e.code)
        c.disconnect()
    with open(file, "w") as f:
        f.write("# kind\tstatement or user\tresult\n" + "\n".join(SAID) + "\n")


main(*sys.argv[1:])
