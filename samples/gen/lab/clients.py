"""The clients of Python's standard library, for samples of mail and files.

usage: clients.py PROTOCOL ADDRESS PASSWORD SAID KEYS
Each notes what it did: an action, its object and its result, outside TLS.
"""
import base64
import ftplib
import imaplib
import io
import os
import poplib
import re
import smtplib
import socket
import ssl
import struct
import subprocess
import sys
import tempfile
import time
from email.message import EmailMessage

protocol, address, password, said_file, keys = sys.argv[1:]
said = []


def context():
    c = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    c.check_hostname, c.verify_mode, c.keylog_filename = False, ssl.CERT_NONE, keys
    return c


def note(action, obj, code):
    said.append(f"{action}\t{obj}\t{code}")


def message(number, size):
    m = EmailMessage()
    m["Message-ID"] = f"<{number}@shop.example>"
    m["From"] = "Shop <shop@shop.example>"
    m["To"] = "ann@example.org"
    m["Subject"] = f"Café order {number}"
    m.set_content("A line.\n.A line that begins with a dot.\n" + "x" * 60 + "\n" * 1 + "A long line. " * 5 * size)
    return m


def smtp():
    c = smtplib.SMTP(address, 25, local_hostname="client.shop.example")
    note("GREETING", "", 220)
    note("EHLO", "client.shop.example", c.ehlo()[0])
    note("NOOP", "", c.noop()[0])
    for number, to in [(1, ["ann@example.org"]), (2, ["ann@example.org", "no address", "bob@example.org"]), (3, ["nobody@refused.example"])]:
        m, sender = message(number, 3 * number), "shop@shop.example"
        try:
            c.send_message(m, sender, to)
            note("MAIL", f"{sender} {number}@shop.example", 250)
        except smtplib.SMTPRecipientsRefused as e:
            note("MAIL", f"{sender} ", list(e.recipients.values())[-1][0])
            note("RSET", "", 250)
    note("VRFY", "ann@example.org", c.verify("ann@example.org")[0])
    note("AUTH", "", c.docmd("AUTH", "PLAIN AGFubgB3cm9uZw==")[0])
    note("QUIT", "", c.quit()[0])
    c = smtplib.SMTP(address, 25, local_hostname="client.shop.example")
    note("GREETING", "", 220)
    note("EHLO", "client.shop.example", c.ehlo()[0])
    note("STARTTLS", "", c.starttls(context=context())[0])
    c.send_message(message(4, 1), "shop@shop.example", ["ann@example.org"])
    c.quit()


def ftp():
    c = ftplib.FTP()

    def do(action, obj, call, *args):
        try:
            code = call(*args)[:3]
        except ftplib.Error as e:
            code = str(e)[:3]
        note(action, obj, code)

    do("GREETING", "", c.connect, address, 21)
    do("USER", "sample", c.sendcmd, "USER sample")
    do("USER", "anonymous", c.sendcmd, "USER anonymous")
    do("PASS", "", c.sendcmd, "PASS " + password)
    do("PWD", "", c.sendcmd, "PWD")
    do("CWD", "pub", c.sendcmd, "CWD pub")
    for passive in (True, False):
        c.set_pasv(passive)
        for kind, command, name, call in [("I", "STOR", "orders.csv", lambda: c.storbinary("STOR orders.csv", io.BytesIO(b"0123456789" * 300))),
                                          ("I", "RETR", "orders.csv", lambda: c.retrbinary("RETR orders.csv", lambda b: None)),
                                          ("A", "LIST", "", lambda: c.retrlines("LIST", lambda s: None)),
                                          ("I", "RETR", "missing", lambda: c.retrbinary("RETR missing", lambda b: None))]:
            note("TYPE", kind, 200)
            note("PASV" if passive else "PORT", "", 227 if passive else 200)
            do(command, name, call)
        c.voidcmd("TYPE I")
        note("TYPE", "I", 200)
        do("DELE", "orders.csv", c.sendcmd, "DELE orders.csv")
    do("STOR", "orders.csv", lambda: c.storbinary("STOR orders.csv", io.BytesIO(b"0123456789" * 300)))
    note("TYPE", "I", 200)
    note("PORT", "", 200)
    note("SIZE", "orders.csv", 213)
    assert c.size("orders.csv") == 3000
    do("QUIT", "", c.sendcmd, "QUIT")
    c.close()
    t = ftplib.FTP_TLS(context=context())
    do("GREETING", "", t.connect, address, 21)
    do("AUTH", "TLS", t.auth)
    t.login("anonymous", password)
    t.prot_p()
    t.quit()


