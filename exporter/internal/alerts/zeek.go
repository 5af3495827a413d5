package alerts

import (
	"bytes"
	"encoding/json"
	"errors"
	"slices"
	"strconv"
	"strings"

	"github.com/pcapsule/pcapsule/internal/clip"
)

// clipped shortens a value of a log.
func clipped(s string) string { return clip.Text(s, maxValue) }

// maxFields is the highest number of fields of a log.
const maxFields = 512

// zeekLog is the header of a tab-separated log.
type zeekLog struct {
	separator, empty, unset string
	path                    string
	fields                  []string
}

var errFields = errors.New("it has another number of fields than the line #fields")

// header reads a line that begins with #.
func (z *zeekLog) header(line string) {
	name, value, _ := strings.Cut(strings.TrimPrefix(line, "#"), z.separator)
	if rest, ok := strings.CutPrefix(line, "#separator "); ok {
		*z = zeekLog{separator: unescape(rest), empty: "(empty)", unset: "-"}
		if z.separator == "" {
			z.separator = "\t"
		}
		return
	}
	switch name {
	case "empty_field":
		z.empty = value
	case "unset_field":
		z.unset = value
	case "path":
		z.path = value
	case "fields":
		z.fields = strings.Split(value, z.separator)
		if len(z.fields) > maxFields {
			z.fields = nil
		}
	}
}

// object is a line as an object with the keys of JSON logs.
func (z *zeekLog) object(line string) (object, error) {
	values := strings.Split(line, z.separator)
	if len(values) != len(z.fields) {
		return nil, errFields
	}
	o := object{}
	for i, v := range values {
		switch v {
		case z.unset:
		case z.empty:
			o[z.fields[i]] = ""
		default:
			o[z.fields[i]] = unescape(v)
		}
	}
	return o, nil
}

