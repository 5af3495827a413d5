#!/usr/bin/env python3
"""Check the proofs of a derived bundle without pcapsule: verify_derived.py BUNDLE KEY

KEY is the raw Ed25519 public key that sealed the original, in hexadecimal. Written from derived.md alone;
only Python's standard library is needed. Prints one line of JSON; exits with 8 if anything does not fit.
"""
import base64, hashlib, json, os, struct, sys


def bad(why):
    print(json.dumps({"ok": False, "why": why}))
    sys.exit(8)


def need(condition, why):
    if not condition:
        bad(why)


def H(*parts):
    return hashlib.sha256(b"".join(parts)).digest()


# Ed25519, RFC 8032 section 5.1.7
P, L = 2**255 - 19, 2**252 + 27742317777372353535851937790883648493
D = -121665 * pow(121666, P - 2, P) % P


def plus(p, q):
    a, b = (p[1] - p[0]) * (q[1] - q[0]) % P, (p[1] + p[0]) * (q[1] + q[0]) % P
    c, d = 2 * p[3] * q[3] * D % P, 2 * p[2] * q[2] % P
    e, f, g, h = b - a, d - c, d + c, b + a
    return e * f % P, g * h % P, f * g % P, e * h % P


def times(n, p):
    q = (0, 1, 1, 0)
    while n:
        if n & 1:
            q = plus(q, p)
        p, n = plus(p, p), n >> 1
    return q


