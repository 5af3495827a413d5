package acceptance

import (
	"fmt"
	"strconv"

	"github.com/pcapsule/pcapsule/exporter/dissect/icmp/wire"
)

// icmpFacts are the facts of ICMP. A pair has two messages, and the peer also counts the message that
// an error quotes.
func icmpFacts() []fact {
	const stmt = `select icmp_type, count(*) from {calls} where protocol = 'icmp' and icmp_version = %d group by 1
		union all select icmp_reply_type, count(*) from {calls} where protocol = 'icmp' and icmp_version = %[1]d and icmp_reply_type is not null group by 1
		union all select icmp_quoted_type, count(*) from {calls} where protocol = 'icmp' and icmp_quoted_type is not null and icmp_quoted_protocol = '%s' group by 1`
	return []fact{
		{name: "icmp_types", truth: "icmp_types", ours: icmpType(false), sql: fmt.Sprintf(stmt, 4, "icmp")},
		{name: "icmpv6_types", truth: "icmpv6_types", ours: icmpType(true), sql: fmt.Sprintf(stmt, 6, "icmpv6")},
	}
}

// icmpType converts the name of a type to its number.
func icmpType(v6 bool) func(string) string {
	numbers := map[string]string{}
	for typ := range 256 {
		numbers[wire.TypeName(v6, uint8(typ))] = strconv.Itoa(typ)
	}
	return func(v string) string { return numbers[v] }
}
