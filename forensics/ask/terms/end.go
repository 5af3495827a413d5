package terms

import (
	"fmt"
	"net/netip"
	"strings"
)

// Who is the SQL for the name of one end of a row, "src_" or "dst_". Names of one workload
// are the same on both sides, however many pods it has.
func Who(p string) string { return p + "who" }

// Endpoint is the column with what a call asked for, without what differs from call to call.
const Endpoint = "endpoint"

// whoColumns are the columns of an end that a name may stand for.
var whoColumns = [...]string{"service", "workload", "pod", "name", "dns_name", "hostname", "process", "container", "node", "ip"}

// End is the condition that one end of a row, "src_" or "dst_", is what a person calls
// name: a service, workload, pod, process, host or address, with "namespace/" before it to
// narrow it, and with * and ? for any text and any character. The far end is also what its
// host was called by the caller.
func End(p, name string) (cond string, args []any) {
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
			any = append(any, test("host", name))
		}
		where = append(where, "coalesce("+strings.Join(any, ", false) OR coalesce(")+", false)")
	}
	for i, w := range where {
		where[i] = "(" + w + ")"
	}
	return strings.Join(where, " AND "), args
}

// EndIs is end for rows of calls, where the names of an end are compared once for each
// endpoint and not for each call. A pattern and an address are compared with the rows,
// which have addresses of their own.
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
		cond, args = cond+" OR coalesce(host = ?, false)", append(args, name)
	}
	return cond, args
}

// ByRow says that a name is a pattern or an address, which are compared with rows of calls
// rather than with endpoints.
func ByRow(name string) bool {
	_, rest, ok := strings.Cut(name, "/")
	if !ok {
		rest = name
	}
	_, err := netip.ParseAddr(rest)
	return err == nil || strings.ContainsAny(name, "*?")
}

// Either is the condition on rows of calls that one of the two ends is name.
func Either(c Several, name string) (string, []any) {
	a, x := EndIs(c, "src_", name)
	b, y := EndIs(c, "dst_", name)
	return "(" + a + ") OR (" + b + ")", append(x, y...)
}

// Pattern writes * and ? as LIKE has them.
func Pattern(s string) string {
	return strings.NewReplacer(`\`, `\\`, `%`, `\%`, `_`, `\_`, `*`, `%`, `?`, `_`).Replace(s)
}
