"""A server and a client of thriftpy2.

usage: thrift.py server ADDRESS PORT KIND
       thrift.py client ADDRESS SAID
KIND is binary, framed, compact or framed-compact. The client notes each call: method, arguments as a list, and
the result or the exception.
"""
import os
import sys
import tempfile

import thriftpy2
from thriftpy2.protocol import TBinaryProtocolFactory, TCompactProtocolFactory
from thriftpy2.rpc import make_client, make_server
from thriftpy2.thrift import TApplicationException
from thriftpy2.transport import TBufferedTransportFactory, TFramedTransportFactory

IDL = """
struct Line { 1: string sku, 2: i32 count, 3: double price, 4: optional bool gift }
struct Order { 1: i64 id, 2: list<Line> lines, 3: map<string, string> notes, 4: set<i16> shelves, 5: binary seal }
exception OutOfStock { 1: string sku, 2: i32 left }
service Shop {
  void ping(),
  i64 place(1: Order order) throws (1: OutOfStock gone),
  Order get(1: i64 id),
  string echo(1: string text),
  i32 missing(),
  oneway void log(1: string text)
}
"""


class Handler:
    def __init__(self, idl):
        self.idl = idl

    def ping(self):
        pass

    def place(self, order):
        if order.lines[0].sku == "gone":
            raise self.idl.OutOfStock("gone", 2)
        return order.id

    def get(self, id):
        return order(self.idl, id, "tea")

    def echo(self, text):
        return text

    def missing(self):
        return None

    def log(self, text):
        pass


def order(idl, id, sku):
    lines = [idl.Line(sku, 2, 3.5, True), idl.Line("cup", 1, 12.25)]
    return idl.Order(id, lines, {"colour": "blue"}, {4}, b"\x00\xff")


KINDS = {
    "binary": (9090, TBinaryProtocolFactory(), TBufferedTransportFactory()),
    "framed": (9091, TBinaryProtocolFactory(), TFramedTransportFactory()),
    "compact": (9092, TCompactProtocolFactory(), TBufferedTransportFactory()),
    "framed-compact": (9093, TCompactProtocolFactory(), TFramedTransportFactory()),
}


def load():
    path = os.path.join(tempfile.mkdtemp(), "shop.thrift")
    with open(path, "w") as f:
        f.write(IDL)
    return thriftpy2.load(path, module_name="shop_thrift")


def serve(address, kind):
    idl = load()
    port, protocol, transport = KINDS[kind]
    make_server(idl.Shop, Handler(idl), address, port, proto_factory=protocol, trans_factory=transport, client_timeout=None).serve()


def client(address, said_file):
    idl, said = load(), []

    def note(name, arguments, result):
        said.append(f"{name}\t{arguments}\t{result}")

    for kind, (port, protocol, transport) in KINDS.items():
        c = make_client(idl.Shop, address, port, proto_factory=protocol, trans_factory=transport, timeout=5000)
        c.ping()
        note("ping", "", "")
        text = '1: {1: 7, 2: [{1: "%s", 2: 2, 3: 3.5, 4: true}, {1: "cup", 2: 1, 3: 12.25}], 3: {"colour": "blue"}, 4: {4}, 5: 2 bytes}'
        note("place", text % "tea", f"0: {c.place(order(idl, 7, 'tea'))}")
        try:
            c.place(order(idl, 7, "gone"))
        except idl.OutOfStock as e:
            note("place", text % "gone", f'1: {{1: "{e.sku}", 2: {e.left}}}')
        got = c.get(7)
        note("get", f"1: {got.id}", (text % "tea").replace("1: {1: 7", "0: {1: 7", 1))
        for text in ("Café", "x" * 3000):
            assert c.echo(text) == text
            shown = text if len(text) < 128 else text[:128] + "…"
            note("echo", f'1: "{shown}"', f'0: "{shown}"')
        c.log("done")
        note("log", '1: "done"', "")
        try:
            c.missing()
        except TApplicationException:  # the client misses the result; the reply is that of a method without one
            note("missing", "", "")
        c.close()
    with open(said_file, "w") as f:
        f.write("# method\targuments\tresult\n" + "\n".join(said) + "\n")


if sys.argv[1] == "server":
    serve(sys.argv[2], sys.argv[3])
else:
    client(sys.argv[2], sys.argv[3])
