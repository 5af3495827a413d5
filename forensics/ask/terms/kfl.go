package terms

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/pcapsule/pcapsule/kfl"
)

// NodeKFL is the KFL for calls with a node at one end, "src" or "dst".
func NodeKFL(side, by, name, levels string) string {
	switch {
	case by == "service" && name == AnyOutside:
		return fmt.Sprintf(`%[1]s.kind == "outside" and !%[1]s.dns and !%[1]s.hostname`, side)
	case by == "service":
		return whoKFL(side, name, levels)
	}
	var any []string
	for _, l := range strings.Split(levels, ",") {
		var cond string
		ns, rest, ok := strings.Cut(name, "/")
		switch {
		case by == "namespace" && l == "own":
			cond = fmt.Sprintf(`%s.namespace == %s`, side, QuoteKFL(name))
		case by == "namespace" && l == "all":
			not := "!"
			if name == AnyOutside {
				not = ""
			}
			cond = fmt.Sprintf(`%[2]s%[1]s.external and !%[1]s.namespace and %[1]s.kind not in ["node", "process"]`, side, not)
		case by == "namespace":
			cond = fmt.Sprintf(`!%[1]s.namespace and %[1]s.%[2]s == %[3]s`, side, l, QuoteKFL(name))
		case l == "own" && by == "node":
			cond = fmt.Sprintf(`%s.node == %s`, side, QuoteKFL(name))
		case l == "own" && ok:
			cond = fmt.Sprintf(`%[1]s.namespace == %[2]s and %[1]s.%[3]s == %[4]s`, side, QuoteKFL(ns), by, QuoteKFL(rest))
		case l == "own":
			cond = fmt.Sprintf(`!%[1]s.namespace and %[1]s.%[2]s == %[3]s`, side, by, QuoteKFL(name))
		case name == AnyOutside:
			cond = fmt.Sprintf(`!%[1]s.%[2]s and %[1]s.kind == "outside" and !%[1]s.dns and !%[1]s.hostname`, side, by)
		default:
			cond = fmt.Sprintf(`!%s.%s and %s`, side, by, whoKFL(side, name, l))
		}
		any = append(any, cond)
	}
	if len(any) == 1 {
		return any[0]
	}
	return "((" + strings.Join(any, ") or (") + "))"
}

// A host that is a name, not an address.
const nameLikeKFL = `host.matches("[A-Za-z].*[.]|[.].*[A-Za-z]")`

// DstKFL is the KFL for calls to a node. place is where the node is, levels are the columns that
// its name comes from, and asked is true if clients used that name.
func DstKFL(by, name, place, levels string, asked bool) string {
	host := `dst.external and dst.kind in ["outside", "host"] and protocol not in ` + listKFL(elsewhere) + ` and !proxied_to and host == `
	switch {
	case place != Outside || by == "namespace" || by == "node":
		return NodeKFL("dst", by, name, levels)
	case asked && levels == "":
		return host + QuoteKFL(name)
	}
	addressed := NodeKFL("dst", by, name, levels) + ` and (!host or proxied_to or protocol in ` + listKFL(elsewhere) + ` or !` + nameLikeKFL + `)`
	if asked {
		return "(" + host + QuoteKFL(name) + " or " + addressed + ")"
	}
	return addressed
}

// NamelessKFL is the KFL for calls to addresses that do not name their server.
func NamelessKFL(addresses []string) string {
	quoted := make([]string, len(addresses))
	for i, a := range addresses {
		quoted[i] = QuoteKFL(a)
	}
	return "dst.ip in [" + strings.Join(quoted, ", ") + "] and (!host or proxied_to or protocol in " + listKFL(elsewhere) + ")"
}

// NotCarriers is the KFL equivalent of IsRequest, to append to a filter.
var NotCarriers = ` and protocol not in ` + listKFL(carriers) + messages(` and (protocol != "%s" or method.endsWith("%s"))`)

// listKFL is the KFL for a list of texts in SQL.
func listKFL(list string) string {
	return strings.NewReplacer("(", "[", ")", "]", "'", `"`).Replace(list)
}

// whoKFL is the KFL for one end, "src" or "dst", that has a name in Who. levels are the results of
// level for it, joined with commas.
func whoKFL(side, name, levels string) string {
	var any []string
	for _, l := range strings.Split(levels, ",") {
		any = append(any, levelKFL(side, name, l))
	}
	slices.Sort(any)
	any = slices.Compact(any)
	if len(any) == 1 {
		return any[0]
	}
	return "((" + strings.Join(any, ") or (") + "))"
}

func levelKFL(side, name, level string) string {
	ns, rest, ok := strings.Cut(name, "/")
	if !ok {
		ns, rest = "", name
	}
	var b strings.Builder
	field := map[string]string{"service": "service", "workload": "workload", "pod": "pod", "name": "name", "dns_name": "dns", "hostname": "hostname"}[level]
	switch level {
	case "dns_name":
		fmt.Fprintf(&b, "%[1]s.external and !%[1]s.service and ", side)
	case "hostname":
		fmt.Fprintf(&b, "%[1]s.external and !%[1]s.service and !%[1]s.dns and ", side)
	case "workload":
		fmt.Fprintf(&b, "!%s.service and ", side)
	case "pod":
		fmt.Fprintf(&b, "!%[1]s.service and !%[1]s.workload and ", side)
	}
	if ok {
		fmt.Fprintf(&b, "%s.namespace == %s and ", side, QuoteKFL(ns))
	} else if level == "service" || level == "workload" || level == "pod" {
		fmt.Fprintf(&b, "!%s.namespace and ", side)
	}
	fmt.Fprintf(&b, "%s.%s == %s", side, field, QuoteKFL(rest))
	return b.String()
}

// QuoteKFL quotes a text for KFL.
func QuoteKFL(s string) string { return strconv.Quote(s) }

// EndpointKFL is the KFL for calls of a protocol with an endpoint of method and path, that of PathTemplate. Each is empty if
// the endpoint has none.
func EndpointKFL(protocol, method, path string) string {
	filter := "protocol == " + QuoteKFL(protocol)
	if kfl.IsProtocol(protocol) {
		filter = protocol
	}
	filter += " and endpoint == " + QuoteKFL(EndpointName(protocol, method, path))
	if method != "" && path != "" && !strings.HasPrefix(path, " ") { // other methods can have the same endpoint
		filter += " and method == " + QuoteKFL(method)
	}
	return filter
}