def imap():
    c = None

    def do(action, obj, call, *args):
        try:
            status, data = call(*args)
            text = data[0] if data and isinstance(data[0], bytes) else b""
        except imaplib.IMAP4.error as e:
            word = str(e.args[0])
            text = word.encode() if not isinstance(e.args[0], bytes) else e.args[0]
            status = "BAD" if "BAD" in word else "NO"
        code = re.search(rb"\[([A-Z-]+)\]", text) if status != "OK" else None
        note(action, obj, status + (" " + code.group(1).decode() if code else ""))

    def start():
        nonlocal c
        c = imaplib.IMAP4(address)
        note("GREETING", "", "OK")
        note("CAPABILITY", "", "OK")

    def fetched(action, mailbox, call, *args):
        status, data = call(*args)
        messages = [d for d in data if isinstance(d, tuple)]
        note(action, mailbox, f"{status} {len(messages)} {sum(len(d[1]) for d in messages)}")

    start()
    do("LOGIN", "ann", c.login, "ann", "wrong")
    do("LOGIN", "ann", c.login, "ann", password)
    do("LIST", "", c.list)
    do("CREATE", "Orders", c.create, "Orders")
    do("CREATE", "Orders", c.create, "Orders")
    do("CREATE", "Bücher", c.create, "B&APw-cher")
    for number in (1, 2, 3):
        do("APPEND", "Orders", c.append, "Orders", None, None, bytes(message(number, number)))
    do("STATUS", "Orders", c.status, "Orders", "(MESSAGES UIDNEXT)")
    do("SELECT", "missing", c.select, "missing")
    do("SELECT", "Orders", c.select, "Orders")
    do("SEARCH", "Orders", c.search, None, "SUBJECT", "order")
    fetched("FETCH", "Orders", c.fetch, "1:3", "(FLAGS BODY.PEEK[HEADER.FIELDS (SUBJECT MESSAGE-ID)])")
    fetched("FETCH", "Orders", c.fetch, "2", "(RFC822)")
    fetched("UID FETCH", "Orders", c.uid, "FETCH", "1:*", "(UID BODY[])")
    do("STORE", "Orders", c.store, "1", "+FLAGS", "(\\Deleted)")
    do("COPY", "Orders", c.copy, "2", "missing")
    c.send(b"I1 IDLE\r\n")
    c.readline()
    c.send(b"DONE\r\n")
    c.readline()
    note("IDLE", "Orders", "OK")
    do("EXPUNGE", "Orders", c.expunge)
    imaplib.Commands["BOGUS"] = ("AUTH", "SELECTED")
    do("BOGUS", "Orders", c._simple_command, "BOGUS")
    do("CLOSE", "Orders", c.close)
    c.logout()
    note("LOGOUT", "", "OK")
    start()
    do("AUTHENTICATE", "ann PLAIN", c.authenticate, "PLAIN", lambda _: b"\0ann\0" + password.encode())
    c.logout()
    note("LOGOUT", "", "OK")
    start()
    do("AUTHENTICATE", " CRAM-MD5", c.login_cram_md5, "ann", password)
    c.send(b"L1 SELECT {5}\r\n")
    c.readline()
    c.send(b"INBOX\r\n")
    while not c.readline().startswith(b"L1"):
        pass
    note("SELECT", "INBOX", "OK")
    c.logout()
    note("LOGOUT", "INBOX", "OK")
    start()
    c.starttls(context())
    note("STARTTLS", "", "OK")
    c.login("ann", password)
    c.logout()


