"""Devices that log their users in with tacacs_plus, and a server that answers by this script: RFC 8907 has no server on PyPI."""
import socketserver, struct, sys

from tacacs_plus.client import TACACSClient
from tacacs_plus.flags import TAC_PLUS_ACCT_FLAG_START, TAC_PLUS_ACCT_FLAG_STOP
from tacacs_plus.packet import TACACSHeader, TACACSPacket

PASSWORD, SECRET = b"sample-password", "sample-secret"


class Server(socketserver.BaseRequestHandler):
    def read(self):
        raw = self.request.recv(12, 0x100)
        if len(raw) < 12:
            return None
        header = TACACSHeader.unpacked(raw)
        body = self.request.recv(header.length, 0x100)
        return header, TACACSPacket(header, body, self.server.secret).body

    def say(self, asked, body):
        header = TACACSHeader(asked.version, asked.type, asked.session_id, len(body), asked.seq_no + 1, asked.flags)
        self.request.sendall(bytes(TACACSPacket(header, body, self.server.secret)))

    def handle(self):
        user = b""
        while (got := self.read()) is not None:
            header, body = got
            if header.type == 1 and header.seq_no == 1:
                lengths = body[4:8]
                user = body[8:8 + lengths[0]]
                data = body[8 + sum(lengths[:3]):]
                if body[2] == 1:  # ASCII
                    self.say(header, struct.pack(">BBHH", 5, 1, 10, 0) + b"Password: ")
                else:
                    self.say(header, struct.pack(">BBHH", 1 if data == PASSWORD else 2, 0, 0, 0))
            elif header.type == 1:
                ok = body[5:5 + struct.unpack(">H", body[:2])[0]] == PASSWORD
                self.say(header, struct.pack(">BBHH", 1 if ok else 2, 0, 0, 0))
            elif header.type == 2:
                if b"cmd=reload" in body:
                    self.say(header, struct.pack(">BBHH", 0x10, 0, 9, 0) + b"not today")
                else:
                    self.say(header, struct.pack(">BBHHB", 1, 1, 0, 0, 11) + b"priv-lvl=15")
            else:
                self.say(header, struct.pack(">HHB", 0, 0, 1))


def server(address):
    import threading
    socketserver.ThreadingTCPServer.allow_reuse_address = True
    for port, secret in ((49, None), (4949, SECRET)):
        s = socketserver.ThreadingTCPServer((address, port), Server)
        s.secret = secret
        threading.Thread(target=s.serve_forever).start()
    print("ready", flush=True)


def client(address, said):
    out = open(said, "w")
    say = lambda *what: print(*what, sep="\t", file=out)
    print("# what the device asked, for whom or what, the result", file=out)
    new = lambda port=49, secret=None: TACACSClient(address, port, secret, timeout=10)
    for user, password, kind in (("alice", "sample-password", "ascii"), ("alice", "wrong-password", "ascii"), ("bob", "sample-password", "pap"), ("bob", "wrong-password", "pap")):
        ok = new().authenticate(user, password, authen_type={"ascii": 1, "pap": 2}[kind], rem_addr="10.1.61.99", port="tty0").valid
        say("LOGIN", user, kind, "PASS" if ok else "FAIL")
    for command in ("show", "reload"):
        reply = new().authorize("alice", arguments=[b"service=shell", b"cmd=" + command.encode()])
        say("AUTHORIZATION", "alice", "cmd=" + command, "FAIL" if not reply.valid else "PASS_ADD")
    for flag, name in ((TAC_PLUS_ACCT_FLAG_START, "START"), (TAC_PLUS_ACCT_FLAG_STOP, "STOP")):
        new().account("alice", flag, arguments=[b"service=shell", b"task_id=7"])
        say("ACCOUNTING", "alice", name, "SUCCESS")
    new(4949, SECRET).authenticate("alice", "sample-password", authen_type=1)
    say("AUTHENTICATION", "", "", "obfuscated")
    say("AUTHENTICATION", "", "", "obfuscated")


{"server": server, "client": client}[sys.argv[1]](*sys.argv[2:])
