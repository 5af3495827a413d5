"""Tools of Debian, for samples of what keeps a network running. Each function notes what a tool said."""
import re
import subprocess
import tempfile


def radius(address, password, note):
    secret = "testing123"

    def run(kind, user, attributes, *argv):
        out = subprocess.run(argv, input=attributes, capture_output=True, text=True).stdout
        asked, heard = "", []
        for line in out.splitlines() + ["Sent end"]:
            words = line.split()
            if words[:1] == ["Sent"]:
                if asked:
                    note(asked, " ".join(filter(None, (user, kind))), " ".join(heard) or "no_response")
                asked, heard = words[1], []
            elif words[:1] == ["Received"]:
                heard = [words[1]]
            elif words[:2] == ["Error-Cause", "="]:
                heard.append(words[2])

    def send(kind, port, command, attributes, user=""):
        run(kind, user, attributes, "radclient", "-x", "-r", "1", "-t", "2", f"{address}:{port}", command, secret)

    for kind, field in (("pap", "User-Password"), ("chap", "CHAP-Password"), ("ms-chap", "MS-CHAP-Password")):
        for given in (password, "wrong"):
            send(kind, 1812, "auth", f'User-Name=ann, {field}="{given}", NAS-Identifier=till, NAS-IP-Address=10.1.28.5, NAS-Port=7, NAS-Port-Type=Wireless-802.11, Called-Station-Id="02-00-00-00-00-01:Shop", Calling-Station-Id="02-00-00-00-00-02", Message-Authenticator=0x00', "ann")
    run("eap", "ann", f'User-Name=ann\nCleartext-Password="{password}"\nEAP-Code=Response\nEAP-Id=210\nEAP-Type-Identity=ann\nMessage-Authenticator=0x00\n', "radeapclient", "-x", address, "auth", secret)
    send("", 1812, "status", "Message-Authenticator=0x00")
    for status in ("Start", "Interim-Update", "Stop"):
        send("", 1813, "acct", f"User-Name=ann, Acct-Status-Type={status}, Acct-Session-Id=s-1, Acct-Session-Time=60, Acct-Input-Octets=5, Acct-Output-Octets=6, Framed-IP-Address=10.0.0.7, NAS-IP-Address=10.1.28.5", "ann")
    send("", 3799, "coa", "User-Name=ann, Acct-Session-Id=s-1", "ann")
    send("", 3799, "disconnect", "User-Name=ann, Acct-Session-Id=s-1", "ann")
    send("", 3799, "disconnect", "User-Name=ann, Acct-Session-Id=s-9", "ann")


def snmp(address, password, note):
    tools = {"PATH": "/usr/bin:/bin", "SNMP_PERSISTENT_DIR": tempfile.gettempdir(), "MIBS": ""}
    errors = {"Timeout": "no_response", "incorrect password": "usmStatsWrongDigests", "Unknown user name": "usmStatsUnknownUserNames"}

    def run(command, kind, *argv, security):
        """runs a tool of Net-SNMP, which prints each variable as .OID = TYPE: VALUE"""
        out = subprocess.run([command, "-On", "-Oe", "-OQ", "-t", "1", "-r", "0", *security, address, *argv], capture_output=True, text=True, env=tools)
        text = out.stdout + out.stderr
        reason = re.search(r"Reason: \(?(\w+)", text)
        result = reason.group(1) if reason else next((name for said, name in errors.items() if said in text), "")
        values = [line.strip()[1:].replace('"', "") for line in out.stdout.splitlines() if line.startswith(".1.")]
        who = security[security.index("-u") + 1] if "-u" in security else {"-v1": "1", "-v2c": "2c"}[security[0]]
        note(kind, who, result or " | ".join(values))

    system = "1.3.6.1.2.1.1."
    v1, v2, mine = ["-v1", "-c", "public"], ["-v2c", "-c", "public"], ["-v2c", "-c", password]
    run("snmpget", "GetRequest", system + "5.0", security=v1)
    run("snmpget", "GetRequest", system + "99.0", security=v1)
    run("snmpget", "GetRequest", system + "5.0", system + "2.0", security=v2)
    run("snmpget", "GetRequest", system + "5.0", security=["-v2c", "-c", "wrong"])
    run("snmpset", "SetRequest", system + "6.0", "s", "Example Street", security=mine)
    run("snmpset", "SetRequest", system + "6.0", "s", "here", security=v2)
    run("snmpset", "SetRequest", system + "5.0", "i", "7", security=mine)
    run("snmpgetnext", "GetNextRequest", system + "4", system + "5", security=v2)
    run("snmpbulkget", "GetBulkRequest", "-Cn1", "-Cr3", system + "4", system + "9", security=v2)
    auth = ["-v3", "-a", "SHA", "-x", "AES"]
    for user, level, given in (("bob", "authNoPriv", password), ("ann", "authPriv", password), ("bob", "authNoPriv", "another password"), ("eve", "noAuthNoPriv", password)):
        note("GetRequest", "", "usmStatsUnknownEngineIDs")  # the client learns the engine
        security = [*auth, "-u", user, "-l", level, "-A", given, "-X", given]
        if level == "authPriv":
            out = subprocess.run(["snmpget", *security, address, system + "5.0"], capture_output=True, text=True, env=tools)
            assert "till" in out.stdout, out
            note("encrypted", user, "encrypted")
        else:
            run("snmpget", "GetRequest", system + "5.0", security=security)
    enterprise = "1.3.6.1.4.1.32473"
    for command, kind, version, argv in (("snmptrap", "Trap", "1", [enterprise, "10.1.29.5", "6", "7", "100"]), ("snmptrap", "Trap", "1", [enterprise, "10.1.29.5", "2", "0", "100"]), ("snmptrap", "SNMPv2-Trap", "2c", ["100", "1.3.6.1.6.3.1.1.5.4"]), ("snmpinform", "InformRequest", "2c", ["100", enterprise + ".0.9"])):
        subprocess.run([command, "-v" + version, "-c", "public", address, *argv], check=True, env=tools)
        note(kind, version, {"6": enterprise + ".0.7", "2": "linkDown"}.get(argv[2], "") if kind == "Trap" else {"1.3.6.1.6.3.1.1.5.4": "linkUp"}.get(argv[1], argv[1]))


