"""The client of files.pcapng: curl and smtplib transfer files, and what the client has is noted."""
import email.message, hashlib, os, smtplib, subprocess, sys, zipfile

web, ftp, mail, root, said = sys.argv[1:]
work = os.path.join(root, "work")
os.makedirs(work)
notes = open(said, "w")
notes.write("# protocol\tdirection\tname\tsize\tsha256\tcomplete\n")


def note(protocol, direction, name, data, complete=True):
    notes.write("\t".join([protocol, direction, name, str(len(data)), hashlib.sha256(data).hexdigest(), str(complete).lower()]) + "\n")


def noise(n, seed):
    out = b""
    while len(out) < n:
        seed = hashlib.sha256(seed).digest()
        out += seed
    return out[:n]


def put(path, data):
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "wb") as f:
        f.write(data)


def curl(*args, out="/dev/null"):
    subprocess.run(["curl", "-sS", "--compressed", "-o", out, *args], check=True)
    return open(out, "rb").read() if out != "/dev/null" else b""


elf = b"\x7fELF\x02\x01\x01" + bytes(9) + b"\x02\x00\x3e\x00" + noise(3000, b"elf")
png = b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR" + noise(9000, b"png")
csv = b"".join(b"%d;article %d;%d\r\n" % (i, i, i * 7) for i in range(900))
zipped = os.path.join(work, "a.zip")
with zipfile.ZipFile(zipped, "w") as z:
    z.writestr(zipfile.ZipInfo("orders.csv", (2026, 1, 1, 0, 0, 0)), csv)
zipped = open(zipped, "rb").read()
site = os.path.join(root, "site")
for name, data in {"tool": elf, "holiday.jpg": elf, "logo.png": png, "orders.csv": csv, "api/orders": b'{"orders":[1,2,3]}', "big.bin": noise(60000, b"big")}.items():
    put(os.path.join(site, name), data)
get = os.path.join(work, "got")

# HTTP/1 and HTTP/2: downloads, also compressed and in part; what is not a file is not noted
for name in ["tool", "holiday.jpg", "logo.png", "orders.csv"]:
    note("http1", "download", name, curl("http://%s/%s" % (web, name), out=get))
note("http1", "download", "report 1.zip", curl("http://%s/named" % web, out=get))
note("http1", "download", "big.bin", curl("-r", "1000-4999", "http://%s/big.bin" % web, out=get), False)
curl("http://%s/api/orders" % web)
curl("http://%s/missing.zip" % web)
for name in ["big.bin", "orders.csv"]:
    note("http2", "download", name, curl("--http2-prior-knowledge", "http://%s:8080/%s" % (web, name), out=get))

# uploads: a form with two files and a field, a PUT, and JSON, which is no file
put(work + "/f\u00fcr dich.zip", zipped)
put(work + "/note.txt", b"two lines\r\nand no end")
curl("-F", "comment=hello", "-F", "a=@%s/f\u00fcr dich.zip" % work, "-F", "b=@%s/note.txt" % work, "http://%s/upload" % web)
note("http1", "upload", "f\u00fcr dich.zip", zipped)
note("http1", "upload", "note.txt", b"two lines\r\nand no end")
put(work + "/logo.png", png)
curl("-T", work + "/logo.png", "http://%s/put/logo.png" % web)
note("http1", "upload", "logo.png", png)
curl("-H", "Content-Type: application/json", "-d", '{"a":1}', "http://%s/upload" % web)

# FTP: passive and active, from an offset, and a listing, which is no file
put(work + "/data.bin", noise(20000, b"ftp"))
for mode in [["--ftp-pasv", "--disable-epsv"], ["--ftp-pasv"], ["-P", "-", "--disable-eprt"], ["-P", "-"]]:
    subprocess.run(["curl", "-sS", *mode, "-T", work + "/data.bin", "ftp://%s/pub/data.bin" % ftp], check=True)
    note("ftp", "upload", "data.bin", noise(20000, b"ftp"))
    note("ftp", "download", "data.bin", curl(*mode, "ftp://%s/pub/data.bin" % ftp, out=get))
    curl(*mode, "ftp://%s/pub/" % ftp)
put(get, noise(20000, b"ftp")[:12000])
subprocess.run(["curl", "-sS", "-C", "-", "-o", get, "ftp://%s/pub/data.bin" % ftp], check=True)
note("ftp", "download", "data.bin", open(get, "rb").read()[12000:], False)

# mail with attachments
m = email.message.EmailMessage()
m["From"], m["To"], m["Subject"], m["Message-ID"], m["Date"] = "ann@shop.example", "bob@example.org", "Files for you", "<files@shop.example>", "Thu, 01 Jan 2026 10:00:00 +0000"
m.set_content("Here they are.\n")
m.add_attachment(zipped, maintype="application", subtype="zip", filename="\u00dcbersicht.zip")
m.add_attachment("caf\u00e9 = 100 %\n" * 40, subtype="csv", charset="utf-8", cte="quoted-printable", filename="list.csv")
m.add_attachment(elf, maintype="image", subtype="jpeg", filename="photo.jpg")
for part in m.walk():
    if part.get_content_maintype() == "multipart":
        part.set_boundary("boundary-of-files")
raw = m.as_bytes(policy=m.policy.clone(linesep="\r\n"))
with smtplib.SMTP(mail) as s:
    s.sendmail("ann@shop.example", ["bob@example.org"], raw)
note("smtp", "upload", "Files for you", raw)
for part in m.iter_attachments():
    note("smtp", "upload", part.get_filename(), part.get_payload(decode=True).replace(b"\n", b"\r\n") if part.get_content_type() == "text/csv" else part.get_payload(decode=True))
notes.close()
