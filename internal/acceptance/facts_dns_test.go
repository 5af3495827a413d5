package acceptance

import (
	"strconv"
	"strings"

	"github.com/miekg/dns"
)

// dnsFacts are the facts of DNS. The peer counts the first question of a message.
func dnsFacts() []fact {
	const first = "coalesce(dns_questions[1] || ' ' || dns_question_types[1], '? ?')"
	return []fact{
		{name: "dns_queries", truth: "dns_queries", fold: dnsName, ours: dnsType,
			sql: "select " + first + ", count(*) from {calls} where protocol = 'dns' and dns_request group by 1"},
		{name: "dns_responses", truth: "dns_responses", fold: dnsName, ours: dnsType,
			sql: "select " + first + " || ' rcode=' || (status_code & 15), sum(dns_response_messages)::bigint from {calls} where protocol = 'dns' and dns_response group by 1"},
	}
}

// maxTruth is the length at which the truth cuts values.
const maxTruth = 200

// dnsName converts a peer's name to our spelling.
func dnsName(v string) string { return strings.Replace(v, "<Root> ", ". ", 1) }

// dnsType replaces the name of a type, the word after the queried name, by its number.
func dnsType(v string) string {
	head, tail := v, ""
	if i := strings.LastIndex(v, " rcode="); i >= 0 {
		head, tail = v[:i], v[i:]
	}
	i := strings.LastIndexByte(head, ' ') + 1
	typ := head[i:]
	if n, ok := dns.StringToType[typ]; ok {
		typ = strconv.Itoa(int(n))
	}
	v = head[:i] + strings.TrimPrefix(typ, "TYPE") + tail
	return v[:min(len(v), maxTruth)]
}