def kerberos(address, password, note):
    folder = tempfile.mkdtemp()
    names = {"aes256-cts-hmac-sha1-96": "aes256-cts-hmac-sha1-96", "DEPRECATED:arcfour-hmac": "rc4-hmac"}

    def run(*argv, given="", transport="udp"):
        """runs a tool of MIT Kerberos, whose trace has each request with its result"""
        config, trace = f"{folder}/krb5.conf", f"{folder}/trace"
        with open(config, "w") as f:
            f.write("[libdefaults]\ndefault_realm = SHOP.EXAMPLE\ndns_lookup_kdc = false\ndns_canonicalize_hostname = false\nrdns = false\nallow_weak_crypto = true\n"
                    f"udp_preference_limit = {1 if transport == 'tcp' else 4000}\n[realms]\nSHOP.EXAMPLE = {{\n kdc = {address}\n}}\n")
        open(trace, "w").close()
        env = {"PATH": "/usr/bin:/bin", "KRB5_CONFIG": config, "KRB5_TRACE": trace, "KRB5CCNAME": "FILE:" + folder + "/cc", "LC_ALL": "C"}
        subprocess.run(argv, input=given + "\n", capture_output=True, text=True, env=env)
        tickets = subprocess.run(["klist", "-e"], capture_output=True, text=True, env=env).stdout.splitlines()

        def etype(service):
            at = next(i for i, line in enumerate(tickets) if line.endswith(f" {service}@SHOP.EXAMPLE"))
            return names[re.search(r"\(skey, tkt\): \S+, (\S+)", tickets[at + 1]).group(1)]

        kind, who = "AS-REQ", ""
        with open(trace) as f:
            for line in f:
                if m := re.search(r"Getting initial credentials for (\S+)@", line):
                    kind, who = "AS-REQ", m.group(1)
                elif m := re.search(r"Requesting tickets for (\S+)@", line):
                    kind, who = "TGS-REQ", m.group(1)
                elif m := re.search(r"(?:Received error from KDC|TGS request result): -(17653\d+)/", line):
                    note(kind, who, 1765328384 - int(m.group(1)))
                elif "Decrypted AS reply" in line:
                    note(kind, who, "0 " + etype("krbtgt/SHOP.EXAMPLE"))
                elif "TGS request result: 0" in line:
                    note(kind, who, "0 " + etype(who))

    run("kinit", "nobody")
    run("kinit", "eve", given=password)
    run("kinit", "ann", given="wrong")
    run("kinit", "ann", given=password)
    run("kvno", "cifs/files", "http/old", "cifs/none")
    run("kinit", "-f", "-r", "7d", "bob", given=password, transport="tcp")
    run("kvno", "cifs/files", transport="tcp")


