"""Fields of Sigma's log sources, and the KFL that has the same meaning.

A field that is not listed has no KFL of the same meaning, and a rule that uses it is not
converted. docs/kfl.md describes KFL; `pcapsule kfl fields` lists its names.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Field:
    """A field in KFL.

    kind is text, list (of text), int, ip, header (a text that is empty if the header is missing),
    bool, suffix (text after the last dot), serial (hexadecimal, leading zeros ignored),
    kerberos_request, operation (of DCE/RPC) or interface.
    kfl has one or several expressions. A value matches if it matches one of them. If there are
    several, each is the end of the one before.
    """

    kind: str
    kfl: tuple[str, ...]


def text(*kfl: str) -> Field:
    return Field("text", kfl)


def header(name: str) -> Field:
    return Field("header", (f'request.headers["{name}"]',))


ENDPOINTS = {
    "src_ip": Field("ip", ("src.ip",)),
    "dst_ip": Field("ip", ("dst.ip",)),
    "src_port": Field("int", ("src.port",)),
    "dst_port": Field("int", ("dst.port",)),
}

# Endpoints of Zeek, in every log.
ZEEK = {
    "id.orig_h": Field("ip", ("src.ip",)),
    "id.orig_p": Field("int", ("src.port",)),
    "id.resp_h": Field("ip", ("dst.ip",)),
    "id.resp_p": Field("int", ("dst.port",)),
    **ENDPOINTS,
}

# The URL as a proxy logs it. Rules also compare with the URL from the path on.
FULL_URL = '(https ? "https://" : "http://") + (host != nil ? host : "") + url'

WEB = {
    **ENDPOINTS,
    "c-ip": Field("ip", ("src.ip",)),
    "c-port": Field("int", ("src.port",)),
    "s-ip": Field("ip", ("dst.ip",)),
    "s-port": Field("int", ("dst.port",)),
    "c-uri": text(FULL_URL, "url"),
    "cs-uri": text(FULL_URL, "url"),
    # Public rules mean the query, or the path with the query.
    "cs-uri-query": text("url", "query_string_text"),
    "c-uri-query": text("url", "query_string_text"),
    "cs-uri-stem": text("path"),
    "c-uri-stem": text("path"),
    "c-uri-extension": Field("suffix", ("path",)),
    "cs-method": text("method"),
    "cs-host": text("host"),
    "cs-version": text("http_version"),
    "sc-status": Field("int", ("status_code",)),
    "c-useragent": header("user-agent"),
    "cs-user-agent": header("user-agent"),
    "cs-referer": header("referer"),
    "cs-referrer": header("referer"),
    "c-referer": header("referer"),
    "cs-cookie": header("cookie"),
    "cs-content-type": header("content-type"),
}

DNS = {
    "query": Field("list", ("dns_questions",)),
    "answer": Field("list", ("dns_answers",)),
    "answers": Field("list", ("dns_answers",)),
    "record_type": Field("list", ("dns_question_types",)),
}

ZEEK_HTTP = {
    **WEB,
    **ZEEK,
    "method": text("method"),
    "host": text("host"),
    "uri": text("url"),
    "referrer": header("referer"),
    "user_agent": header("user-agent"),
    "status_code": Field("int", ("status_code",)),
    "status_msg": text("status_text"),
    "client_header_names": Field("list", ("request.headers",)),
    "server_header_names": Field("list", ("response.headers",)),
    "request_body_len": Field("int", ("(request_body_size != nil ? request_body_size : 0)",)),
    "response_body_len": Field("int", ("(response_body_size != nil ? response_body_size : 0)",)),
}


@dataclass(frozen=True)
class Source:
    """A log source: the calls that it logs, their fields, and what a keyword is searched in."""

    calls: str
    fields: dict[str, Field]
    keywords: tuple[str, ...] = ()


# A web log has the request line, the referrer and the user agent (combined log format).
LOG_LINE = ('method + " " + url + " " + http_version', 'request.headers["referer"]', 'request.headers["user-agent"]')

CATEGORIES = {
    "proxy": Source("http", WEB, ('method + " " + ' + FULL_URL, *LOG_LINE)),
    "webserver": Source("http", WEB, LOG_LINE),
    "dns": Source("dns", {**ENDPOINTS, **DNS}),
    "firewall": Source("", ENDPOINTS),
}

ZEEK_SERVICES = {
    "http": Source("http", ZEEK_HTTP),
    "dns": Source(
        "dns",
        {
            **ZEEK,
            **DNS,
            "qtype_name": Field("list", ("dns_question_types",)),
            "rcode": Field("int", ("status_code",)),
            "rcode_name": text("status_text"),
            "proto": text("transport"),
            # Zeek's event dns_rejected: a response without any record.
            "rejected": Field(
                "bool",
                ("dns_response && dns_answer_count == 0 && dns_authority_count == 0 && dns_additional_count == 0",),
            ),
        },
    ),
    "conn": Source("", {**ZEEK, "proto": text("transport"), "community_id": text("flow.community_id")}),
    "ssl": Source(
        "tlsx",
        {
            **ZEEK,
            "server_name": text("tls_sni"),
            "cipher": text("tls_cipher_suite_name"),
            "next_protocol": text("tls_alpn"),
            "ja3": text("tls_ja3"),
            "ja3s": text("tls_ja3s"),
        },
    ),
    "x509": Source("tlsx", {"certificate.serial": Field("serial", ("tls.cert_serial",))}),
    "smtp": Source(
        "smtp",
        {
            **ZEEK,
            "helo": text("smtp_client"),
            "mailfrom": text("smtp_from"),
            "rcptto": Field("list", ("smtp_to",)),
            "subject": text("smtp_subject"),
            "last_reply": text("smtp_reply"),
        },
    ),
    "rdp": Source("rdp", {**ZEEK, "cookie": text("rdp_user")}),
    "smb_files": Source("smb && smb_file != nil", {**ZEEK, "name": text("smb_file"), "path": text("smb_share")}),
    "kerberos": Source(
        "kerberos",
        {**ZEEK, "request_type": Field("kerberos_request", ("kerberos_type",)), "cipher": text("kerberos_ticket_etype"), "service": text("kerberos_service")},
    ),
    "dce_rpc": Source(
        "(dcerpc || smb_rpc_interface != nil)",
        {**ZEEK, "operation": Field("operation", ()), "endpoint": Field("interface", ())},
    ),
}

# Operations of DCE/RPC that have the same name in Zeek and in KFL.
SAME_OPERATIONS = {
    name.lower()
    for name in (
        "CreateServiceA CreateServiceW StartServiceA StartServiceW OpenSCManagerW DeleteService ControlService JobAdd "
        "SchRpcEnableTask SchRpcRegisterTask SchRpcRun ExecMethod ExecMethodAsync EfsRpcOpenFileRaw EfsRpcEncryptFileSrv"
    ).split()
}

# Operations that Zeek names and KFL does not: interface and number (MS-RPRN 3.1.4, MS-PAR 3.1.4).
NUMBERED_OPERATIONS = {
    "rpcaddprinterdriver": ("spoolss", 9),
    "rpcaddprintprocessor": ("spoolss", 14),
    "rpcaddmonitor": ("spoolss", 46),
    "rpcaddprinterdriverex": ("spoolss", 89),
    "rpcasyncaddprinterdriver": ("IRemoteWinspool", 39),
    "rpcasyncaddprintprocessor": ("IRemoteWinspool", 44),
    "rpcasyncaddmonitor": ("IRemoteWinspool", 51),
    "rpcasyncinstallprinterdriverfrompackage": ("IRemoteWinspool", 62),
}

# Interfaces of DCE/RPC that have the same name in Zeek and in KFL.
INTERFACES = {name.lower() for name in "atsvc svcctl spoolss samr srvsvc ITaskSchedulerService IRemoteWinspool IWbemServices".split()}
