"""python-tds, and a browser that answers as [MC-SQLR] says: no SQL Server can be had."""
import socket
import socketserver
import struct
import sys

INSTANCES = {
    "SHOP": "ServerName;DB-1;InstanceName;SHOP;IsClustered;No;Version;15.0.2000.5;tcp;1433;np;\\\\DB-1\\pipe\\MSSQL$SHOP\\sql\\query;;",
    "REPORTS": "ServerName;DB-1;InstanceName;REPORTS;IsClustered;Yes;Version;14.0.1000.169;tcp;49172;;",
}


class Browser(socketserver.BaseRequestHandler):
    def handle(self):
        ask, sock = self.request
        name = ask.rstrip(b"\0").decode("ascii", "replace")
        if ask[0] == 3:
            text = "".join(INSTANCES.values())
        elif ask[0] == 4 and name[1:] in INSTANCES:
            text = INSTANCES[name[1:]]
        elif ask[0] == 15 and name[2:] in INSTANCES:
            sock.sendto(struct.pack("<BHBH", 5, 6, 1, 1434), self.client_address)
            return
        else:
            return  # as the browser does
        sock.sendto(struct.pack("<BH", 5, len(text)) + text.encode("ascii"), self.client_address)


def client(address, path):
    from pytds.instance_browser_client import tds7_get_instances

    with open(path, "w", encoding="utf-8") as said:
        def note(*fields):
            said.write("\t".join(fields) + "\n")

        found = tds7_get_instances(address)
        note("CLNT_UCAST_EX", "", " ".join(sorted(found)))
        for kind, ask in (("CLNT_UCAST_INST", b"\x04"), ("CLNT_UCAST_DAC", b"\x0f\x01")):
            for name in ("SHOP", "NOTHING"):
                with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
                    s.settimeout(1)
                    s.sendto(ask + name.encode() + b"\0", (address, 1434))
                    try:
                        got = s.recv(65536)
                    except TimeoutError:
                        note(kind, name, "nothing")
                        continue
                note(kind, name, str(struct.unpack("<H", got[4:])[0]) if kind == "CLNT_UCAST_DAC" else got[3:].decode().split(";")[3])


if sys.argv[1] == "server":
    socketserver.ThreadingUDPServer((sys.argv[2], 1434), Browser).serve_forever()
else:
    client(*sys.argv[2:])
