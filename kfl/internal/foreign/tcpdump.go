package foreign

import (
	"regexp"
	"strconv"
	"strings"
	"sync"
)

// tcpdumpTerm matches a primitive of pcap-filter(7) that KFL can express: a protocol, a direction, what
// the values are, and the values.
var tcpdumpTerm = sync.OnceValue(func() *regexp.Regexp {
	return regexp.MustCompile(quotedText + `|` +
		`(?:\b(tcp|udp|sctp)\s+(?:and\s+)?)?(?:\b(src|dst)\s+)?(?:\b(host|net|portrange|port)\s+)?` +
		`\b([0-9A-Fa-f][\w.:/-]*(?:\s+or\s+\d[\w.:/-]*)*|[A-Za-z][\w.-]*)`)
})

// fromTcpdump translates the primitives of tcpdump's filters in src to KFL: host, net, port and portrange
// with their direction, and before them the transport.
func (k *Language) fromTcpdump(src string) string {
	return tcpdumpTerm().ReplaceAllStringFunc(src, func(term string) string {
		m := tcpdumpTerm().FindStringSubmatch(term)
		transport, end, what, values := m[1], m[2], m[3], m[4]
		if what == "" && end != "" {
			what = "host"
		}
		cond := k.tcpdumpCondition(what, strings.Split(values, " or "))
		if cond == "" {
			return term
		}
		if end != "" {
			cond = strings.ReplaceAll(cond, "END.", end+".")
		} else {
			cond = "(" + strings.ReplaceAll(cond, "END.", "src.") + " || " + strings.ReplaceAll(cond, "END.", "dst.") + ")"
		}
		if transport != "" {
			cond = "(" + transports[transport] + " && " + cond + ")"
		}
		return cond
	})
}

// transports are the conditions for tcpdump's protocols. QUIC is a transport of its own in KFL.
var transports = map[string]string{"tcp": `transport == "tcp"`, "udp": `transport in ["udp", "quic"]`, "sctp": `transport == "sctp"`}

// portsByName are the ports of the services that filters name most, from IANA's registry of service names.
var portsByName = map[string]string{
	"ftp": "21", "ssh": "22", "telnet": "23", "smtp": "25", "domain": "53", "tftp": "69", "http": "80", "kerberos": "88", "pop3": "110", "ntp": "123",
	"imap": "143", "snmp": "161", "bgp": "179", "ldap": "389", "https": "443", "syslog": "514", "ldaps": "636", "imaps": "993", "pop3s": "995",
	"nfs": "2049", "mysql": "3306", "postgresql": "5432", "amqp": "5672", "sip": "5060", "redis": "6379", "mqtt": "1883",
}

// tcpdumpCondition returns the condition on END, the client or the server, or "".
func (k *Language) tcpdumpCondition(what string, values []string) string {
	field, list := "END.ip", make([]string, 0, len(values))
	for _, v := range values {
		v = strings.TrimSpace(v)
		quoted := k.Address(v)
		switch {
		case what == "port" && strings.Trim(v, "0123456789") == "":
			field, quoted = "END.port", v
		case what == "port" && portsByName[v] != "":
			field, quoted = "END.port", portsByName[v]
		case what == "portrange":
			from, to, ok := strings.Cut(v, "-")
			if !ok || len(values) > 1 {
				return ""
			}
			return "(END.port >= " + from + " && END.port <= " + to + ")"
		case what == "host" && k.IsOperator(v):
			return ""
		case what == "host" && quoted == v && len(values) == 1 && plainWord.MatchString(strings.ReplaceAll(v, ".", "_")):
			field, quoted = "END.name", strconv.Quote(v)
		case what == "host" && quoted != v && !strings.Contains(v, "/"), what == "net" && strings.Contains(quoted, "/") && quoted != v:
		default:
			return ""
		}
		list = append(list, quoted)
	}
	switch {
	case len(list) > 1:
		return field + " in [" + strings.Join(list, ", ") + "]"
	case what == "net":
		return field + " in " + list[0]
	}
	return field + " == " + list[0]
}
