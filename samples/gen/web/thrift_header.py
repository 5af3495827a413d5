"""A server and a client of Apache Thrift's library for Python with THeaderTransport.

usage: thrift_header.py server ADDRESS KIND
       thrift_header.py client ADDRESS SAID
KIND is plain or zlib: whether the server compresses its replies. The classes are those that the compiler of Thrift makes of this service, by hand:
  exception OutOfStock { 1: string sku, 2: i32 left }
  service Shop { i64 place(1: string sku, 2: i32 count) throws (1: OutOfStock gone), string echo(1: string text), oneway void log(1: string text) }
The client notes each call: method, arguments, result, headers of the call and of the reply, and transforms.
"""
import sys

from thrift.protocol.TBase import TBase, TExceptionBase
from thrift.protocol.THeaderProtocol import THeaderProtocol, THeaderProtocolFactory
from thrift.server.TServer import TThreadedServer
from thrift.Thrift import TApplicationException, TMessageType, TProcessor, TType
from thrift.transport import TSocket
from thrift.transport.THeaderTransport import THeaderClientType, THeaderSubprotocolID, THeaderTransformID
from thrift.transport.TTransport import TTransportFactoryBase

PORT = 9090


def struct(name, *spec, base=TBase):
    """struct makes a class with fields, each a number with a type, a name and what the type needs."""
    fields = {number: (number, *rest, None) for number, *rest in spec}

    def init(self, **values):
        for _, _, field, _ in spec:
            object.__setattr__(self, field, values.get(field))

    thrift_spec = tuple(fields.get(i) for i in range(max(fields, default=-1) + 1))
    return type(name, (base,), {"__init__": init, "__hash__": object.__hash__, "thrift_spec": thrift_spec})


OutOfStock = struct("OutOfStock", (1, TType.STRING, "sku", "UTF8"), (2, TType.I32, "left", None), base=TExceptionBase)
OutOfStock.__setattr__ = object.__setattr__  # Python adds the traceback
GONE = (1, TType.STRUCT, "gone", [OutOfStock, OutOfStock.thrift_spec])
METHODS = {  # arguments and result; None for a oneway method
    "place": (struct("PlaceArgs", (1, TType.STRING, "sku", "UTF8"), (2, TType.I32, "count", None)), struct("PlaceResult", (0, TType.I64, "success", None), GONE)),
    "echo": (struct("EchoArgs", (1, TType.STRING, "text", "UTF8")), struct("EchoResult", (0, TType.STRING, "success", "UTF8"))),
    "log": (struct("LogArgs", (1, TType.STRING, "text", "UTF8")), None),
}


class Processor(TProcessor):
    def process(self, iprot, oprot):
        name, _, seq = iprot.readMessageBegin()
        if name not in METHODS:
            iprot.skip(TType.STRUCT)
            iprot.readMessageEnd()
            return self.reply(oprot, name, TMessageType.EXCEPTION, seq, TApplicationException(TApplicationException.UNKNOWN_METHOD, "unknown " + name))
        args, result = METHODS[name][0](), METHODS[name][1]
        args.read(iprot)
        iprot.readMessageEnd()
        if result is None:
            return
        headers = iprot.get_headers()
        if b"request-id" in headers:
            oprot.set_header(b"answers", headers[b"request-id"])
        out = result()
        if name == "echo":
            out.success = args.text
        elif args.sku == "gone":
            out.gone = OutOfStock(sku=args.sku, left=2)
        else:
            out.success = 7
        self.reply(oprot, name, TMessageType.REPLY, seq, out)

    def reply(self, oprot, name, kind, seq, out):
        oprot.writeMessageBegin(name, kind, seq)
        out.write(oprot)
        oprot.writeMessageEnd()
        oprot.trans.flush()


class Compressing(THeaderProtocolFactory):
    """Compressing makes protocols that compress what they send."""

    def getProtocol(self, trans):
        protocol = super().getProtocol(trans)
        protocol.add_transform(THeaderTransformID.ZLIB)
        return protocol


