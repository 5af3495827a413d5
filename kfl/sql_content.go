package kfl

import (
	"encoding/hex"
	"fmt"
	"net/netip"
	"strconv"
	"strings"
)

// lowerSQL lowercases only ASCII letters, like the matcher; lower() lowercases all of Unicode.
const lowerSQL = "translate(@, 'ABCDEFGHIJKLMNOPQRSTUVWXYZ', 'abcdefghijklmnopqrstuvwxyz')"

// isName compares a header's name with an ASCII name in lower case. Comparing the lengths in
// bytes excludes non-ASCII names with the same lower case.
func isName(column, name string, value frag, w *writer) frag {
	return w.f(put(w.d.octets, column)+" = "+strconv.Itoa(len(name))+" AND lower("+column+") = @", value)
}

func isASCII(s string) bool { return !strings.ContainsFunc(s, func(r rune) bool { return r >= 0x80 }) }

// pairs is the source of a map's entries: a list, and key and value of its elements.
type pairs struct {
	list       frag
	when       string // condition on element v, or empty
	key, value string
	v          string
}

func (w *writer) pairs(n *node) pairs {
	v := w.fresh()
	p := pairs{v: v}
	what, arg, _ := strings.Cut(n.str, ":")
	cut := func(s string) (key, value string) {
		return w.part(s, "=", "1"), "CASE WHEN " + strings.Replace(strings.Replace(w.d.contains, "@", s, 1), "@", "'='", 1) + " THEN " + put(w.d.tail, s) + " ELSE '' END"
	}
	trim := func(s string) string { return put(w.d.trimBlanks, s) }
	own := func(v, field string) string { return v + "." + w.quote(field).sql }
	switch what {
	case "headers":
		p.list = w.quote("headers")
		p.when = own(v, "kind") + " = '" + arg + "'"
		p.key, p.value = put(w.d.lowerName, own(v, "name")), own(v, "value")
	case "labels":
		p.list = w.quote(arg)
		p.key, p.value = own(v, "name"), own(v, "value")
	case "query":
		if w.d.Name != duckDB.Name { // no engine leaves an invalid %XY as it is
			p.list = w.lacks(n, "the parameters of query_string")
			break
		}
		p.list = w.f("string_split(coalesce(@, ''), '&')", w.value(n.args[1]))
		p.when = v + " <> ''"
		k, val := cut(v)
		decode := func(s string) string { return "coalesce(TRY(url_decode(replace(" + s + ", '+', ' '))), " + s + ")" }
		p.key, p.value = decode(k), decode(val)
	case "cookies":
		h := w.fresh()
		name, each := "cookie", w.splitAt(own(h, "value"), ";")
		if arg == "response" {
			name, each = "set-cookie", put(w.d.list, w.part(own(h, "value"), ";", "1"))
		}
		is := w.f(own(h, "kind")+" = '"+arg+"' AND @", isName(own(h, "name"), name, frag{sql: "'" + name + "'"}, w))
		p.list = w.f(w.d.flatten, w.fn(w.d.transform, h, w.fn(w.d.filter, h, w.quote("headers"), is), frag{sql: each}))
		p.when = trim(v) + " <> ''"
		k, val := cut(trim(v))
		p.key, p.value = trim(k), trim(val)
	}
	return p
}

// part writes element n of a text split at sep.
func (w *writer) part(s, sep, n string) string {
	return w.f(w.d.part, frag{sql: s}, frag{sql: sep}, frag{sql: n}).sql
}

func (w *writer) splitAt(s, sep string) string {
	return w.f(w.d.split, frag{sql: s}, frag{sql: sep}).sql
}

// key returns a key to look up, in the form of the map's keys.
func (w *writer) key(m, key *node) frag {
	if foldsCase(m) {
		if key.op == opConst {
			return w.text(lowerASCII(key.str))
		}
		return w.f(lowerSQL, w.value(key))
	}
	return w.value(key)
}

// found returns the list of the entries with the key.
func (w *writer) found(p pairs, m, key *node) frag {
	when := ""
	if p.when != "" {
		when = p.when + " AND "
	}
	return w.over(p.list, func(list frag) frag {
		is := w.f(p.key+" = @", w.key(m, key))
		if name := lowerASCII(key.str); foldsCase(m) && key.op == opConst && isASCII(name) {
			is = isName(p.v+"."+w.quote("name").sql, name, w.text(name), w)
		}
		return w.fn(w.d.filter, p.v, list, w.f(when+"@", is))
	})
}

