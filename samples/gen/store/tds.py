"""A scripted server and a client of python-tds.

usage: tds.py server ADDRESS
       tds.py client ADDRESS PASSWORD SAID
No server of TDS can be had, so this one answers by a script. Its bytes are those of [MS-TDS], whose sections the
functions name. The client notes each statement: its first word, and rows, count or error.
"""
import socketserver
import struct
import sys

import pytds

PRELOGIN, LOGIN, BATCH, RPC, REPLY, ATTENTION = 0x12, 0x10, 1, 3, 4, 6


def u(text):
    return text.encode("utf-16-le")


def b_varchar(text):
    return bytes([len(text)]) + u(text)


def us_varchar(text):
    return struct.pack("<H", len(text)) + u(text)


COLLATION = b"\x09\x04\xd0\x00\x34"


def done(token=0xFD, status=0, command=0, count=0):  # 2.2.7.6
    return struct.pack("<BHHQ", token, status, command, count)


def message(token, number, state, level, text, procedure="", line=1):  # 2.2.7.10, 2.2.7.13
    body = struct.pack("<iBB", number, state, level) + us_varchar(text) + b_varchar("db") + b_varchar(procedure) + struct.pack("<i", line)
    return struct.pack("<BH", token, len(body)) + body


def change(kind, new, old):  # 2.2.7.9
    body = bytes([kind]) + b_varchar(new) + b_varchar(old)
    return struct.pack("<BH", 0xE3, len(body)) + body


def columns(*names):  # 2.2.7.4: INTN, NVARCHAR(50), DECIMALN(9,2), DATETIME2(3), NVARCHAR(MAX), BITN
    kinds = [b"\x26\x04", b"\xe7\x64\x00" + COLLATION, b"\x6a\x05\x09\x02", b"\x2a\x03", b"\xe7\xff\xff" + COLLATION, b"\x68\x01"]
    return struct.pack("<BH", 0x81, len(names)) + b"".join(struct.pack("<IH", 0, 9) + kind + b_varchar(name) for name, kind in zip(names, kinds))


def row(id, name=None, price=None, days=None, note=None, gift=None):  # 2.2.7.21, NBCROW
    values = [id, name, price, days, note, gift]
    nulls = sum(1 << i for i, v in enumerate(values) if v is None)
    out = bytes([0xD2, nulls]) + b"\x04" + struct.pack("<i", id)
    if name is not None:
        out += struct.pack("<H", 2 * len(name)) + u(name)
    if price is not None:
        out += b"\x05\x01" + struct.pack("<I", price)
    if days is not None:
        out += b"\x07" + struct.pack("<I", 3723004) + struct.pack("<I", days)[:3]
    if note is not None:
        text = u(note)
        out += struct.pack("<QI", len(text), len(text)) + text + struct.pack("<I", 0)
    if gift is not None:
        out += b"\x01" + bytes([gift])
    return out


GOODS = columns("id", "name", "price", "added", "note", "gift")
SELECT, INSERT, DELETE = 0xC1, 0xC3, 0xC4
SCRIPT = {
    "FROM goods WHERE": GOODS + row(7, "tea", 1250, 738000, "grüner Tee", 1) + done(status=0x10, command=SELECT, count=1),
    "FROM goods ORDER": GOODS + row(7, "tea", 1250, 738000, "loose " * 2000, 1) + row(8, "cup") + done(status=0x10, command=SELECT, count=2),
    "INSERT INTO goods": done(status=0x10, command=INSERT, count=1),
    "DELETE FROM goods": done(status=0x10, command=DELETE, count=3),
    "FROM nothing": message(0xAA, 208, 1, 16, "Invalid object name 'nothing'.") + done(status=2, command=SELECT),
    "UPDATE stock": message(0xAA, 1205, 51, 13, "Transaction (Process ID 52) was deadlocked on lock resources.", "restock", 12) + done(status=2),
    "PRINT": message(0xAB, 0, 1, 0, "three left") + done(),
    "restock": done(0xFF, 0x11, INSERT, 2) + struct.pack("<Bi", 0x79, 3) + done(0xFE, 0, 0xE0),
    "secret_view": message(0xAA, 229, 5, 14, "The SELECT permission was denied on the object 'secret_view'.") + done(status=2, command=SELECT),
}


