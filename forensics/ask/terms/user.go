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

// HTTPUser is SQL for a text that differs between the users of HTTP requests: their credentials,
// otherwise the address that a proxy forwards. It is empty if a request names no user. The text
// contains credentials: it must not be shown, and only unmasked calls tell users apart.
func HTTPUser() string {
	part := func(cond, value string) string {
		return "nullif(array_to_string(list_sort(list_transform(list_filter(headers, h -> h.kind = 'request' AND (" + cond + ")), h -> " + value + ")), chr(10)), '')"
	}
	name := "lower(h.name)"
	keys := []string{name + " IN ('authorization', 'cookie')"}
	for _, k := range table.KeyHeaders {
		keys = append(keys, name+" LIKE '"+strings.ReplaceAll(k, "*", "%")+"'")
	}
	return "coalesce(" + part(strings.Join(keys, " OR "), "h.value") + ", " +
		part(name+" IN ('x-forwarded-for', 'x-real-ip', 'forwarded')", "trim(split_part(h.value, ',', 1))") + ", '')"
}