def pop3():
    c = None

    def do(action, obj, call, *args):
        try:
            answer = call(*args)
            resp, size = (answer[0], f" {len(answer[1])}") if isinstance(answer, tuple) and isinstance(answer[1], list) else (answer, "")
            if action in ("RETR", "TOP"):
                size = f" {sum(len(line) + 2 for line in answer[1])}"
            elif isinstance(answer, tuple) and not size:
                resp, size = b"+OK", f" {answer[0]} {answer[1]}"
        except poplib.error_proto as e:
            resp, size = e.args[0], ""
        code = re.search(rb"\[([A-Z/-]+)\]", resp)
        note(action, obj, resp.split()[0].decode() + (" " + code.group(1).decode() if code else "") + size)

    def start():
        nonlocal c
        c = poplib.POP3(address)
        note("GREETING", "", "+OK")

    start()
    do("USER", "ann", c.user, "ann")
    do("PASS", "ann", c.pass_, "wrong")
    do("USER", "ann", c.user, "ann")
    do("PASS", "ann", c.pass_, password)
    do("STAT", "", c.stat)
    do("LIST", "", c.list)
    do("LIST", "1", c.list, 1)
    do("LIST", "99", c.list, 99)
    do("UIDL", "", c.uidl)
    do("TOP", "2", c.top, 2, 1)
    for number in (1, 2, 3):
        do("RETR", str(number), c.retr, number)
    do("DELE", "1", c.dele, 1)
    do("RSET", "", c.rset)
    do("NOOP", "", c.noop)
    do("QUIT", "", c.quit)
    start()
    capabilities = c.capa()
    note("CAPA", "", f"+OK {len(capabilities)}")
    do("APOP", "ann", c.apop, "ann", password)
    do("QUIT", "", c.quit)
    start()
    do("AUTH", "PLAIN", c._shortcmd, "AUTH PLAIN " + base64.b64encode(b"\0ann\0" + password.encode()).decode())
    do("QUIT", "", c.quit)
    start()
    note("CAPA", "", f"+OK {len(capabilities)}")  # stls asks first
    do("STLS", "", c.stls, context())
    c.user("ann")
    c.pass_(password)
    c.quit()


def datagram(port, request):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        s.settimeout(1)
        s.sendto(request, (address, port))
        return s.recv(4096)


def ntp():
    for version in (1, 2, 3, 4):
        answer = datagram(123, struct.pack(">B39xQ", version << 3 | 3, 0x1122334455667700 + version))
        note("client", str(version), f"{answer[0] >> 3 & 7} stratum {answer[1]}")
    answer = datagram(123, bytes([4 << 3 | 1]) + bytes(39) + struct.pack(">Q", int((time.time() + 2208988800) * 2**32)))
    note("symmetric_active", "4", f"{answer[0] >> 3 & 7} stratum {answer[1]}")
    for request, name in ((struct.pack(">BBHHHHH", 2 << 3 | 6, 2, 1, 0, 0, 0, 0), "read_variables"), (bytes([2 << 3 | 7, 0, 3, 42]) + bytes(44), "monlist")):
        try:
            datagram(123, request)
        except TimeoutError:
            note(name, "2", "no_response")
    out = subprocess.run(["chronyd", "-Q", "-t", "9", "-u", "root", f"server {address} iburst maxsamples 1", "cmdport 0", "pidfile /dev/null"], capture_output=True, text=True)
    assert "System clock wrong by" in out.stderr + out.stdout, out
    note("client", "4", "4 stratum 5")


def syslog():
    number = 0
    for transport in (["--udp"], ["--tcp"], ["--tcp", "--octet-count"]):
        for form in ("--rfc3164", "--rfc5424"):
            for priority in ("auth.err", "local3.info"):
                number += 1
                text = f"order {number} of Café, {priority} <no header> [x]"
                more = ["--msgid", "ORDER", "--sd-id", "shop@32473", "--sd-param", 'kind="test"'] if form == "--rfc5424" else []
                subprocess.run(["logger", "--server", address, "--port", "514", "-t", "till", "-p", priority, form, *transport, *more, text], check=True)
                note(priority, "till" + (" ORDER" if more else ""), text)


