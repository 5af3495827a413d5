package terms

import (
	"fmt"
	"net/netip"
	"strings"
)

// Who is the SQL for the name of one end of a row, "src_" or "dst_". All pods of a workload have
// the same name, on either end.
func Who(p string) string { return p + "who" }

// Endpoint is the column with the endpoint of a call: its request without the parts that vary
// between calls.
const Endpoint = "endpoint"

// whoColumns are the columns of an end that a name may match.
var whoColumns = [...]string{"service", "workload", "pod", "name", "dns_name", "hostname", "process", "container", "node", "ip"}

// WhoOf is the SQL for the columns of an endpoint that End reads, as those of one end of a call. A call has its own address.
func WhoOf(endpoint, p string) string {
	list := []string{endpoint + "namespace AS " + p + "namespace"}
	for _, c := range whoColumns {
		if c != "ip" {
			list = append(list, endpoint+c+" AS "+p+c)
		}
	}
	return strings.Join(list, ", ")
}

// End is the condition that one end of a row, "src_" or "dst_", has a name: that of a service,
// workload, pod, process, host or address. A prefix "namespace/" narrows it; * and ? match any text
// and any character. A destination also matches by the host name that its caller used. AnyOutside is every end that has it as
// its name in answers.
func End(p, name string) (cond string, args []any) {
	if name == AnyOutside {
		return Nameless(p), nil
	}
	test := func(column, value string) string {
		args = append(args, Pattern(value))
		if strings.ContainsAny(value, "*?") {
			return fmt.Sprintf(`%s LIKE ? ESCAPE '\'`, column)
		}
		args[len(args)-1] = value
		return column + " = ?"
	}
	ns, rest, ok := strings.Cut(name, "/")
	var where []string
	if ok {
		where = append(where, test(p+"namespace", ns))
		name = rest
	}
	if name != "*" || !ok {
		var any []string
		for _, c := range whoColumns {
			any = append(any, test(p+c, name))
		}
		if p == "dst_" && !ok {
			any = append(any, test("host", name)+" AND "+NamesServer)
		}
		where = append(where, "coalesce("+strings.Join(any, ", false) OR coalesce(")+", false)")
	}
	for i, w := range where {
		where[i] = "(" + w + ")"
	}
	return strings.Join(where, " AND "), args
}

// Behind is the condition that one end of a row is behind a service of this name, whatever the end is named after.
func Behind(p, name string) (cond string, args []any) {
	ns, rest, ok := strings.Cut(name, "/")
	if !ok {
		return "coalesce(list_contains(" + p + "services, ?), false)", []any{name}
	}
	return "coalesce(list_contains(" + p + "services, ?) AND " + p + "namespace = ?, false)", []any{rest, ns}
}

// EndIs is End for rows of calls. It compares names once per endpoint, not once per call. Patterns
// and addresses are compared with the rows, which have their own addresses.
func EndIs(c Several, p, name string) (cond string, args []any) {
	_, _, ok := strings.Cut(name, "/")
	if ByRow(name) {
		return End(p, name)
	}
	cond, args = End("", name)
	cond = fmt.Sprintf("%[1]sid IN (SELECT endpoint_id FROM endpoints_raw WHERE %[2]s)", p, cond)
	if c.Several() {
		cond = strings.Replace(cond, p+"id IN (SELECT ", "(bundle, "+p+"id) IN (SELECT bundle, ", 1)
	}
	if p == "dst_" && !ok {
		cond, args = cond+" OR "+HostIs, append(args, name)
	}
	return cond, args
}

// ByRow reports whether a name is a pattern or an address, which are compared with rows of calls
// instead of endpoints.
func ByRow(name string) bool {
	_, rest, ok := strings.Cut(name, "/")
	if !ok {
		rest = name
	}
	_, err := netip.ParseAddr(rest)
	return err == nil || strings.ContainsAny(name, "*?")
}

// Dialled is the SQL condition that rows of calls, connections or flows have an address, or one of a pattern, at one end, "src_"
// or "dst_". A translation replaces the address that a client dials, so the endpoint of the row has another. It is empty if name
// cannot be an address.
func Dialled(p, name string) string {
	switch {
	case !ByRow(name) || strings.Trim(name, "0123456789abcdefABCDEF.:*?") != "":
		return ""
	case strings.ContainsAny(name, "*?"):
		return "coalesce(" + p + "ip LIKE '" + Pattern(name) + "', false)"
	}
	return "coalesce(" + p + "ip = '" + name + "', false)"
}

// Either is the condition for rows of calls that one of the two ends has a name.
func Either(c Several, name string) (string, []any) {
	a, x := EndIs(c, "src_", name)
	b, y := EndIs(c, "dst_", name)
	return "(" + a + ") OR (" + b + ")", append(x, y...)
}

// Pattern converts * and ? to the syntax of LIKE.
func Pattern(s string) string {
	return strings.NewReplacer(`\`, `\\`, `%`, `\%`, `_`, `\_`, `*`, `%`, `?`, `_`).Replace(s)
}
