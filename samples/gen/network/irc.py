"""Two clients of ngircd: one sends a file to the other by DCC."""
import socket, struct, subprocess, sys, tempfile, threading, time

PASSWORD = "sample-password"


def server(address):
    d = tempfile.mkdtemp()
    with open(d + "/ngircd.conf", "w") as f:
        f.write(f"""[Global]
Name = irc.shop.example
Listen = {address}
Ports = 6667
MotdPhrase = welcome to the shop
ServerUID = root
ServerGID = root
[Options]
DNS = no
Ident = no
PAM = no
[Operator]
Name = ann
Password = {PASSWORD}
[Channel]
Name = #shop
Topic = orders
""")
    p = subprocess.Popen(["ngircd", "-n", "-f", d + "/ngircd.conf"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    time.sleep(1.5)
    threading.Thread(target=eve, args=(address,)).start()
    time.sleep(2)
    print("ready", flush=True)
    p.wait()


class Client:
    def __init__(self, address, nick):
        self.s = socket.create_connection((address, 6667))
        self.lines, self.nick = self.s.makefile("rb"), nick

    def ask(self, line, *until):
        self.s.sendall(line.encode() + b"\r\n")
        return self.wait(*until) if until else ""

    def wait(self, *until):
        while True:
            line = self.lines.readline().decode().rstrip()
            words = line.split(" ")
            if words[0] == "PING":
                self.s.sendall(b"PONG " + words[1].encode() + b"\r\n")
            if any(u in words for u in until):
                return line


def client(address, said):
    out = open(said, "w")
    say = lambda *what: print(*what, sep="\t", file=out)
    print("# what the client did, to whom, the result", file=out)
    ann, bob = Client(address, "ann"), Client(address, "bob")
    for c in (ann, bob):
        c.ask("NICK " + c.nick)
        c.ask(f"USER {c.nick} 0 * :{c.nick} of the shop", "376", "422")
        say("NICK", c.nick, "ok")
        say("USER", c.nick, "RPL_ENDOFMOTD")
    for c in (ann, bob):
        c.ask("JOIN #shop", "366")
        say("JOIN", "#shop", "RPL_ENDOFNAMES")
    ann.ask("PRIVMSG #shop :an order came in")
    bob.wait("PRIVMSG")
    say("PRIVMSG", "#shop", "ok")
    say("from ann", "#shop", "an order came in")
    ann.ask("PRIVMSG nobody :hello", "401")
    say("PRIVMSG", "nobody", "ERR_NOSUCHNICK")
    ann.ask("OPER ann wrong", "464")
    say("OPER", "ann", "ERR_PASSWDMISMATCH")
    ann.ask("OPER ann " + PASSWORD, "381")
    say("OPER", "ann", "RPL_YOUREOPER")
    bob.ask("WHOIS ann", "318")
    say("WHOIS", "ann", "RPL_ENDOFWHOIS")
    bob.ask("NICK ann", "433")
    say("NICK", "ann", "ERR_NICKNAMEINUSE")
    data = bytes(i * i % 251 for i in range(30000))
    listener = socket.create_server((ann.s.getsockname()[0], 5010))
    host = struct.unpack(">I", socket.inet_aton(ann.s.getsockname()[0]))[0]
    ann.ask(f"PRIVMSG eve :\x01DCC SEND prices.bin {host} 5010 {len(data)}\x01")
    say("DCC SEND", "eve", f"prices.bin {len(data)}")
    peer, _ = listener.accept()
    peer.sendall(data)
    peer.shutdown(socket.SHUT_WR)
    while peer.recv(4096):
        pass
    peer.close()
    for c in (ann, bob):
        c.ask("QUIT :bye", "ERROR")
        say("QUIT", "", "ok")


def eve(address):
    """A client on the server's machine, which fetches the file that it is offered."""
    time.sleep(1)
    c = Client(address, "eve")
    c.ask("NICK eve")
    c.ask("USER eve 0 * :eve", "376", "422")
    words = c.wait("PRIVMSG").split(" ")
    host, port, size = (int(w.strip("\x01")) for w in words[-3:])
    s = socket.create_connection((socket.inet_ntoa(struct.pack(">I", host)), port))
    got = 0
    while got < size and (data := s.recv(65536)):
        got += len(data)
        s.sendall(struct.pack(">I", got))
    s.close()


{"server": server, "client": client}[sys.argv[1]](*sys.argv[2:])