class Server(socketserver.BaseRequestHandler):
    def receive(self):
        kind, payload, last = 0, b"", False
        while not last:
            head = self.request.recv(8, 0x100)  # MSG_WAITALL
            if len(head) < 8:
                return 0, b""
            kind, status, size = head[0], head[1], struct.unpack(">H", head[2:4])[0]
            payload += self.request.recv(size - 8, 0x100) if size > 8 else b""
            last = status & 1
        return kind, payload

    def send(self, payload):
        out, no = b"", 1
        while True:
            piece, payload = payload[:4088], payload[4088:]
            out += struct.pack(">BBHHBB", REPLY, 0 if payload else 1, 8 + len(piece), 52, no % 256, 0) + piece
            no += 1
            if not payload:
                break
        self.request.sendall(out)

    def handle(self):
        while True:
            kind, payload = self.receive()
            if kind == 0:
                return
            if kind == PRELOGIN:  # 2.2.6.5: version 16.0.1000, encryption not supported, no instance, no MARS
                self.send(b"\x00\x00\x15\x00\x06\x01\x00\x1b\x00\x01\x02\x00\x1c\x00\x01\x04\x00\x1d\x00\x01\xff" + b"\x10\x00\x03\xe8\x00\x00" + b"\x02" + b"\x00" + b"\x00")
            elif kind == LOGIN:
                if u("eve") in payload:
                    self.send(message(0xAA, 18456, 1, 14, "Login failed for user 'eve'.") + done(status=2))
                    return
                ack = b"\x01\x74\x00\x00\x04" + b_varchar("Microsoft SQL Server") + b"\x10\x00\x03\xe8"
                self.send(change(1, "orders", "master") + message(0xAB, 5701, 2, 0, "Changed database context to 'orders'.")
                          + change(4, "4096", "4096") + struct.pack("<BH", 0xAD, len(ack)) + ack + done())
            elif kind == ATTENTION:
                self.send(done(status=0x20))
            else:
                self.send(next((answer for key, answer in SCRIPT.items() if u(key) in payload), done()))


def client(address, password, path):
    with open(path, "w", encoding="utf-8") as said:
        def note(*fields):
            said.write("\t".join(fields) + "\n")

        def run(db, sql, *params):
            cursor = db.cursor()
            try:
                cursor.execute(sql, params or None)
                if cursor.description:
                    got = cursor.fetchall()
                    note(sql.split()[0], f"{len(got)} rows", " ".join("NULL" if v is None else str(int(v) if isinstance(v, bool) else v) for v in got[0]).strip()[:60])
                else:
                    note(sql.split()[0], f"{max(cursor.rowcount, 0)} affected", "")
            except pytds.Error as e:
                note(sql.split()[0], f"error {e.number}", e.message.splitlines()[-1])

        with pytds.connect(dsn=address, user="ann", password=password, database="orders", appname="shop", autocommit=True) as db:
            note("LOGIN7", "ann", "orders")
            run(db, "SELECT id, name, price, added, note, gift FROM goods WHERE id = %s", 7)
            run(db, "SELECT id, name, price, added, note, gift FROM goods ORDER BY id")
            run(db, "INSERT INTO goods (id, name) VALUES (%s, %s)", 9, "pot")
            run(db, "DELETE FROM goods")
            run(db, "SELECT * FROM nothing")
            run(db, "UPDATE stock SET n = n - 1")
            run(db, "SELECT * FROM secret_view")
            run(db, "PRINT 'three left'")
            cursor = db.cursor()
            cursor.callproc("restock", (7, "tea"))
            note("EXEC", "2 affected", "")
        try:
            pytds.connect(dsn=address, user="eve", password=password, database="orders").close()
        except pytds.Error as e:
            note("LOGIN7", "eve", f"error {e.number}")


if sys.argv[1] == "server":
    socketserver.ThreadingTCPServer.allow_reuse_address = True
    socketserver.ThreadingTCPServer((sys.argv[2], 1433), Server).serve_forever()
else:
    client(*sys.argv[2:])