def point(b):
    y, sign = int.from_bytes(b, "little") & (1 << 255) - 1, b[31] >> 7
    xx = (y * y - 1) * pow(D * y * y + 1, P - 2, P) % P
    x = pow(xx, (P + 3) // 8, P)
    if (x * x - xx) % P:
        x = x * pow(2, (P - 1) // 4, P) % P
    need(y < P and (x * x - xx) % P == 0 and (x or not sign), "a point of the signature is not on the curve")
    x = P - x if x & 1 != sign else x
    return x, y, 1, x * y % P


def signed(key, sig, msg):
    if len(sig) != 64 or (s := int.from_bytes(sig[32:], "little")) >= L:
        return False
    base = point(bytes([0x58]) + bytes([0x66]) * 31)
    h = int.from_bytes(hashlib.sha512(sig[:32] + key + msg).digest(), "little") % L
    p, q = times(s, base), plus(point(sig[:32]), times(h, point(key)))
    return (p[0] * q[2] - q[0] * p[2]) % P == 0 and (p[1] * q[2] - q[1] * p[2]) % P == 0


def packets(path):
    """(fields, data, options, link type) of each packet of a pcap or pcapng file"""
    raw = open(path, "rb").read()
    magic = raw[:4]
    if magic != b"\x0a\x0d\x0d\x0a":
        end, ns = {b"\xd4\xc3\xb2\xa1": ("<", 0), b"\xa1\xb2\xc3\xd4": (">", 0), b"\x4d\x3c\xb2\xa1": ("<", 1), b"\xa1\xb2\x3c\x4d": (">", 1)}[magic]
        link, at = struct.unpack(end + "I", raw[20:24])[0] & 0xFFFF, 24
        while at + 16 <= len(raw):
            sec, frac, size, wire = struct.unpack(end + "IIII", raw[at:at + 16])
            yield 0, sec * 10**9 + frac * (1 if ns else 1000), 1, wire, link, raw[at + 16:at + 16 + size], []
            at += 16 + size
        return
    at, end, base = 0, "<", 0
    ifaces = []
    while at + 12 <= len(raw):
        if raw[at:at + 4] == b"\x0a\x0d\x0d\x0a":
            end = "<" if raw[at + 8:at + 12] == b"\x4d\x3c\x2b\x1a" else ">"
            base = len(ifaces)
        kind, size = struct.unpack(end + "II", raw[at:at + 8])
        need(size >= 12 and at + size <= len(raw), "a block of %s is cut" % path)
        body, at = raw[at + 8:at + size - 4], at + size
        if kind == 1:
            res, offset = 10**6, 0
            for code, value in options(body[8:], end):
                if code == 9:
                    res = 2 ** (value[0] & 127) if value[0] & 128 else 10 ** value[0]
                if code == 14:
                    offset = struct.unpack(end + "q", value)[0]
            ifaces.append((struct.unpack(end + "H", body[:2])[0], res, offset))
        if kind == 6:
            no, hi, lo, size, wire = struct.unpack(end + "IIIII", body[:20])
            link, res, offset = ifaces[base + no]
            ns = (hi << 32 | lo) * 10**9 // res + offset * 10**9
            yield base + no, ns, 1, wire, link, body[20:20 + size], options(body[20 + (size + 3 & ~3):], end)
        need(kind != 3 and kind != 2, "this program does not read simple and obsolete packet blocks")


def options(b, end):
    out = []
    while len(b) >= 4:
        code, size = struct.unpack(end + "HH", b[:4])
        if code == 0:
            return out
        if size > len(b) - 4:
            break
        out.append((code, b[4:4 + size]))
        b = b[4 + (size + 3 & ~3):]
    return out + ([(0, b)] if b else [])


def add(b):
    return sum(int.from_bytes((b[i:i + 2] + b"\0")[:2], "big") for i in range(0, len(b), 2))


def layout(link, d):
    """(end of the headers, (place of the checksum, payload, end of what it covers, whether it is right) or None)"""
    kind, at = {0: (None, 4), 101: (None, 0), 1: (12, 14), 113: (14, 16), 276: (0, 20)}.get(link, (None, -1))
    while link == 1 and len(d) >= at and d[kind:kind + 2] in (b"\x81\x00", b"\x88\xa8"):
        kind, at = kind + 4, at + 4
    if at < 0 or kind is not None and (len(d) < at or d[kind:kind + 2] not in (b"\x08\x00", b"\x86\xdd")):
        return 42 if link == 1 and d[12:14] == b"\x08\x06" else {0: 4, 1: 14, 113: 16, 276: 20}.get(link, 0), None
    word = lambda i: int.from_bytes(d[i:i + 2], "big")
    none = at + 40, None
    if at + 20 <= len(d) and d[at] >> 4 == 4:
        none = at + (28 if d[at + 9] in (6, 17) and word(at + 6) & 0x1FFF == 0 else 20), None
    if at + 40 > len(d):
        return none
    if d[at] >> 4 == 4:
        head, size = (d[at] & 15) * 4, word(at + 2)
        if head < 20 or size < head or word(at + 6) & 0x3FFF:
            return none
        proto, start, end, pseudo = d[at + 9], at + head, at + size, add(d[at + 12:at + 20])
    elif d[at] >> 4 == 6:
        proto, start, end, pseudo = d[at + 6], at + 40, at + 40 + word(at + 4), add(d[at + 8:at + 40])
    else:
        return none
    pseudo += proto + end - start
    if proto == 6 and start + 20 <= len(d):
        place, payload = start + 16, start + (d[start + 12] >> 4) * 4
    elif proto == 17:
        place, payload = start + 6, start + 8
    elif proto == 1 and d[at] >> 4 == 4:
        place, payload, pseudo = start + 2, start + 4, 0
    elif proto == 58 and d[at] >> 4 == 6:
        place, payload = start + 2, start + 4
    else:
        return none
    if payload < place + 2 or payload > min(len(d), end):
        return none
    total = pseudo + add(d[start:end])
    while total > 0xFFFF:
        total = (total & 0xFFFF) + (total >> 16)
    return payload, (place, payload, end, end <= len(d) and total == 0xFFFF)


def groups(packet, part):
    """(place, content) of the groups of a packet, the number of those that are not options, and its layout"""
    no, ns, known, wire, link, d, opts = packet
    heads, where = layout(link, d)
    out = [(0, struct.pack(">IqBIHI", no, ns, known, wire, link, len(d)))]
    at = 0
    for stop, size in ([(where[0], part), (where[0] + 2, 2), (where[1], part)] if where else []) + [(len(d), part)]:
        while at < stop:
            to = min(at + size, stop)
            out.append((at + 1, d[at:to]))
            at = to
    return out + [(0xFFFFFFFF, struct.pack(">H", c) + v) for c, v in opts], len(out), heads, where


def group_hash(salt, at, content):
    return H(b"\6", salt, struct.pack(">I", at), content)


class Reader:
    def __init__(self, b):
        self.b, self.i = b, 0

    def take(self, n):
        need(self.i + n <= len(self.b), "the proof is cut")
        self.i += n
        return self.b[self.i - n:self.i]

    def number(self):
        n = shift = 0
        while True:
            c = self.take(1)[0]
            n, shift = n | (c & 127) << shift, shift + 7
            if c < 128:
                return n
            need(shift < 64, "a number of the proof is too large")


def unchanged(key, packet, part):
    out = []
    for i, (at, content) in enumerate(groups(packet, part)[0]):
        if i % 2 == 0:
            pair = H(b"\3", struct.pack(">I", i // 2), key)
        out.append(group_hash(pair[i % 2 * 16:i % 2 * 16 + 16], at, content))
    return H(b"\7", *out)


def changed(r, packet, part, count, rules):
    now, last, heads, where = groups(packet, part)
    data = packet[5]
    need(r.number() < rules, "a rule has no name")  # rules are only stated
    n, runs = r.number(), r.number()
    states = []
    for i in range(runs):
        size = r.number()
        need(size > 0 or i == 0, "an empty run")
        need(len(states) + size <= n <= len(r.b), "the runs of a packet do not fit")
        states += [i % 2] * size
    need(len(states) == n, "the runs of a packet do not fit")
    out, at = [], 0
    for g, state in enumerate(states):
        if state == 0:
            need(at < len(now) and (g >= last or at == g), "the groups of a packet do not fit")
            out.append(group_hash(r.take(16), *now[at]))
            at += 1
            continue
        out.append(r.take(32))
        if g >= last:
            count["options"] += 1
            continue
        need(g > 0 and at == g < len(now), "time, lengths and interface of a packet must be proved")
        place, content = now[at][0] - 1, now[at][1]
        at += 1
        if where and place == where[0] and where[3]:
            count["checksums"] += 1
        elif where and place == where[0] and where[2] > len(data) and content == b"xx":
            count["masked"] += 2
        else:
            masks = sum(c in b"x9" for i, c in enumerate(content) if place + i >= heads)
            count["masked"] += masks
            count["stated"] += len(content) - masks
    need(at == len(now), "a packet has more than the proof names")
    return H(b"\7", *out)


def root(leaf, n, hashes, present, at=0):
    """RFC 9162 section 2.1, where the subtrees without a packet come from the proof"""
    if not present(at, n):
        return next(hashes, None) or bad("a hash is missing")
    if n == 1:
        return leaf(at)
    k = 1 << (n - 1).bit_length() - 1
    left = root(leaf, k, hashes, present, at)
    return H(b"\1", left, root(leaf, n - k, hashes, present, at + k))


def check(proof, path, commitment, count):
    r = Reader(open(proof, "rb").read())
    need(r.take(17) == b"pcapsule proof 2\n", "not a proof of version 2")
    rules = r.number()
    for _ in range(rules):
        r.take(r.number())
    runs, at = [], 0
    for _ in range(r.number()):
        state, n = r.take(1)[0], r.number()
        need(state < 3 and n > 0, "a run of the proof is wrong")
        runs.append((state, at, at + n))
        at += n
    need(at == commitment["packets"], "the proof is about another number of packets")
    hashes = [r.take(32) for _ in range(r.number())]
    keys = {}
    for state, i, end in runs:
        while state == 0 and i < end:
            level = min((i | 1 << 40) & -(i | 1 << 40), 1 << (end - i).bit_length() - 1).bit_length() - 1
            stack = [(r.take(32), i, level)]
            i += 1 << level
            while stack:
                key, first, l = stack.pop()
                if l == 0:
                    keys[first] = key
                else:
                    stack += [(H(b"\2", bytes([b]), key), first + (b << l - 1), l - 1) for b in (0, 1)]
    source, left = packets(path) if path else iter(()), iter(hashes)
    names = ("unchanged", "changed", "removed")
    for state, i, end in runs:
        count[names[state]] += end - i

    def leaf(i):
        packet = next(source, None) or bad("a packet is missing")
        return unchanged(keys[i], packet, commitment["part"]) if i in keys else changed(r, packet, commitment["part"], count, rules)

    got = root(leaf, at, left, lambda a, n: any(s != 2 and i < a + n and a < e for s, i, e in runs)) if at else H()
    need(next(left, None) is None and r.i == len(r.b), "the proof has too much")
    need(next(source, None) is None, "the bundle has more packets than the proof names")
    need(got.hex() == commitment["root"], "the root is not the one that was signed")


def main(bundle, key):
    here = lambda *p: os.path.join(bundle, *p)
    envelope = json.load(open(here("data/derived/commitments.dsse.json")))
    payload = base64.b64decode(envelope["payload"])
    kind = envelope["payloadType"].encode()
    pae = b"DSSEv1 %d %s %d %s" % (len(kind), kind, len(payload), payload)
    need(any(signed(bytes.fromhex(key), base64.b64decode(s["sig"]), pae) for s in envelope["signatures"]), "the key did not sign the commitments")
    statement = json.loads(payload)
    need(statement["predicateType"] == "https://github.com/pcapsule/pcapsule/commitments/v2", "not commitments of version 2")
    manifest = json.load(open(here("data/bundle.json")))
    files = {f["file_id"]: f for f in statement["predicate"]["files"]}
    proofs = {p["file_id"]: p for p in manifest["derived"]["proofs"]}
    paths = [p["path"] for p in proofs.values() if p.get("path")]
    need(files.keys() == proofs.keys() and sorted(paths) == sorted(i["path"] for i in manifest["inputs"]), "the files are not those that were sealed")
    count = dict.fromkeys(("unchanged", "changed", "removed", "masked", "checksums", "options", "stated"), 0)
    for no, commitment in files.items():
        path = proofs[no].get("path")
        check(here("data/derived/proof-%03d.bin" % no), path and here(path), commitment, count)
    print(json.dumps({"ok": True, "proved": count["stated"] == 0, **count}))


def run(bundle, key):
    try:
        main(bundle, key)
    except (ValueError, KeyError, IndexError, TypeError, AttributeError, OSError, struct.error, RecursionError) as e:
        bad("malformed: %r" % e)


if __name__ == "__main__":
    run(*sys.argv[1:])