// unescape undoes \xHH and \\.
func unescape(s string) string {
	if !strings.Contains(s, `\`) {
		return strings.ToValidUTF8(s, "\uFFFD")
	}
	var b bytes.Buffer
	for i := 0; i < len(s); i++ {
		if s[i] == '\\' && i+3 < len(s) && s[i+1] == 'x' {
			if n, err := strconv.ParseUint(s[i+2:i+4], 16, 8); err == nil {
				b.WriteByte(byte(n))
				i += 3
				continue
			}
		}
		if s[i] == '\\' && i+1 < len(s) && s[i+1] == '\\' {
			i++
		}
		b.WriteByte(s[i])
	}
	return strings.ToValidUTF8(b.String(), "\uFFFD")
}

// zeekKind is the log of an object: as it says, else by its fields.
func zeekKind(o object, path string) string {
	has := func(keys ...string) bool {
		return !slices.ContainsFunc(keys, func(k string) bool { _, ok := o[k]; return !ok })
	}
	switch said := o.text("_path"); {
	case said != "":
		return said
	case path != "":
		return path
	case has("note"):
		return "notice"
	case has("seen.indicator"):
		return "intel"
	case has("conn_state"):
		return "conn"
	case has("name") && (has("peer") || has("notice")) && !has("query"):
		return "weird"
	}
	return ""
}

// zeekColumns are the fields of logs that columns have.
var zeekColumns = []string{"ts", "_path", "_write_ts", "_system_name", "uid", "id.orig_h", "id.orig_p", "id.resp_h", "id.resp_p", "proto", "community_id", "note", "msg", "src", "dst", "p", "seen.indicator", "seen.indicator_type", "severity"}

// parseZeek reads a line of a log of Zeek.
func parseZeek(o object, path string) (c Claim, err error) {
	kind := zeekKind(o, path)
	switch kind {
	case "notice", "intel", "weird", "conn":
	default:
		return c, errOther
	}
	c = Claim{Program: "zeek", Kind: kind, CommunityID: o.text("community_id"), SaidID: o.text("uid")}
	if c.TsNs, c.Millis, err = seconds(o.text("ts")); err != nil {
		return c, err
	}
	proto := o.text("proto")
	src, dst, sport, dport := o.text("id.orig_h"), o.text("id.resp_h"), o.number("id.orig_p"), o.number("id.resp_p")
	switch kind {
	case "notice":
		c.RuleID, c.Text, c.Severity = o.text("note"), o.text("msg"), o.text("severity")
		if src == "" {
			src, dst = o.text("src"), o.text("dst")
		}
	case "intel":
		c.RuleID, c.Rule, c.Text, c.Category = "Intel", o.text("seen.indicator_type"), o.text("seen.indicator"), strings.Trim(list(o["sources"])+" "+o.text("seen.where"), " ")
	case "weird":
		c.RuleID, c.Text, c.Category = o.text("name"), o.text("addl"), o.text("source")
	case "conn":
		c.RuleID, c.Rule = o.text("conn_state"), o.text("history")
		if d, err := decimal(o.text("duration")); err == nil && d > 0 && c.TsNs+d > c.TsNs {
			c.EndNs = c.TsNs + d
		}
	}
	c.endsOf(proto, src, sport, dst, dport)
	if proto == "" && sport <= 65535 && dport <= 65535 { // intel and weird do not name the protocol
		c.SrcPort, c.DstPort = uint16(sport), uint16(dport)
	}
	var rest []string
	for k := range o {
		if !slices.Contains(zeekColumns, k) && !captured(k) {
			rest = append(rest, k)
		}
	}
	slices.Sort(rest)
	c.Detail = detail(o, rest)
	return c, nil
}

// list is a set of texts, as JSON or a tab-separated log has it.
func list(v any) string {
	switch v := v.(type) {
	case string:
		return v
	case []any:
		var words []string
		for _, x := range v[:min(len(v), maxItems)] {
			if s, ok := x.(string); ok {
				words = append(words, s)
			}
		}
		return strings.Join(words, ",")
	}
	return ""
}

// seconds reads a time of Zeek: seconds with six digits after the point, milliseconds, or ISO 8601.
func seconds(s string) (ns int64, millis bool, err error) {
	if strings.Contains(s, "T") {
		ns, err = stamp(s)
		return ns, false, err
	}
	if len(s) >= 12 && len(s) <= 13 && !strings.Contains(s, ".") { // as seconds, it would be after the year 5138
		s, millis = s[:len(s)-3]+"."+s[len(s)-3:], true
	}
	if ns, err = decimal(s); err == nil && ns == 0 {
		err = errNoTime
	}
	return ns, millis, err
}

// decimal reads a number of seconds as nanoseconds.
func decimal(s string) (ns int64, err error) {
	left, right, _ := strings.Cut(s, ".")
	right = right[:min(len(right), 9)]
	if left == "" || len(left) > 10 || strings.Trim(left+right, "0123456789") != "" {
		return 0, errNoTime
	}
	return strconv.ParseInt(left+right+strings.Repeat("0", 9-len(right)), 10, 64)
}

// parseJSON reads a line of JSON of either program.
func parseJSON(line []byte) (c Claim, err error) {
	var o object
	d := json.NewDecoder(bytes.NewReader(line))
	d.UseNumber()
	if err := d.Decode(&o); err != nil {
		return c, plain(err)
	}
	if d.More() {
		return c, errors.New("it has more than a JSON object")
	}
	switch {
	case o == nil:
		return c, errors.New("it is no JSON object")
	case o.text("event_type") != "":
		return parseEVE(o)
	case o.text("ts") != "":
		return parseZeek(flat(o), "")
	}
	return c, errors.New("it has neither event_type and timestamp (Suricata) nor ts (Zeek)")
}

// flat is an object of Zeek with the keys of its records joined by points: some shippers write records as objects.
func flat(o object) object {
	for _, k := range []string{"id", "seen"} {
		if inner := o.object(k); inner != nil {
			delete(o, k)
			for name, v := range inner {
				o[k+"."+name] = v
			}
		}
	}
	return o
}
