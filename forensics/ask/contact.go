package ask

import (
	"context"
	"fmt"
	"strings"

	"github.com/pcapsule/pcapsule/forensics"
	"github.com/pcapsule/pcapsule/forensics/ask/terms"
	"github.com/pcapsule/pcapsule/internal/plural"
)

// Contact counts the connections to a host by how it took them. A host that accepted none is not shown to be a service.
type Contact struct {
	Connections int64    `json:"connections" jsonschema:"TCP and SCTP connections and UDP conversations that others opened to it"`
	Refused     int64    `json:"refused"`
	NotAnswered int64    `json:"not_answered"`
	Empty       int64    `json:"without_payload" jsonschema:"accepted, but neither side sent payload"`
	Ports       []string `json:"ports" jsonschema:"most connections first, up to ten"`
}

// ContactOf counts the connections of a window to the ends that match a condition for connections.
func ContactOf(ctx context.Context, c *forensics.Case, w *Window, to string) (Contact, error) {
	conns, args := w.Connections(c, "connections", false)
	return One[Contact](ctx, c, fmt.Sprintf(`WITH k AS (SELECT %[1]s, conn_id, transport, %[2]s AS port FROM %[3]s WHERE transport IN ('tcp', 'udp', 'sctp') AND (%[4]s)),
		f AS (SELECT %[1]s, conn_id, bool_or(%[5]s) AS accepted, bool_or(%[6]s) AS refused, max(src_payload_bytes + dst_payload_bytes) AS payload FROM flows_raw GROUP BY 1, 2),
		x AS (SELECT k.port, coalesce(accepted, true) AS accepted, refused, payload FROM k LEFT JOIN f ON f.conn_id = k.conn_id%[7]s),
		p AS (SELECT port, count(*) AS n FROM x GROUP BY 1)
		SELECT count(*) AS connections, count(*) FILTER (NOT accepted AND refused) AS refused, count(*) FILTER (NOT accepted AND NOT refused) AS not_answered, count(*) FILTER (accepted AND payload = 0) AS without_payload,
			coalesce((SELECT list(port ORDER BY n DESC, port)[1:%[8]d] FROM p), []) AS ports FROM x`,
		terms.BundleOf(c, ""), terms.Port, conns, to, terms.Accepted, terms.Refused, terms.SameBundle(c, "f", "k"), MaxNames), args...)
}

// Accepted is the number of connections that the host accepted.
func (n Contact) Accepted() int64 { return n.Connections - n.Refused - n.NotAnswered }

// Words describes the connections to a host without calls; "" if there were none.
func (n Contact) Words() string {
	if n.Connections == 0 {
		return ""
	}
	ports := strings.Join(n.Ports[:min(3, len(n.Ports))], ", ")
	if more := len(n.Ports) - 3; more > 0 {
		ports += " and others"
	}
	var parts []string
	for _, p := range []struct {
		n    int64
		what string
	}{{n.Refused, "refused"}, {n.NotAnswered, "not answered"}, {n.Empty, "accepted but without payload"}} {
		if p.n > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", p.n, p.what))
		}
	}
	words := plural.Sprintf("%d {connection|connections} to it (%s)", n.Connections, ports)
	if len(parts) > 0 {
		words += ", " + strings.Join(parts, ", ")
	}
	return words
}