func (w *writer) hasKey(m, key *node) frag {
	p := w.pairs(m)
	return w.f("(@ AND coalesce(@ > 0, FALSE))", w.cond(m.args[0]), w.f(w.d.length, w.found(p, m, key)))
}

func (w *writer) lookup(n *node) frag {
	m, key := n.args[0], n.args[1]
	p := w.pairs(m)
	value := w.f(w.d.concat, w.fn(w.d.transform, p.v, w.found(p, m, key), frag{sql: p.value}))
	there := w.cond(m.args[0])
	if key.op != opConst {
		there = w.f("(@ AND @ IS NOT NULL)", there, w.value(key))
	}
	if len(n.args) == 3 {
		return w.f("(CASE WHEN @ THEN @ WHEN @ THEN @ END)", w.hasKey(m, key), value, there, w.value(n.args[2]))
	}
	return w.f("(CASE WHEN @ THEN @ END)", there, value)
}

func (w *writer) keys(m *node) frag {
	p := w.pairs(m)
	list := p.list
	if p.when != "" {
		list = w.fn(w.d.filter, p.v, list, frag{sql: p.when})
	}
	return w.f("(CASE WHEN @ THEN @ END)", w.cond(m.args[0]), w.f(w.d.keys, w.fn(w.d.transform, p.v, list, frag{sql: p.key})))
}

// inRange tests an address, which is text as in RFC 5952.
func (w *writer) inRange(n *node) frag {
	x := w.value(n.args[0])
	any := []frag{}
	for _, p := range n.nets {
		if p.Addr().Is4() {
			any = append(any, w.range4(x, p))
		} else {
			any = append(any, w.range6(n, x, p))
		}
	}
	return w.f("coalesce(@, FALSE)", w.join(any, " OR "))
}

// range4 compares whole octets as text and a partial octet as a number.
func (w *writer) range4(x frag, p netip.Prefix) frag {
	octets, whole, rest := p.Addr().As4(), p.Bits()/8, p.Bits()%8
	head := ""
	for _, o := range octets[:whole] {
		head += strconv.Itoa(int(o)) + "."
	}
	if whole == 4 {
		head = strings.TrimSuffix(head, ".")
		return w.f("(@ = '"+head+"' OR @ = '"+mappedHead+head+"')", x, x)
	}
	// After the first octet, a mapped address has the octets of a plain one.
	starts := func(s string) frag { return w.f(w.d.startsWith, x, frag{sql: "'" + s + "'"}) }
	out := w.f("((@ OR @)", starts(head), starts(mappedHead+head))
	if head == "" {
		out = w.f("((NOT @ OR @ AND @)", w.f(w.d.contains, x, frag{sql: "':'"}), starts(mappedHead), w.f(w.d.contains, x, frag{sql: "'.'"}))
	}
	if rest > 0 {
		octet := w.f(w.d.part, x, frag{sql: "."}, frag{sql: strconv.Itoa(whole + 1)})
		if whole == 0 {
			octet = w.f(w.d.last, octet)
		}
		low := int(octets[whole])
		out = w.f(fmt.Sprintf("@ AND @ BETWEEN %d AND %d", low, low|0xff>>rest), out, w.tried(w.f(w.d.tryCast, octet, frag{sql: "INTEGER"})))
	}
	return w.f("@)", out)
}

// mappedHead is the prefix of an IPv4-mapped IPv6 address, RFC 4291 section 2.5.5.2.
const mappedHead = "::ffff:"

