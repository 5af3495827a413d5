"""Each row: what a rule of Sigma says, and its KFL or the error that names what KFL lacks."""

import pytest
import yaml
from sigma.backends.pcapsule import PcapsuleBackend
from sigma.collection import SigmaCollection
from sigma.exceptions import SigmaFeatureNotSupportedByBackendError

RULE = """
title: A rule
id: 2c03648b-e081-41a5-b9fb-7d854a915091
description: What it detects
status: test
level: {level}
logsource: {source}
tags: [attack.initial-access, attack.t1190, attack.t1558.003, cve.2021-44228]
references: [https://example.org/a]
detection: {detection}
"""

WEB = "{category: webserver}"
PROXY = "{category: proxy}"


def rule(source, detection, level="high"):
    return SigmaCollection.from_yaml(RULE.format(source=source, detection=detection, level=level))


def selection(text):
    return "{s: {" + text + "}, condition: s}"


def convert(source, detection):
    return PcapsuleBackend().convert(rule(source, detection), "kfl")


@pytest.mark.parametrize(
    "source, detection, kfl",
    [
        (WEB, selection("cs-method: GET"), 'http && method.lowerAscii() == "get"'),
        (WEB, selection("cs-method: [GET, PUT]"), 'http && method.lowerAscii() in ["get", "put"]'),
        (WEB, selection("cs-method|cased: GET"), 'http && method == "GET"'),
        (WEB, selection("sc-status: [200, 302]"), "http && status_code in [200, 302]"),
        (WEB, selection("sc-status|gte: 500"), "http && status_code >= 500"),
        (WEB, selection("sc-status|startswith: '4'"), 'http && string(status_code).startsWith("4")'),
        (WEB, selection("cs-uri-stem|endswith: .JSP"), 'http && path.lowerAscii().endsWith(".jsp")'),
        (WEB, selection("cs-uri-query|contains: A=1"), 'http && url.lowerAscii().contains("a=1")'),
        (
            WEB,
            selection("cs-uri-query: a=1"),
            'http && (url.lowerAscii() == "a=1" || query_string_text.lowerAscii() == "a=1")',
        ),
        (
            WEB,
            selection("cs-uri-stem|contains|all: [a, b]"),
            'http && (path.lowerAscii().contains("a") && path.lowerAscii().contains("b"))',
        ),
        (WEB, selection("cs-uri-stem: '/a*b?c.d'"), 'http && path =~ "(?is)^/a.*b.c\\\\.d$"'),
        (WEB, selection("cs-uri-stem|contains: 'é'"), 'http && path =~ "(?is)é"'),
        (WEB, selection("cs-uri-stem|re: '\\.php$'"), 'http && path =~ "\\\\.php$"'),
        (WEB, selection("cs-uri-stem|re|i: x"), 'http && path =~ "(?i)x"'),
        (WEB, selection("cs-host: null"), "http && host == nil"),
        (WEB, selection("cs-host|exists: true"), "http && !(host == nil)"),
        (
            WEB,
            selection("cs-user-agent: ''"),
            'http && (request.headers["user-agent"] == nil || request.headers["user-agent"] == "")',
        ),
        (
            WEB,
            "{a: {cs-method: GET}, b: {sc-status: 404}, condition: a and not b}",
            'http && (method.lowerAscii() == "get" && !(status_code == 404))',
        ),
        (
            WEB,
            "{k: [.git/], condition: k}",
            'http && ((method + " " + url + " " + http_version).lowerAscii().contains(".git/") || '
            'request.headers["referer"].lowerAscii().contains(".git/") || '
            'request.headers["user-agent"].lowerAscii().contains(".git/"))',
        ),
        (PROXY, selection("c-uri-extension: exe"), 'http && path.lowerAscii().endsWith(".exe")'),
        (
            PROXY,
            selection("c-uri|contains: '://a.b/'"),
            'http && ((https ? "https://" : "http://") + (host != nil ? host : "") + url).lowerAscii().contains("://a.b/")',
        ),
        (PROXY, selection("dst_ip|cidr: 10.0.0.0/8"), 'http && dst.ip in "10.0.0.0/8"'),
        (PROXY, selection("c-useragent|contains|windash: ' -a'"), None),
        ("{category: dns}", selection("query|endswith: .onion"), 'dns && dns_questions.exists(e, e.lowerAscii().endsWith(".onion"))'),
        ("{category: firewall}", selection("dst_port: 22"), "dst.port == 22"),
        ("{product: zeek, service: http}", selection("id.resp_p: 80"), "http && dst.port == 80"),
        ("{product: zeek, service: x509}", selection("certificate.serial: 08BB00EE"), 'tlsx && tls.cert_serial == "8bb00ee"'),
        (
            "{product: zeek, service: kerberos}",
            selection("request_type: TGS"),
            'kerberos && kerberos_type in ["TGS-REQ", "TGS-REP"]',
        ),
        (
            "{product: zeek, service: dce_rpc}",
            selection("operation: RpcAddPrinterDriverEx"),
            '(dcerpc || smb_rpc_interface != nil) && (dcerpc_interface == "spoolss" && dcerpc_opnum == 89 || '
            'smb_rpc_interface == "spoolss" && smb_rpc_opnum == 89)',
        ),
    ],
)
def test_converts(source, detection, kfl):
    (got,) = convert(source, detection)
    if kfl is None:  # every dash of windash
        assert got.count(".contains(") + got.count(" =~ ") == 5
    else:
        assert got == kfl


