package finding

import (
	"context"
	"fmt"

	"github.com/pcapsule/pcapsule/forensics/ask/terms"
)

// Need is a condition on the rows of a table: either Where or Have. Its zero value always holds.
type Need struct {
	Table     string // InScope, InWindow, ofFiles, or a table of the case
	Protocols string // those whose calls can meet it, each in single quotes; empty: all
	Where     string // SQL condition that one row matches
	Have      string // SQL condition for all rows together, as Any and AtLeast write it
}

// Tables of a Need that the question narrows.
const (
	InScope  = "calls in scope"
	InWindow = "flows in the window" // with the column proxied: calls passed through a proxy on it

	ofFiles = "calls in scope that carried files"
)

// Any is the condition that at least one of the rows matches.
func Any(cond string) string { return AtLeast(1, cond) }

// AtLeast is the condition that at least n of the rows match.
func AtLeast(n int, cond string) string {
	return fmt.Sprintf("count(*) FILTER (WHERE %s) >= %d", cond, n)
}

// Calls is a Need of calls in scope. All needs of the same protocols are found out in one pass over their calls.
func Calls(protocols, have string) Need {
	return Need{Table: InScope, Protocols: protocols, Have: have}
}

// Some is a Need of one call in scope. It is found out alone, which is fast if most calls match, or if most have nothing
// in one of the columns.
func Some(cond string) Need { return Need{Table: InScope, Where: cond} }

// Flows is a Need of flows in the window.
func Flows(have string) Need { return Need{Table: InWindow, Have: have} }

// Step is one search of an analyzer.
type Step struct {
	// Needs are what its findings and notes come from: it runs if one of them holds. Without any it always runs.
	Needs []Need
	Parts []Need // needs of parts of Find, which asks Look.Has for them
	Find  func(ctx context.Context, l *Look) error
	Else  string // note if it does not run
}

// Basis is the traffic that an analyzer examines. If there is no such traffic, an answer without
// findings proves nothing.
type Basis struct {
	What string // in the plural, such as "TLS handshakes"; empty: there is always something
	Is   []Need // there is some if one of them holds
}

const (
	OutsideFlow = "dst_external AND NOT coalesce(src_external, false)"
	proxying    = "proxied_to IS NOT NULL"
)

// Needs of more than one analyzer.
var (
	ToOutside = Flows(Any(OutsideFlow))                                                  // connections from inside to outside addresses
	OnProxies = Flows(Any("proxied"))                                                    // connections to proxies
	Proxied   = Need{Table: "calls_raw", Where: proxying}                                // calls through proxies, in scope or not
	External  = Need{Table: "endpoints_raw", Have: "coalesce(bool_or(external), false)"} // outside addresses, in scope or not

	proxyLogin = Some(proxying + " AND auth_kind IS NOT NULL AND " + Web)
)

// Bases of more than one analyzer.
var (
	OfRequests   = Basis{"decoded requests", []Need{Some(terms.IsRequest)}}
	OfWeb        = Basis{"HTTP requests", []Need{Calls(terms.Serving, Any(Web))}}
	OfHandshakes = Basis{"TLS handshakes", []Need{Calls("'tls', 'quic'", Any("protocol IN ('tls', 'quic')"))}}
	OfDNS        = Basis{"DNS queries", []Need{Calls("'dns'", Any("protocol = 'dns'"))}}
	OfProxied    = Basis{"connections to outside addresses or through proxies", []Need{ToOutside, OnProxies}}
	OfFlows      = Basis{"connections", []Need{Flows("count(*) > 0")}}
	OfFiles      = Basis{"files in transfer", []Need{{Table: ofFiles, Have: "count(*) > 0"}}}
)