// range6 expands the address to 32 hexadecimal digits and compares those.
func (w *writer) range6(n *node, x frag, p netip.Prefix) frag {
	low := p.Addr().As16()
	high := low
	for i := p.Bits(); i < 128; i++ {
		high[i/8] |= 0x80 >> (i % 8)
	}
	g, v, v2 := w.fresh(), w.fresh(), w.fresh()
	// The first group excludes nearly all addresses, and decides if the range is not narrower.
	first := w.tried(w.f(w.d.hexNumber, w.f(w.d.part, x, frag{sql: ":"}, frag{sql: "1"})))
	glance := w.f(fmt.Sprintf("@ BETWEEN %d AND %d", int(low[0])<<8|int(low[1]), int(high[0])<<8|int(high[1])), first)
	if p.Bits() <= 16 {
		return w.f("(CASE WHEN @ THEN @ ELSE FALSE END)", w.f(w.d.contains, x, frag{sql: "':'"}), glance)
	}
	if w.d.Name != duckDB.Name {
		return w.lacks(n, "an IPv6 range of more than 16 bits")
	}
	// Convert the tail of an address such as ::ffff:1.2.3.4 to two groups first.
	octet := func(i int) string {
		return fmt.Sprintf("coalesce(TRY_CAST(split_part(split_part(@, ':', -1), '.', %d) AS INTEGER), 0)", i)
	}
	tail := "printf('%02x%02x:%02x%02x', " + octet(1) + ", " + octet(2) + ", " + octet(3) + ", " + octet(4) + ")"
	plain := w.f("CASE WHEN contains(@, '.') THEN regexp_extract(@, '^.*:') || "+tail+" ELSE @ END", x, x, x, x, x, x, x)
	// left has the groups before ::, right those after it, with zeros between.
	left := "list_filter(string_split(split_part(" + v + ", '::', 1), ':'), lambda " + g + ": " + g + " <> '')"
	right := "list_filter(string_split(split_part(" + v + ", '::', 2), ':'), lambda " + g + ": " + g + " <> '')"
	full := "list_transform([" + left + "], lambda " + v2 + ": list_concat(" + v2 + ", list_transform(range(8 - len(" + v2 + ") - len(" + right + ")), lambda " + g + ": '0'), " + right + "))[1]"
	spelt := "array_to_string(list_transform(" + full + ", lambda " + g + ": lpad(" + g + ", 4, '0')), '')"
	return w.f("(CASE WHEN NOT contains(@, ':') THEN FALSE WHEN @ THEN list_transform([@], lambda "+v+": "+spelt+" BETWEEN '"+hex.EncodeToString(low[:])+"' AND '"+hex.EncodeToString(high[:])+"')[1] ELSE FALSE END)",
		x, glance, plain)
}

// bodies is table bodies with column names that calls does not have, so that the lookup can
// refer to columns of the call.
const bodies = `(SELECT "sha256" AS kfl_sha, "part" AS kfl_part, "offset" AS kfl_offset, "size" AS kfl_size, "text" AS kfl_text, "bytes" AS kfl_bytes FROM bodies) AS kfl_b`

func (w *writer) body(n *node) frag {
	return w.lookUp(func() frag { return w.bodyLookUp(n) })
}

func (w *writer) bodyLookUp(n *node) frag {
	sha := w.quote(n.str + "_body_sha256")
	if n.op == opBodyIs {
		x := n.args[0]
		if x.op == opConst {
			return w.f("(@ IS NOT NULL AND @ = unhex(sha256(@)))", sha, sha, w.value(x))
		}
		return w.f("coalesce(@ = unhex(sha256(@)), FALSE)", sha, w.value(x))
	}
	// The search text is constant: search each body once, in one scan.
	in := "coalesce(@ IN (SELECT kfl_sha FROM " + bodies + " WHERE kfl_sha IS NOT NULL AND @), FALSE)"
	if n.op == opBodyRe {
		return w.f(in, sha, w.f("coalesce(@, FALSE)", w.matches(frag{sql: "kfl_text"}, n)))
	}
	if n.args[0].op == opConst {
		return w.f(in, sha, w.bodyTest(n, "", w.value(n.args[0])))
	}
	// DuckDB supports neither a lambda in a subquery that refers to the call's columns nor a
	// subquery in a lambda. So the search text and the parts are first combined in one value.
	v, both := w.fresh(), w.fresh()
	return w.f("coalesce(list_transform([{'part': @, 'all': (SELECT list(kfl_b) FROM "+bodies+" WHERE kfl_sha = @)}], lambda "+both+": len(list_filter("+both+".\"all\", lambda "+v+": @)) > 0)[1], FALSE)",
		w.value(n.args[0]), sha, w.bodyTest(n, v+".", frag{sql: both + ".part"}))
}

