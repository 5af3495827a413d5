"""A Telnet server (inetutils telnetd with a login of this script), and its client, inetutils telnet, which a script types into."""
import os, pty, re, select, socket, sys, time

PASSWORD = "sample-password"


def login():
    """What telnetd runs instead of /bin/login: the same prompts, and a shell that knows four commands."""
    import termios
    for _ in range(3):
        user = input("plant login: ")
        old = termios.tcgetattr(0)
        quiet = termios.tcgetattr(0)
        quiet[3] &= ~termios.ECHO
        termios.tcsetattr(0, termios.TCSADRAIN, quiet)
        given = input("Password: ")
        termios.tcsetattr(0, termios.TCSADRAIN, old)
        print()
        if (user, given) in (("operator", PASSWORD), ("admin", PASSWORD)):
            break
        time.sleep(0.3)
        print("Login incorrect")
    else:
        return
    print("Last login: Mon Nov 30 09:12:44 UTC 2026 on pts/0")
    while True:
        line = input(f"{user}@plant:~$ ")
        if line == "exit":
            return
        print({"hostname": "plant", "uptime": "up 41 days", "uname -a": "Linux plant 6.1.0"}.get(line, f"sh: {line}: not found"))


def server(address):
    """Starts telnetd for each connection, as inetd does."""
    s = socket.create_server((address, 23))
    print("ready", flush=True)
    while True:
        c, _ = s.accept()
        if os.fork() == 0:
            for fd in range(3):
                os.dup2(c.fileno(), fd)
            os.execv("/usr/sbin/telnetd", ["telnetd", "-h", "-E", f"{sys.executable} {os.path.abspath(__file__)} login"])
        c.close()


class Session:
    def __init__(self, address):
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            os.environ["TERM"] = "xterm"
            os.execvp("telnet", ["telnet", address])
        self.text = ""

    def expect(self, pattern):
        end = time.time() + 20
        while not (found := re.search(pattern, self.text)):
            if time.time() > end:
                raise SystemExit(f"no {pattern!r} in {self.text!r}")
            if select.select([self.fd], [], [], 0.1)[0]:
                try:
                    self.text += os.read(self.fd, 4096).decode()
                except OSError:
                    return ""
        text, self.text = self.text[:found.end()], self.text[found.end():]
        return text

    def type(self, line):
        for c in line:
            os.write(self.fd, c.encode())
            time.sleep(0.005)
        os.write(self.fd, b"\r")


def client(address, said):
    out = open(said, "w")

    def say(*what):
        print(*what, sep="\t", file=out)

    print("# what the client did, whom or what it named, the result", file=out)
    for tries, commands in ((("operator", "wrong-password"), ("operator", PASSWORD)), ("hostname", "uptime", "uname -a", "reboot")), ((("admin", PASSWORD),), ("uptime",)), ((("root", "toor-1"), ("root", "toor-2"), ("root", "toor-3")), ()):
        s = Session(address)
        for user, password in tries:
            s.expect("login: ")
            s.type(user)
            s.expect("Password: ")
            s.type(password)
            text = s.expect(r"incorrect|\$ $")
            say("LOGIN", user, "incorrect" if "incorrect" in text else "ok")
        for c in commands:
            s.type(c)
            say("LINE", c, s.expect(r"\$ $").split("\r\n")[1])
        if commands:
            s.type("exit")
            say("LINE", "exit", "")
        s.expect("closed")
        os.waitpid(s.pid, 0)


{"server": server, "client": client, "login": login}[sys.argv[1]](*sys.argv[2:])