def dhcp():
    with open("/sys/class/net/eth0/address") as f:
        mac = f.read().strip()
    chaddr = bytes.fromhex(mac.replace(":", ""))
    out = subprocess.run(["udhcpc", "-i", "eth0", "-f", "-n", "-q", "-s", "/bin/true", "-x", "hostname:till-1"], capture_output=True, text=True).stderr
    server, given = "", ""
    for line in out.splitlines():
        words = line.replace(",", "").split()
        if "discover" in words:
            note("DISCOVER", mac, "")
        elif "select" in words:
            given, server = words[words.index("for") + 1], words[-1]
            note("OFFER", mac, given)
            note("REQUEST", mac, "")
        elif "obtained" in words:
            note("ACK", mac, given)

    def relayed(kind, requested=None, ciaddr="0.0.0.0", mine=chaddr, wait=True):
        options = bytes([53, 1, kind]) + (b"\x32\x04" + socket.inet_aton(requested) if requested else b"") + b"\x0c\x06till-2"
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
            s.settimeout(5)
            s.bind((relay, 67))
            s.sendto(struct.pack(">BBBBIHH4s4s4s4s16s192xI", 1, 1, 6, 1, 0x1000 + kind, 0, 0, socket.inet_aton(ciaddr), bytes(4), bytes(4), socket.inet_aton(relay), mine, 0x63825363) + options + b"\xff", (address, 67))
            if not wait:
                return "", "0.0.0.0"
            answer = s.recv(4096)
            return {2: "OFFER", 5: "ACK", 6: "NAK"}[answer[242]], socket.inet_ntoa(answer[16:20])

    relay, other = "10.1.26.5", "02:00:00:00:02:02"
    theirs = bytes.fromhex(other.replace(":", ""))
    kind, offered = relayed(1, mine=theirs)
    note("DISCOVER", other, f"{kind} {offered}")
    kind, got = relayed(3, requested=offered, mine=theirs)
    note("REQUEST", other, f"{kind} {got}")
    kind, _ = relayed(3, requested="10.9.9.9", mine=theirs)
    note("REQUEST", other, kind)
    relayed(7, ciaddr=offered, mine=theirs, wait=False)
    note("RELEASE", other, "")
    with tempfile.TemporaryDirectory() as d:
        leases = f"{d}/leases"
        out = subprocess.run(["dhclient", "-6", "-1", "-v", "-sf", "/bin/true", "-lf", leases, "-pf", f"{d}/pid", "eth0"], capture_output=True, text=True).stderr
        with open(leases) as f:
            text = f.read()
        subprocess.run(["dhclient", "-6", "-x", "-sf", "/bin/true", "-lf", leases, "-pf", f"{d}/pid", "eth0"], capture_output=True)
    duid = re.search(r'default-duid "(.*)"', text).group(1).encode().decode("unicode_escape").encode("latin1").hex()
    given = re.search(r"iaaddr (\S+)", text).group(1)
    for words in (line.split() for line in out.splitlines()):
        if words[:1] == ["XMT:"] and words[1] in ("Solicit", "Request"):
            note(words[1].upper(), duid, "")
        elif words[:1] == ["RCV:"] and words[1] in ("Advertise", "Reply"):
            note(words[1].upper(), duid, given)


def curl(url, *args):
    out = subprocess.run(["curl", "-sS", "-o", "/dev/null", "-m", "5", "-w", "%{http_code}", *args, url], capture_output=True, text=True, env={"PATH": os.environ["PATH"]})
    return out.stdout.strip(), out.stderr


def socks():
    def do(target, args, user=""):
        status, text = curl(f"http://{target}/", *args, "-H", "Host: shop")
        code = re.search(r"(?<!curl: )\((\d+)", text)
        if "No authentication" in text:
            note("NEGOTIATE", "", "no acceptable authentication")
        elif "User was rejected" in text:
            note("NEGOTIATE", f"as {user}", "login failed")
        else:
            note("CONNECT", f"{target} as {user}" if user else target, "granted" if status == "200" else f"code {code.group(1)}")

    server, name, closed, blocked = "10.1.28.30:80", "shop.example:80", "10.1.28.30:81", "10.1.28.66:80"
    for target in (server, closed):
        do(target, ["--socks4", f"{address}:1080"])
    do(name, ["--socks4a", f"ann@{address}:1080"], user="ann")
    for target in (server, closed, blocked):
        do(target, ["--socks5", f"{address}:1080"])
    do(name, ["--socks5-hostname", f"{address}:1080"])
    do(server, ["--socks5", f"{address}:1081", "--proxy-user", f"root:{password}"], user="root")
    do(server, ["--socks5", f"{address}:1081", "--proxy-user", "root:wrong"], user="root")
    do(server, ["--socks5", f"{address}:1081"])


def proxy():
    tmp = os.path.dirname(keys)
    time.sleep(3)  # a health check
    with open(f"{tmp}/access.log", "w"):
        pass
    for port in (8081, 8081, 8082):
        assert curl(f"http://{address}:{port}/")[0] == "200"
    tls = ["--cacert", f"{tmp}/ca.pem", "--connect-to", f"www.shop.example:443:{address}:8443"]
    assert curl("https://www.shop.example/", *tls)[0] == "200"
    assert curl("https://www.shop.example/", *tls, "--cert", f"{tmp}/cert.pem", "--key", f"{tmp}/key.pem")[0] == "200"
    with open(f"{tmp}/access.log") as f:
        said.extend(line.rstrip("\n") for line in f)


def tools():
    """runs the tools of agents.py"""
    getattr(__import__("agents"), protocol)(address, password, note)


{"socks": socks, "proxy": proxy, "syslog": syslog, "dhcp": dhcp, "smtp": smtp, "ftp": ftp, "imap": imap, "pop3": pop3, "ntp": ntp}.get(protocol, tools)()
with open(said_file, "w") as f:
    f.write("# action\tobject\tresult\n")
    f.writelines(line + "\n" for line in said)
