"""Clients of protocols of networks, for samples: each notes what it did.

usage: network.py PROTOCOL ADDRESS SAID
"""
import os
import socket
import subprocess
import sys
import time

protocol, address, said_file = sys.argv[1:4]
said = []


def note(action, obj, result):
    said.append(f"{action}\t{obj}\t{result}")


def fields(data):
    lines = data.decode().split("\r\n")
    return lines[0].split(" ")[0], {k.strip().upper(): v.strip() for k, v in (line.split(":", 1) for line in lines[1:] if ":" in line)}


def ssdp():
    group = ("239.255.255.250", 1900)
    own = "10.1.38.5"
    listener = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind(("", 1900))
    listener.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, socket.inet_aton(group[0]) + socket.inet_aton(own))
    listener.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_LOOP, 0)
    for target, to in [("upnp:rootdevice", group), ("urn:shop-example:device:Nothing:1", group), ("ssdp:all", group), ("upnp:rootdevice", (address, 1900))]:
        s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        s.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_LOOP, 0)
        s.bind((own, 0))
        s.sendto(f'M-SEARCH * HTTP/1.1\r\nHOST: {to[0]}:1900\r\nMAN: "ssdp:discover"\r\nMX: 1\r\nST: {target}\r\nUSER-AGENT: Linux/6 UPnP/2.0 shop/1\r\n\r\n'.encode(), to)
        s.settimeout(2)
        note("M-SEARCH", target, "")
        while True:
            try:
                _, f = fields(s.recv(65536))
            except TimeoutError:
                break
            note("M-SEARCH", f["ST"], f["USN"] + " " + f["LOCATION"])
    listener.settimeout(3)
    end = time.time() + 3
    while time.time() < end:
        try:
            word, f = fields(listener.recv(65536))
        except TimeoutError:
            break
        if word == "NOTIFY":
            note("NOTIFY", f["NTS"] + " " + f["NT"], f["USN"] + " " + f.get("LOCATION", ""))


def rdp():
    screen = subprocess.Popen(["Xvfb", ":77", "-screen", "0", "640x480x16", "-nolisten", "tcp"], stderr=subprocess.DEVNULL)
    time.sleep(2)
    for security, options in [("rdp", []), ("tls", []), ("rdp", ["/load-balance-info:Cookie: msts=3640205228.15629.0000"])]:
        subprocess.run(["xfreerdp", "/v:" + address, "/u:ann", "/p:sample", "/cert:ignore", "/sec:" + security, "/client-hostname:desk-7", "+auth-only", "/log-level:OFF"] + options, check=False, timeout=60, stdout=subprocess.DEVNULL, env={"DISPLAY": ":77", "HOME": os.environ["HOME"], "PATH": os.environ["PATH"]})
        note("CONNECT", options[0].split("=")[1] if options else "ann", security)
        if security == "rdp":
            note("MCS_CONNECT", "desk-7", "rt-successful")
    screen.terminate()
    screen.wait()


def openvpn():
    folder = sys.argv[4]
    for port, transport, protection in [("1194", "udp", "none"), ("1195", "tcp", "none"), ("1196", "udp", "tls-auth"), ("1197", "udp", "tls-crypt"), ("1199", "udp", "none")]:
        command = ["openvpn", "--client", "--dev", "tun9", "--remote", address, port, transport + "4", "--nobind", "--ca", folder + "/cert.pem", "--cert", folder + "/cert.pem", "--key", folder + "/key.pem",
                   "--tls-version-max", "1.2", "--auth", "SHA256", "--connect-retry-max", "1", "--hand-window", "5", "--ping", "1", "--verb", "1"]
        if protection != "none":
            command += ["--" + protection, folder + "/static.key"] + (["1"] if protection == "tls-auth" else [])
        p = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        result = "no_response"
        for line in p.stdout:
            if "Initialization Sequence Completed" in line:
                result = "connected"
                break
            if "TLS key negotiation failed" in line:
                break
        time.sleep(2.5 if result == "connected" else 0)
        p.terminate()
        p.wait()
        note("CONNECT", protection, result)


def wireguard():
    peer = sys.argv[4]

    def send(times):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
            for _ in range(times):
                s.sendto(b"sample", ("10.9.41.1", 9))
                time.sleep(0.3)

    send(3)
    note("HANDSHAKE", "", "session")
    # Another endpoint, where nobody listens, and a new handshake.
    subprocess.run(["wg", "set", "pcsclient", "peer", peer, "remove"], check=True)
    subprocess.run(["wg", "set", "pcsclient", "peer", peer, "allowed-ips", "10.9.41.1/32", "endpoint", address + ":51821"], check=True)
    send(1)
    time.sleep(6)
    note("HANDSHAKE", "", "no_response")


def stun():
    import asyncio
    from aioice import stun as messages, turn

    peer = "10.1.42.30"

    async def relay(user, password, transport):
        class Receiver(asyncio.DatagramProtocol):
            def __init__(self):
                self.got = asyncio.Queue()

            def datagram_received(self, data, addr):
                self.got.put_nowait(data)

        try:
            link, receiver = await turn.create_turn_endpoint(Receiver, server_addr=(address, 3478), username=user, password=password, transport=transport)
        except messages.TransactionFailed as e:
            note("Allocate", user, str(e.response.attributes["ERROR-CODE"][0]))
            return
        relayed = link.get_extra_info("sockname")
        note("Allocate", user, f"{relayed[0]}:{relayed[1]}")
        for i in range(3):
            link.sendto(b"sample %d" % i, (peer, 7))
            await asyncio.wait_for(receiver.got.get(), 5)
        note("ChannelData", f"{peer}:7", "6")
        link.close()
        await asyncio.sleep(1)

    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        s.connect((address, 3478))
        for _ in range(2):
            s.send(bytes(messages.Message(message_method=messages.Method.BINDING, message_class=messages.Class.REQUEST)))
            mapped = messages.parse_message(s.recv(2048)).attributes["XOR-MAPPED-ADDRESS"]
            note("Binding", "", f"{mapped[0]}:{mapped[1]}")
    asyncio.run(relay("ann", "sample", "udp"))
    asyncio.run(relay("eve", "wrong", "udp"))
    asyncio.run(relay("ann", "sample", "tcp"))


def tftp():
    for options, name, size in [([], "menu.txt", 700), (["--option", "blksize 1024"], "kernel.bin", 3000), (["--option", "tsize 0"], "kernel.bin", 3000), ([], "none.txt", None)]:
        subprocess.run(["atftp", "--get", "--local-file", "/dev/null", "--remote-file", name] + options + [address, "69"], check=False, timeout=60, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        note("RRQ", name, "error 1" if size is None else size)
    if len(sys.argv) > 4:
        subprocess.run(["atftp", "--put", "--local-file", sys.argv[4], "--remote-file", "upload.bin", address, "69"], check=False, timeout=60, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        note("WRQ", "upload.bin", os.path.getsize(sys.argv[4]))


globals()[protocol]()
with open(said_file, "w", encoding="utf-8") as f:
    f.write("".join(line + "\n" for line in said))
