package httpfield

import (
	"net"
	"net/url"
	"strings"

	"github.com/pcapsule/pcapsule/exporter/table"
)

// Masque is column proxied_to for a request to proxy datagrams or IP packets, by the path of the default template:
// /.well-known/masque/udp/HOST/PORT/ (RFC 9298 section 2) or /.well-known/masque/ip/TARGET/PROTOCOL/ (RFC 9484 section 4).
// A target that is any host or a prefix is none. LIMIT: the paths of other templates are not read, because only the client
// knows what their parts are.
func Masque(protocol, path string) table.Opt[string] {
	kind := map[string]string{"connect-udp": "udp", "connect-ip": "ip"}[strings.ToLower(protocol)]
	rest, ours := strings.CutPrefix(path, "/.well-known/masque/"+kind+"/")
	if kind == "" || !ours {
		return table.Opt[string]{}
	}
	parts := strings.Split(strings.TrimSuffix(rest, "/"), "/")
	if len(parts) != 2 {
		return table.Opt[string]{}
	}
	host, err := url.PathUnescape(parts[0])
	if err != nil || host == "" || strings.ContainsAny(host, "*/,") {
		return table.Opt[string]{}
	}
	if kind == "ip" { // its second part is an IP protocol
		return table.Some(ValidText(host))
	}
	return table.Some(ValidText(net.JoinHostPort(host, parts[1])))
}
