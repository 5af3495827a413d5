package finding

import (
	"context"

	"github.com/pcapsule/pcapsule/forensics"
	"github.com/pcapsule/pcapsule/forensics/ask/terms"
)

// Basis is the traffic that an analyzer examines. If there is no such traffic, an answer without
// findings proves nothing.
type Basis struct {
	What  string // in the plural, such as "TLS handshakes"
	Calls string // SQL condition for calls; empty if the analyzer examines flows or files
	Flows string // SQL condition for flows
}

// Proxied is the SQL condition for flows to proxies.
const Proxied = "flow_id IN (SELECT flow_id FROM calls_raw WHERE proxied_to IS NOT NULL)"

// Bases of more than one analyzer.
var (
	OfRequests   = Basis{What: "decoded requests", Calls: terms.IsRequest}
	OfWeb        = Basis{What: "HTTP requests", Calls: Web}
	OfHandshakes = Basis{What: "TLS handshakes", Calls: "protocol IN ('tls', 'quic')"}
	OfDNS        = Basis{What: "DNS queries", Calls: "protocol = 'dns'"}
	OfOutside    = Basis{What: "connections to outside addresses", Flows: "dst_external AND NOT coalesce(src_external, false)"}
	OfProxied    = Basis{What: "connections to outside addresses or through proxies", Flows: OfOutside.Flows + " OR " + Proxied}
	OfFlows      = Basis{What: "connections", Flows: "true"}
	OfFiles      = Basis{What: "files in transfer"}
)

// examined reports whether there is anything that an analyzer examines. It is true if that is not
// known.
func (l *Look) examined(ctx context.Context, seen map[string]bool) bool {
	b := l.of.Basis
	if b.What == "" {
		return true
	}
	if there, ok := seen[b.What]; ok {
		return there
	}
	q := forensics.Query{SQL: "SELECT 1 FROM " + l.Calls + " WHERE " + l.Where + " AND (" + b.Calls + ") LIMIT 1", Args: l.Args, Named: true}
	switch key := l.Bundle("call_no"); {
	case b.Flows != "":
		q.SQL, q.Args = "SELECT 1 FROM flows WHERE "+l.Flows()+" AND ("+b.Flows+") LIMIT 1", nil
	case b.Calls == "":
		q.SQL = "SELECT 1 FROM (SELECT " + key + " FROM " + l.Calls + " WHERE " + l.Where + ") JOIN (SELECT " + key + " FROM objects) USING (" + key + ") LIMIT 1"
	}
	r, err := l.Case.Query(ctx, q)
	if err != nil {
		return true
	}
	seen[b.What] = len(r.Rows) > 0
	return seen[b.What]
}
