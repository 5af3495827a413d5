package foreign

import (
	"regexp"
	"strconv"
	"strings"
)

var (
	// packetBytes is tcpdump's access to bytes of a packet.
	packetBytes = regexp.MustCompile(`\b(?:tcp|udp|ip|ip6|icmp|icmp6|ether)\[(?:\w*)(?::\d)?\]`)
	// between is what may join the comparisons of a filter.
	between  = regexp.MustCompile(`^(?:[\s()!]|&&|\|\|)*$`)
	intSet   = regexp.MustCompile(`^\{\s*\d+(?:[\s,]+\d+)*\s*\}$`)
	sqlWords = strings.NewReplacer("&&", "AND", "||", "OR", "!", "NOT ")
)

// otherPackets is the hint for what table packets does not have.
const otherPackets = "KFL selects calls, not packets; Wireshark has this field: pcapsule packets BUNDLE KFL -o slice.pcapng"

// elsewhere says where to find the field of packets at the place of an error in src, or what KFL calls the
// field. It returns "" for other text.
func (k *Language) elsewhere(src string, err Problem) string {
	if at := packetBytes.FindStringIndex(src); at != nil && at[0] <= err.Offset {
		return otherPackets
	}
	var one, all strings.Builder
	whole, last, found := true, 0, ""
	for _, m := range wiresharkTerm().FindAllStringSubmatchIndex(src, -1) {
		if m[2] < 0 {
			continue
		}
		name, op, value := src[m[2]:m[3]], "", ""
		if m[4] >= 0 {
			op, value = src[m[4]:m[5]], src[m[6]:m[7]]
		}
		f := wireshark()[name]
		sql := k.packetSQL(f, op, value)
		if m[0] <= err.Offset && err.Offset < m[1] {
			switch {
			case f.says != "":
				return f.says
			case f.packets && sql == "":
				return otherPackets
			case !f.packets && f.to != "" && !k.IsField(name) && !err.Hinted:
				return "write " + strings.Join(either(f.to), " or ") + " for " + name
			case !f.packets:
				return ""
			}
			found = name
			one.WriteString(sql)
		}
		if word := strings.ToUpper(name); op == "" && (word == "AND" || word == "OR" || word == "NOT") {
			sql = word
		}
		whole = whole && sql != "" && between.MatchString(src[last:m[0]])
		all.WriteString(sqlWords.Replace(src[last:m[0]]) + sql)
		last = m[1]
	}
	switch {
	case found == "":
		return ""
	case whole && between.MatchString(src[last:]):
		return "KFL selects calls; for packets use SQL: SELECT * FROM packets WHERE " + all.String() + sqlWords.Replace(src[last:])
	}
	return "KFL selects calls; for packets use SQL: SELECT * FROM packets WHERE " + one.String()
}

// either returns the names of which each may match, or the condition.
func either(to string) []string {
	if cond, is := strings.CutPrefix(to, "="); is {
		return []string{cond}
	}
	return strings.Fields(to)
}

// packetSQL is a comparison of a field of packets in SQL, or "" if table packets has no equivalent.
func (k *Language) packetSQL(f foreignField, op, value string) string {
	if !f.packets || f.to == "" {
		return ""
	}
	if cond, is := strings.CutPrefix(f.to, "="); is {
		if op == "==" && (value == "0" || value == "false" || value == "False") {
			return "NOT (" + cond + ")"
		}
		return cond
	}
	if word, is := wiresharkOps[op]; is {
		op = word
	}
	switch op {
	case "":
		return f.to + " > 0"
	case "==":
		op = "="
	case "!=":
		op = "<>"
	case "<", "<=", ">", ">=":
	case "in":
		if !intSet.MatchString(value) {
			return ""
		}
		return f.to + " IN (" + strings.Join(setElement().FindAllString(strings.Trim(value, "{}"), -1), ", ") + ")"
	default:
		return ""
	}
	n, err := strconv.ParseInt(value, 0, 64)
	if err != nil {
		return ""
	}
	return f.to + " " + op + " " + strconv.FormatInt(n, 10)
}
