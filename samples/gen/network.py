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
    for security, options in [("rdp", []), ("tls", []), ("nla", []), ("rdp", ["/load-balance-info:Cookie: msts=3640205228.15629.0000"])]:
        subprocess.run(["xfreerdp", "/v:" + address, "/u:ann", "/p:sample", "/cert:ignore", "/sec:" + security, "/client-hostname:desk-7", "+auth-only", "/log-level:OFF"] + options, check=False, timeout=60, stdout=subprocess.DEVNULL, env={"DISPLAY": ":77", "HOME": os.environ["HOME"], "PATH": os.environ["PATH"]})
        note("CONNECT", options[0].split("=")[1] if options else "ann", "rdp" if security == "rdp" else "tls")  # xrdp has no CredSSP, so it chooses TLS
        if security == "rdp":
            note("MCS_CONNECT", "desk-7", "rt-successful")
    screen.terminate()
    screen.wait()


globals()[protocol]()
with open(said_file, "w", encoding="utf-8") as f:
    f.write("".join(line + "\n" for line in said))
