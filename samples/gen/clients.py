"""The clients of Python's standard library, for samples of mail and files.

usage: clients.py PROTOCOL ADDRESS PASSWORD SAID KEYS
Each notes what it did: an action, its object and its result, outside TLS.
"""
import ftplib
import io
import smtplib
import ssl
import sys
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


{"smtp": smtp, "ftp": ftp}[protocol]()
with open(said_file, "w") as f:
    f.write("# action\tobject\tresult\n" + "\n".join(said) + "\n")