// bodyTest searches for text part in one part of a body, whose columns have the prefix p.
func (w *writer) bodyTest(n *node, p string, part frag) frag {
	inBytes := w.bytesTest(n.path[0], frag{sql: p + "kfl_bytes"}, part)
	form := "(coalesce(contains(~kfl_text, @), FALSE) OR coalesce(@, FALSE))"
	switch n.path[0] {
	case "startsWith":
		form = "(~kfl_part = 0 AND (coalesce(starts_with(~kfl_text, @), FALSE) OR coalesce(@, FALSE)))"
	case "endsWith":
		form = "(~kfl_offset + coalesce(strlen(~kfl_text), octet_length(~kfl_bytes)) = ~kfl_size AND (coalesce(ends_with(~kfl_text, @), FALSE) OR coalesce(@, FALSE)))"
	}
	return w.f(strings.ReplaceAll(form, "~", p), part, inBytes)
}

func (w *writer) wholeText(n *node) frag {
	return w.lookUp(func() frag {
		return w.f("(SELECT any_value(kfl_text) FROM "+bodies+" WHERE kfl_sha = @ AND kfl_part = 0 AND kfl_size = strlen(kfl_text))", w.quote(n.str+"_body_sha256"))
	})
}

// json applies form to a JSON value. It reads a body once, however often form refers to it.
func (w *writer) json(n *node, form string) frag {
	var path []string
	root := n
	for root.op == opPath {
		path = append(append([]string(nil), root.path...), path...)
		root = root.args[0]
	}
	at := func(doc string) frag {
		if len(path) == 0 {
			return frag{sql: doc}
		}
		return w.f("json_extract("+doc+", @)", w.text(pointer(path)))
	}
	if root.op == opDoc && w.inline != nil {
		value := at("kfl_j")
		parts := make([]frag, strings.Count(form, "@"))
		for i := range parts {
			parts[i] = value
		}
		return w.f("("+form+")", parts...)
	}
	if root.op == opDoc {
		form = strings.ReplaceAll(form, "@", "kfl_j")
		return w.lookUp(func() frag {
			return w.f("(SELECT any_value("+form+") FROM (SELECT kfl_sha, @ AS kfl_j FROM "+bodies+" WHERE kfl_part = 0 AND kfl_size = strlen(kfl_text)) AS kfl_d WHERE kfl_sha = @)",
				at("TRY_CAST(kfl_text AS JSON)"), w.quote(root.str+"_body_sha256"))
		})
	}
	doc := w.value(root)
	value := doc
	if len(path) > 0 {
		value = w.f("json_extract(@, @)", doc, w.text(pointer(path)))
	}
	parts := make([]frag, strings.Count(form, "@"))
	for i := range parts {
		parts[i] = value
	}
	return w.f("("+form+")", parts...)
}

// pointer returns a path as a JSON Pointer (RFC 6901).
func pointer(path []string) string {
	var b strings.Builder
	for _, p := range path {
		b.WriteString("/" + strings.NewReplacer("~", "~0", "/", "~1").Replace(p))
	}
	return b.String()
}

// jsonAs converts a JSON value to text, number, bool or list, or NULL if it is of another kind.
func (w *writer) jsonAs(x *node, to kind) frag {
	switch to {
	case kText:
		return w.json(x, "CASE WHEN json_type(@) = 'VARCHAR' THEN json_extract_string(@, '$') END")
	case kBool:
		return w.json(x, "CASE WHEN json_type(@) = 'BOOLEAN' THEN TRY_CAST(@ AS BOOLEAN) END")
	case kInt:
		return w.json(x, "CASE WHEN json_type(@) IN ('UBIGINT', 'BIGINT') THEN TRY_CAST(@ AS BIGINT) END")
	case kFloat:
		return w.finite(w.json(x, "CASE WHEN json_type(@) IN ('UBIGINT', 'BIGINT', 'DOUBLE') THEN TRY_CAST(@ AS DOUBLE) END"))
	}
	return w.json(x, "CASE WHEN json_type(@) = 'ARRAY' THEN json_extract(@, '$[*]') END")
}
