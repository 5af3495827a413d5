"""The client of Apache Pulsar (C++ with Python), and a server that answers by this script: a broker does not come from a package."""
import socketserver, struct, sys, threading


def varint(n):
    n &= (1 << 64) - 1
    b = b""
    while n > 127:
        b, n = b + bytes([n & 127 | 128]), n >> 7
    return b + bytes([n])


def fields(*list):
    b = b""
    for n, v in list:
        if isinstance(v, int):
            b += varint(n << 3) + varint(v)
        else:
            v = v.encode() if isinstance(v, str) else v
            b += varint(n << 3 | 2) + varint(len(v)) + v
    return b


def read(b):
    out, at = {}, 0

    def number():
        nonlocal at
        n, shift = 0, 0
        while True:
            n |= (b[at] & 127) << shift
            shift, at = shift + 7, at + 1
            if b[at - 1] < 128:
                return n
    while at < len(b):
        tag = number()
        if tag & 7 == 0:
            out[tag >> 3] = number()
        elif tag & 7 == 2:
            n = number()
            out[tag >> 3], at = b[at:at + n], at + n
        else:
            at += 8 if tag & 7 == 1 else 4
    return out


class Broker(socketserver.BaseRequestHandler):
    def say(self, kind, *list, rest=b""):
        c = fields((1, kind), (kind, fields(*list)))
        self.request.sendall(struct.pack(">II", 4 + len(c) + len(rest), len(c)) + c + rest)

    def handle(self):
        try:
            self.serve()
        except (ConnectionError, struct.error):
            pass

    def serve(self):
        consumers, kept, entry = {}, self.server.kept, 0
        while True:
            size, n = struct.unpack(">II", self.request.recv(8, 0x100))
            rest = self.request.recv(size - 4, 0x100)
            command, rest = read(rest[:n]), rest[n:]
            kind = command[1]
            f = read(command.get(kind, b""))
            if kind == 2 and f.get(3) == b"wrong-token":
                self.say(14, (1, -1), (2, 3), (3, "Unable to authenticate"))
                return
            elif kind == 2:
                self.say(3, (1, "Pulsar Server 3.0"), (2, f[4]), (3, 5 << 20))
            elif kind == 21:
                self.say(22, (1, 0), (2, f[2]), (3, 0))
            elif kind == 23 and b"forbidden" in f[1]:
                self.say(24, (3, 2), (4, f[2]), (6, 4), (7, "not authorized"))
            elif kind == 23:
                self.say(24, (1, f"pulsar://{self.server.server_address[0]}:6650"), (3, 1), (4, f[2]), (5, 1), (8, 0))
            elif kind == 5:
                self.say(17, (1, f[3]), (2, "shop-1"), (3, -1), (4, b""), (6, 1))
            elif kind == 6:
                kept.append(rest)
                self.say(7, (1, f[1]), (2, f[2]), (3, fields((1, 3), (2, entry))))
                entry += 1
            elif kind == 4:
                self.say(13, (1, f[5]))
            elif kind == 11 and not consumers.get(f[1]):
                consumers[f[1]] = True
                for i, m in enumerate(kept):
                    self.say(9, (1, f[1]), (2, fields((1, 3), (2, i))), rest=m)
            elif kind in (12, 15, 16):
                self.say(13, (1, f[2]))
            elif kind == 18:
                self.say(19)


def server(address):
    socketserver.ThreadingTCPServer.allow_reuse_address = True
    socketserver.ThreadingTCPServer.daemon_threads = True
    s = socketserver.ThreadingTCPServer((address, 6650), Broker)
    s.kept = []
    print("ready", flush=True)
    s.serve_forever()


def client(address, said):
    import pulsar
    out = open(said, "w")
    say = lambda *what: print(*what, sep="\t", file=out)
    print("# what the client did, the topic, the result", file=out)
    url = f"pulsar://{address}:6650"
    new = lambda token: pulsar.Client(url, authentication=pulsar.AuthenticationToken(token), logger=pulsar.ConsoleLogger(pulsar.LoggerLevel.Error), operation_timeout_seconds=3)
    c, topic = new("sample-token"), "persistent://public/default/orders"
    say("CONNECT", "", "ok")
    p = c.create_producer("orders", batching_enabled=False)
    say("PARTITIONED_METADATA", topic, "ok")
    say("LOOKUP", topic, "ok")
    say("PRODUCER", topic, "ok")
    for i in range(3):
        p.send(f"order {i}".encode(), properties={"shop": "north"}, partition_key=f"k{i}")
        say("SEND", topic, "ok")
    s = c.subscribe("orders", "billing")
    say("PARTITIONED_METADATA", topic, "ok")
    say("LOOKUP", topic, "ok")
    say("SUBSCRIBE", topic, "ok")
    for i in range(3):
        s.acknowledge(s.receive(5000))
        say("MESSAGE", topic, "ok")
    s.close()
    say("CLOSE_CONSUMER", topic, "ok")
    p.close()
    say("CLOSE_PRODUCER", topic, "ok")
    try:
        c.create_producer("forbidden")
    except pulsar.PulsarException:
        pass
    say("PARTITIONED_METADATA", topic.replace("orders", "forbidden"), "ok")
    say("LOOKUP", topic.replace("orders", "forbidden"), "AuthorizationError")
    c.close()
    c = new("wrong-token")
    try:
        c.create_producer("orders")
    except pulsar.PulsarException:
        pass
    c.close()  # it retried until its timeout


{"server": server, "client": client}[sys.argv[1]](*sys.argv[2:])
