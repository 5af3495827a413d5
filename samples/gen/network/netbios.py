"""Samba's name server nmbd, and its client nmblookup."""
import os, subprocess, sys, tempfile, time


def conf(address, name):
    d = tempfile.mkdtemp()
    path = os.path.join(d, "smb.conf")
    with open(path, "w") as f:
        f.write(f"""[global]
netbios name = {name}
workgroup = SHOP
interfaces = {address}/24
bind interfaces only = yes
wins support = {"yes" if name == "FILES" else "no"}
private dir = {d}
lock directory = {d}
state directory = {d}
cache directory = {d}
pid directory = {d}
log file = {d}/log
ncalrpc dir = {d}/ncalrpc
""")
    return path


def wide(address):
    """Samba needs a network with a broadcast address."""
    subprocess.run(["ip", "addr", "add", address + "/24", "brd", address.rsplit(".", 1)[0] + ".255", "dev", "eth0"], check=True)
    subprocess.run(["ip", "addr", "del", address + "/32", "dev", "eth0"])


def server(address):
    wide(address)
    subprocess.Popen(["nmbd", "-F", "--no-process-group", "-s", conf(address, "FILES")], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    time.sleep(25)  # until it owns its names
    print("ready", flush=True)
    time.sleep(600)


def client(address, said):
    out = open(said, "w")
    me = ".".join(address.split(".")[:3]) + ".5"
    wide(me)
    c, at = conf(me, "DESK"), "--unicast=" + address
    print("# what the client asked, the name, the result", file=out)
    for args, what, name in (([at, "FILES"], "NAME QUERY", "FILES<00>"), ([at, "FILES#20"], "NAME QUERY", "FILES<20>"), ([at, "NOBODY"], "NAME QUERY", "NOBODY<00>"), ([at, "SHOP#1b"], "NAME QUERY", "SHOP<1b>"),
                             (["-A", address], "NODE STATUS", "*<00>")):
        text = subprocess.run(["nmblookup", "-s", c, "--recursion"] + args, capture_output=True, text=True).stdout
        if what == "NODE STATUS":
            result = str(sum(" - " in line for line in text.splitlines())) + " names"
        else:
            result = address if any(line.startswith(address + " ") for line in text.splitlines()) else "NAM_ERR"
        if name.startswith("NOBODY"):  # which nobody answers
            continue
        print(what, name, result, sep="\t", file=out)


{"server": server, "client": client}[sys.argv[1]](*sys.argv[2:])
