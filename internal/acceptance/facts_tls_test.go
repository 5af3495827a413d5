package acceptance

import (
	"strconv"
	"strings"
)

// tlsFacts are the facts of TLS handshakes. The peer counts messages, while one row is a handshake
// with all its messages.
func tlsFacts() []fact {
	// After a HelloRetryRequest the client repeats its ClientHello.
	const hellos = "greatest(len(list_filter(tls_messages, m -> m = 'client_hello')), 1)"
	const of = " from {calls} where protocol = 'tls' and transport in ('tcp', 'quic') and " // the peer's fields of DTLS have other names
	list := []fact{
		{name: "tls_sni", truth: "tls_sni", ours: cutValue,
			sql: "select tls_sni, sum(" + hellos + ")::bigint" + of + "tls_sni is not null group by 1"},
		{name: "tls_ja3", truth: "ja3",
			sql: "select tls_ja3, sum(" + hellos + ")::bigint" + of + "tls_ja3 is not null group by 1"},
		{name: "tls_ja3s", truth: "ja3s",
			sql: "select tls_ja3s, sum(greatest(len(list_filter(tls_messages, m -> m = 'server_hello')), 1))::bigint" + of + "tls_ja3s is not null group by 1"},
		{name: "tls_server_hello", truth: "tls_server_hello_version_cipher", ours: tlsHex,
			sql: "select tls_version || ' ' || tls_cipher_suite, sum(len(list_filter(tls_messages, m -> m = 'server_hello')))::bigint" + of + "tls_ja3s is not null group by 1"},
		{name: "tls_alpn", truth: "tls_alpn", ours: cutValue,
			sql: "select p, sum(n)::bigint from (select unnest(tls_alpn_offered) as p, " + hellos + " as n" + of + "tls_alpn_offered is not null" +
				" union all select tls_alpn, 1" + of + "tls_alpn is not null) group by 1"},
		{name: "tls_alerts", truth: "tls_alerts", fold: alertName,
			sql: "select a, count(*) from (select unnest(tls_alerts) as a" + of + "tls_alerts is not null" +
				" union all select string_split(unnest(alerts), ' ')[2] from {connections} where encryption = 'tls') where a <> 'encrypted' group by 1"},
	}
	return list
}

func cutValue(v string) string { return v[:min(len(v), maxTruth)] }

// tlsHex writes two numbers as the peer does.
func tlsHex(v string) string {
	version, suite, _ := strings.Cut(v, " ")
	return hex4(version) + " " + hex4(suite)
}

func hex4(v string) string {
	n, err := strconv.ParseUint(v, 10, 32)
	if err != nil {
		return v
	}
	h := strconv.FormatUint(n, 16)
	return "0x" + strings.Repeat("0", max(4-len(h), 0)) + h
}

// alertName converts the peer's number of an alert to our name.
func alertName(v string) string {
	names := map[string]string{"0": "close_notify", "10": "unexpected_message", "20": "bad_record_mac", "22": "record_overflow",
		"40": "handshake_failure", "41": "no_certificate", "42": "bad_certificate", "43": "unsupported_certificate",
		"45": "certificate_expired", "46": "certificate_unknown", "47": "illegal_parameter", "48": "unknown_ca", "49": "access_denied",
		"50": "decode_error", "51": "decrypt_error", "70": "protocol_version", "71": "insufficient_security", "80": "internal_error",
		"86": "inappropriate_fallback", "90": "user_canceled", "100": "no_renegotiation", "112": "unrecognized_name", "116": "certificate_required",
		"120": "no_application_protocol"}
	if s, ok := names[v]; ok {
		return s
	}
	return v
}
