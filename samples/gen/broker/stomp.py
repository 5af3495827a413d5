"""A publisher and a consumer of stomp.py.

usage: stomp.py ADDRESS PASSWORD SAID
The clients note each frame with its destination and its result.
"""
import sys
import threading

import stomp

PORT = 61613
TRACE = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
SAID = []


def said(*words):
    SAID.append("\t".join(words))


class Events(stomp.ConnectionListener):
    """Keeps what the server sends, and lets the main thread wait for it."""

    def __init__(self):
        self.changed = threading.Condition()
        self.receipts, self.messages, self.errors, self.connected = set(), [], [], 0

    def note(self, do):
        with self.changed:
            do()
            self.changed.notify_all()

    def wait(self, what):
        with self.changed:
            if not self.changed.wait_for(what, 20):
                raise SystemExit("the server does not answer after %s, errors %s" % (SAID[-1:], [x.headers for x in self.errors]))

    def on_connected(self, frame):
        self.note(lambda: setattr(self, "connected", 1))

    def on_receipt(self, frame):
        self.note(lambda: self.receipts.add(frame.headers["receipt-id"]))

    def on_message(self, frame):
        self.note(lambda: self.messages.append(frame))

    def on_error(self, frame):
        self.note(lambda: self.errors.append(frame))


def connect(kind, address, password, **options):
    if kind is not stomp.Connection10:
        options["vhost"] = "/"
    c = kind([(address, PORT)], auto_content_length=True, reconnect_attempts_max=1, **options)
    e = Events()
    c.set_listener("", e)
    c.connect("shop", password, wait=False)
    e.wait(lambda: e.connected or e.errors)
    said("CONNECT", "shop", e.errors[0].headers["message"] if e.errors else "ok")
    return c, e


def finish(c, e):
    c.disconnect(receipt="bye")
    e.wait(lambda: "bye" in e.receipts)
    said("DISCONNECT", "", "ok")


def publish(address, password):
    c, e = connect(stomp.Connection12, address, password, heartbeats=(20000, 0))
    for i in range(4):
        headers = {"receipt": "r-%d" % i, "traceparent": TRACE, "correlation-id": "corr-%d" % i, "amqp-message-id": "m-%d" % i, "note": "a:b\\c"}
        c.send("/queue/orders", ("order %d " % i) * (1 + 300 * i), "text/plain", headers)
        e.wait(lambda: "r-%d" % i in e.receipts)
        said("SEND", "/queue/orders", "ok")
    c.send("/queue/orders", b"\x00\x01binary\x00", "application/octet-stream", {"persistent": "true"})
    said("SEND", "/queue/orders", "")
    c.begin("t-1")
    said("BEGIN", "t-1", "")
    c.send("/queue/orders", "in a transaction", transaction="t-1")
    said("SEND", "/queue/orders", "")
    c.commit("t-1", headers={"receipt": "committed"})
    e.wait(lambda: "committed" in e.receipts)
    said("COMMIT", "t-1", "ok")
    c.begin("t-2")
    said("BEGIN", "t-2", "")
    c.send("/queue/orders", "taken back", transaction="t-2")
    said("SEND", "/queue/orders", "")
    c.abort("t-2")
    said("ABORT", "t-2", "")
    finish(c, e)


def consume(address, password):
    c, e = connect(stomp.Connection12, address, password)
    c.subscribe("/queue/orders", "1", "client-individual", {"prefetch-count": "1", "receipt": "sub"})
    e.wait(lambda: "sub" in e.receipts)
    said("SUBSCRIBE", "/queue/orders", "ok")
    for i in range(7):
        e.wait(lambda: len(e.messages) > i)
        headers = e.messages[i].headers
        if i == 1:
            c.nack(headers["ack"])
            said("MESSAGE", "/queue/orders", "nack")
        elif i == 2:
            c.ack(headers["ack"], receipt="acked")
            e.wait(lambda: "acked" in e.receipts)
            said("MESSAGE", "/queue/orders", "ack")
            said("ACK", "", "ok")
        else:
            c.ack(headers["ack"])
            said("MESSAGE", "/queue/orders", "ack")
    c.unsubscribe("1")
    said("UNSUBSCRIBE", "/queue/orders", "")
    finish(c, e)


def topics(address, password):
    """Version 1.1, a topic, and acknowledgements of several messages."""
    c, e = connect(stomp.Connection11, address, password)
    c.subscribe("/topic/prices", "auto-1", "auto")
    said("SUBSCRIBE", "/topic/prices", "")
    c.subscribe("/queue/bills", "several", "client", {"receipt": "sub"})
    e.wait(lambda: "sub" in e.receipts)
    said("SUBSCRIBE", "/queue/bills", "ok")
    c.send("/topic/prices", "tea 4.50")
    said("SEND", "/topic/prices", "")
    e.wait(lambda: e.messages)
    said("MESSAGE", "/topic/prices", "")
    for i in range(3):
        c.send("/queue/bills", "bill %d" % i)
        said("SEND", "/queue/bills", "")
    e.wait(lambda: len(e.messages) == 4)
    c.ack(e.messages[3].headers["message-id"], "several")
    for i in range(3):
        said("MESSAGE", "/queue/bills", "ack")
    finish(c, e)


def oldest(address, password):
    """Version 1.0, and an error that ends the connection."""
    c, e = connect(stomp.Connection10, address, password)
    c.send("/queue/old", "from long ago", headers={"receipt": "old"})
    e.wait(lambda: "old" in e.receipts)
    said("SEND", "/queue/old", "ok")
    c.subscribe("/queue/old", ack="client")
    said("SUBSCRIBE", "/queue/old", "")
    e.wait(lambda: e.messages)
    c.ack(e.messages[0].headers["message-id"])
    said("MESSAGE", "/queue/old", "ack")
    c.send("/bogus/x", "x", headers={"receipt": "lost"})
    e.wait(lambda: e.errors)
    said(*(("SEND", "/bogus/x") if "receipt-id" in e.errors[0].headers else ("ERROR", "")), e.errors[0].headers["message"])
    if "receipt-id" not in e.errors[0].headers:
        said("SEND", "/bogus/x", "none")


def main(address, password, file):
    publish(address, password)
    consume(address, password)
    topics(address, password)
    oldest(address, password)
    connect(stomp.Connection12, address, "wrong")
    with open(file, "w") as f:
        f.write("# frame\tdestination, transaction or login\tresult\n" + "\n".join(SAID) + "\n")


main(*sys.argv[1:])