@pytest.mark.parametrize(
    "source, detection, names",
    [
        (WEB, selection("cs-username: root"), "field cs-username"),
        (WEB, selection("cs-uri-stem|re: '(?=a)b'"), "(?=a)b"),
        (WEB, selection("cs-uri-stem|re: '(a)\\1'"), "modifier re"),
        (WEB, selection("cs-uri-stem|re: 'a\\Z'"), "modifier re"),
        (WEB, selection("cs-uri-stem|re: '(?x)a'"), "modifier re"),
        (WEB, selection("cs-method|fieldref: cs-host"), "modifier fieldref"),
        (WEB, selection("cs-uri-stem: '" + "a*" * 400 + "'"), "longer than 1000 bytes"),
        (PROXY, selection("cs-host|cidr: 10.0.0.0/8"), "modifier cidr"),
        (PROXY, selection("c-uri-extension: a.b"), "field c-uri-extension"),
        ("{category: dns}", "{k: [word], condition: k}", "keyword word"),
        ("{category: firewall}", selection("action: accept"), "field action"),
        ("{product: zeek, service: dce_rpc}", selection("operation: NoSuch"), "value NoSuch"),
        ("{product: zeek, service: dns}", selection("Z: 0"), "field Z"),
        ("{product: zeek, service: weird}", selection("name: x"), "service weird"),
        ("{category: webserver, product: apache}", selection("cs-method: GET"), "product apache"),
        ("{category: process_creation, product: windows}", selection("Image: x"), "category process_creation"),
    ],
)
def test_names_what_kfl_lacks(source, detection, names):
    with pytest.raises(SigmaFeatureNotSupportedByBackendError) as error:
        convert(source, detection)
    assert names in str(error.value)


def test_rules_that_do_not_convert_are_collected():
    backend = PcapsuleBackend(collect_errors=True)
    assert yaml.safe_load(backend.convert(rule("{category: antivirus}", selection("a: b")))) == {"version": 1, "rules": []}
    assert len(backend.errors) == 1


def test_a_rule_of_check_keeps_what_the_rule_says():
    (out,) = yaml.safe_load(PcapsuleBackend().convert(rule(WEB, selection("sc-status: 500"))))["rules"]
    assert out == {
        "name": "A rule",
        "id": "2c03648b-e081-41a5-b9fb-7d854a915091",
        "doc": "What it detects",
        "level": "error",
        "severity": "high",
        "techniques": ["T1190", "T1558.003"],
        "references": ["https://example.org/a"],
        "calls": "http",
        "never": "status_code == 500",
        "min_calls": 0,
    }


@pytest.mark.parametrize("level, want", [("critical", "error"), ("high", "error"), ("medium", "warning"), ("informational", "warning")])
def test_only_high_and_critical_rules_fail_a_check(level, want):
    (out,) = yaml.safe_load(PcapsuleBackend().convert(rule(WEB, selection("sc-status: 500"), level)))["rules"]
    assert (out["level"], out["severity"]) == (want, level)


def test_rules_of_the_same_title_have_different_names():
    two = SigmaCollection.merge([rule(WEB, selection("sc-status: 1")), rule(WEB, selection("sc-status: 2"))])
    names = [r["name"] for r in yaml.safe_load(PcapsuleBackend().convert(two))["rules"]]
    assert names == ["A rule", "A rule (2)"]
