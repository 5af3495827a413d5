package terms

import (
	"fmt"
	"strings"
	"sync"

	"github.com/pcapsule/pcapsule/exporter/table"
)

// NamedUser is SQL for the user that a row of calls names in its protocol's own column: of its login,
// its session or its principal. It is null if there is none.
var NamedUser = sync.OnceValue(func() string {
	own := map[string]string{"kerberos": "kerberos_client", "sip": "sip_auth_user"}
	for _, c := range table.ProtocolColumns() {
		if protocol, ok := strings.CutSuffix(c.Name, "_user"); ok && protocol == c.Protocol {
			own[protocol] = c.Name
		}
	}
	var b strings.Builder
	b.WriteString("CASE protocol")
	for _, p := range table.AllTraits() {
		if column := own[p.Protocol]; column != "" {
			fmt.Fprintf(&b, " WHEN '%s' THEN %s", p.Protocol, column)
		}
	}
	return b.String() + " END"
})

// User is NamedUser or, of HTTP, the user of Basic authentication (RFC 7617 section 2).
func User() string {
	return "coalesce(" + NamedUser() + `, CASE WHEN auth_kind = 'basic' THEN TRY(split_part(decode(from_base64(regexp_extract(
	list_filter(headers, h -> lower(h.name) = 'authorization' AND h.kind = 'request')[1].value, '^[Bb]asic +(.*)$', 1))), ':', 1)) END)`
}