def serve(address, port, factory):
    TThreadedServer(Processor(), TSocket.TServerSocket(address, port), TTransportFactoryBase(), factory).serve()


class Client:
    def __init__(self, address, port, subprotocol, zlib):
        self.socket = TSocket.TSocket(address, port)
        self.socket.setTimeout(5000)
        self.socket.open()
        self.protocol = THeaderProtocol(self.socket, (THeaderClientType.HEADERS,), subprotocol)
        if zlib:
            self.protocol.add_transform(THeaderTransformID.ZLIB)
        self.seq = 0

    def send(self, name, headers={}, **values):
        self.seq += 1
        for key, value in headers.items():
            self.protocol.set_header(key.encode(), value.encode())
        args = METHODS.get(name, METHODS["log"])[0](**values)
        kind = TMessageType.ONEWAY if name == "log" else TMessageType.CALL
        self.protocol.writeMessageBegin(name, kind, self.seq)
        args.write(self.protocol)
        self.protocol.writeMessageEnd()
        self.protocol.trans.flush()

    def receive(self):
        """receive returns the result, or the exception, and the headers of the reply."""
        name, kind, _ = self.protocol.readMessageBegin()
        out = TApplicationException() if kind == TMessageType.EXCEPTION else METHODS[name][1]()
        out.read(self.protocol)
        self.protocol.readMessageEnd()
        return out, ",".join(f"{k.decode()}={v.decode()}" for k, v in self.protocol.get_headers().items())


def shown(text):
    return text if len(text) < 128 else text[:128] + "…"


def client(address, said_file):
    said = []
    for subprotocol, zlib in ((THeaderSubprotocolID.BINARY, False), (THeaderSubprotocolID.COMPACT, False), (THeaderSubprotocolID.BINARY, True), (THeaderSubprotocolID.COMPACT, True)):
        c, transforms = Client(address, PORT + zlib, subprotocol, zlib), "zlib" if zlib else ""

        def note(*parts):
            said.append("\t".join((*parts, transforms)))

        c.send("place", {"request-id": "r-1", "tenant": "café"}, sku="tea", count=2)
        out, headers = c.receive()
        note("place", '1: "tea", 2: 2', f"0: {out.success}", "request-id=r-1,tenant=café", headers)
        c.send("place", sku="gone", count=1)
        out, headers = c.receive()
        note("place", '1: "gone", 2: 1', f'1: {{1: "{out.gone.sku}", 2: {out.gone.left}}}', "", headers)
        for text in ("x" * 3000, ""):
            c.send("echo", {"request-id": "r-2"}, text=text)
            out, headers = c.receive()
            assert out.success == text
            note("echo", f'1: "{shown(text)}"', f'0: "{shown(out.success)}"', "request-id=r-2", headers)
        c.send("log", {"level": "info"}, text="done")
        note("log", '1: "done"', "", "level=info", "")
        c.send("none", text="?")
        out, headers = c.receive()
        note("none", '1: "?"', f'1: "{out.message}", 2: {out.type}', "", headers)
        for text in ("first", "second"):  # both are sent before a reply is read
            c.send("echo", {"request-id": text}, text=text)
        for text in ("first", "second"):
            out, headers = c.receive()
            note("echo", f'1: "{text}"', f'0: "{out.success}"', f"request-id={text}", headers)
        c.socket.close()
    with open(said_file, "w") as f:
        f.write("# method\targuments\tresult\theaders\theaders of the reply\ttransforms\n" + "\n".join(said) + "\n")


if sys.argv[1] == "server":
    zlib = sys.argv[3] == "zlib"
    serve(sys.argv[2], PORT + zlib, (Compressing if zlib else THeaderProtocolFactory)())
else:
    client(sys.argv[2], sys.argv[3])