def smb(address, password, note):
    folder = tempfile.mkdtemp()
    with open(folder + "/list.txt", "w") as f:
        f.write("coffee\n" * 500)
    with open(folder + "/smb.conf", "w") as f:
        f.write("[global]\nclient min protocol = NT1\nlock directory = %s\nstate directory = %s\ncache directory = %s\nprivate dir = %s\n" % ((folder,) * 4))

    def run(version, commands, *options, given=password, encrypted=False):
        """runs smbclient, which says what it did on one line for each command"""
        out = subprocess.run(["smbclient", "-s", folder + "/smb.conf", f"//{address}/files", "-U", "SHOP\\ann%" + given, "-m", version, *options, "-c", commands],
                             stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, cwd=folder).stdout
        if m := re.search(r"session setup failed: NT_(STATUS_\w+)", out):
            note("login", "ann", m.group(1))
            return
        note("login", "ann", "STATUS_SUCCESS")
        if encrypted:
            note("encrypted", "", "")
            return
        note("share", f"\\\\{address}\\files", "STATUS_SUCCESS")
        for line in out.splitlines():
            if m := re.match(r"putting file \S+ as \\?(\S+) ", line):
                note("write", m.group(1), "3500")
            elif m := re.match(r"getting file \\(\S+) of size (\d+) ", line):
                note("read", m.group(1), m.group(2))
            elif m := re.match(r"NT_(STATUS_\w+) opening remote file \\(\S+)", line):
                note("open", m.group(2), m.group(1))
            elif line.startswith("NT_STATUS"):
                note("other", "", line)
        for command in commands.split("; "):
            words = command.split()
            if words[0] == "rename" and "NT_STATUS" not in out:
                note("rename", words[1], words[2])
            elif words[0] == "del" and "NT_STATUS" not in out:
                note("delete", words[1], "")

    run("SMB3_11", "put list.txt; ls; get list.txt copy.txt; rename list.txt old.txt; del old.txt")
    run("SMB3_11", "get none.txt copy.txt")
    run("SMB2_10", "mkdir 2026; cd 2026; put list.txt; get list.txt copy.txt")
    run("NT1", "put list.txt plain.txt; get plain.txt copy.txt")
    run("SMB3_11", "put list.txt secret.txt; ls", "--client-protection=encrypt", encrypted=True)
    run("SMB3_11", "ls", given="wrong")
    out = subprocess.run(["rpcclient", "-s", folder + "/smb.conf", "-U", "SHOP\\ann%" + password, address, "-c", "srvinfo"], capture_output=True, text=True).stdout
    note("login", "ann", "STATUS_SUCCESS")
    if "platform_id" in out:
        note("rpc", "srvsvc", "21")


def dcerpc(address, password, note):
    folder = tempfile.mkdtemp()
    with open(folder + "/smb.conf", "w") as f:
        f.write("[global]\nlock directory = %s\nstate directory = %s\ncache directory = %s\nprivate dir = %s\n" % ((folder,) * 4))
    for protection, given, command, operation in (
        ("", "", "srvinfo", "NetSrvGetInfo"),
        ("sign", password, "lsaquery", "lsa_OpenPolicy"),
        ("seal", password, "enumdomusers", "EnumDomainUsers"),
        ("seal", password, "queryuser games", "QueryUserInfo"),
        ("connect", password, "netshareenumall", "NetShareEnumAll"),
        ("sign", "wrong", "lsaquery", "lsa_OpenPolicy"),
    ):
        binding = f"ncacn_ip_tcp:{address}" + (protection and f"[{protection}]")
        login = ["-U", "SHOP\\games%" + given] if given else ["-U", "%"]
        out = subprocess.run(["rpcclient", "-s", folder + "/smb.conf", *login, binding, "-c", command],
                             stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True).stdout
        m = re.search(r"(?:NT_STATUS|WERR)_(\w+)", out)
        note(operation, "games" if given else "", m.group(1) if m else "ok")


def nfs(address, password, note):
    folder = tempfile.mkdtemp()
    with open(folder + "/list.txt", "w") as f:
        f.write("coffee\n" * 500)

    def run(*argv):
        return subprocess.run(argv, capture_output=True, text=True, cwd=folder)

    def url(path):
        return f"nfs://{address}/export{path}?version=4"

    out = run("nfs-ls", url("/2026"))
    if "menu.txt" in out.stdout:
        note("list", "/export/2026", "")
    out = run("nfs-cat", url("/2026/menu.txt"))
    note("read", "/export/2026/menu.txt", len(out.stdout))
    out = run("nfs-cp", "list.txt", url("/copy.txt"))
    if m := re.search(r"copied (\d+) bytes", out.stdout):
        note("write", "/export/copy.txt", m.group(1))
    out = run("nfs-cat", url("/none.txt"))
    if m := re.search(r"NFS4ERR_(\w+)", out.stdout + out.stderr):
        note("failed", "", "NFSERR_" + m.group(1))
