// Package jndi finds lookups that make a vulnerable logger load code from another machine (Log4Shell, CVE-2021-44228), and
// whether a machine then connected to the one that the lookup names.
//
// A lookup is a text such as ${jndi:ldap://host:port/name} in any field of a request; parts of it may be lookups of their own,
// which hide it from filters.
package jndi

import (
	"context"
	"fmt"
	"net/netip"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/pcapsule/pcapsule/forensics/ask"
	"github.com/pcapsule/pcapsule/forensics/ask/terms"
	"github.com/pcapsule/pcapsule/forensics/finding"
	"github.com/pcapsule/pcapsule/forensics/finding/internal/percent"
	"github.com/pcapsule/pcapsule/internal/plural"
)

// window is how long after the lookup a connection counts as its consequence, in seconds.
const window = 300

// Analyzer returns the analyzer jndi-lookup.
func Analyzer() finding.Analyzer {
	return finding.Analyzer{Name: "jndi-lookup", Title: "lookups that load code (Log4Shell)", Basis: finding.OfRequests,
		Kinds: []string{"attempt", "callback"}, Techniques: []string{"T1190", "T1059"}, CVEs: []string{"CVE-2021-44228", "CVE-2021-45046"},
		Unproved: "That code was loaded and ran, and for an attempt without a connection, that the server is vulnerable or not: the lookup may wait in a queue, or another machine that was not recorded may have connected.",
		Doc:      fmt.Sprintf("Requests with a lookup of JNDI in any field or body, also one that is hidden in other lookups, and whether a machine connected to the address that it names, or asked DNS for it, within %d minutes.", window/60),
		Steps: []finding.Step{
			{Needs: []finding.Need{{Table: finding.InScope, Have: finding.Any(inFields)}}, Find: fields},
			{Needs: []finding.Need{{Table: "bodies", Have: finding.Any(inBody)}}, Find: bodies},
		}}
}

// begins is what a lookup in a URL begins with, of which each character may be encoded.
const begins = `'(\$|%24)(\{|%7[bB])'`

// Conditions for calls and bodies that may have a lookup.
var (
	inFields = "contains(summary, '${') OR regexp_matches(query_string, " + begins + ") OR regexp_matches(path, " + begins + ") OR contains(user_agent, '${') OR " +
		"(headers IS NOT NULL AND len(list_filter(headers, x -> contains(x.value, '${'))) > 0)"
	inBody = `text IS NOT NULL AND regexp_matches(text, '\$\{.{0,200}:|%24%7[bB].{0,200}(:|%3[aA])')`
)

const pieces = "concat_ws(chr(10), summary, path, query_string, user_agent, array_to_string(list_transform(list_filter(coalesce(headers, []), x -> contains(x.value, '${')), x -> x.value), chr(10)))"

func fields(ctx context.Context, l *finding.Look) error {
	defer l.Unmasked()() // a lookup may be in a field that is masked
	return find(ctx, l, l.Groups(pieces+" AS piece, src_ip, dst_ip", "("+inFields+")")+" SELECT src, dst, src_ip AS detail, dst_ip AS other, "+l.Sums()+", [piece] AS evidence FROM g GROUP BY src, dst, src_ip, dst_ip, piece ORDER BY first_ns, src, dst, piece", l.Args)
}

func bodies(ctx context.Context, l *finding.Look) error {
	defer l.Unmasked()()
	return find(ctx, l, l.Groups("request_body_sha256 AS sent, src_ip, dst_ip", "request_body_sha256 IN (SELECT sha256 FROM bodies WHERE "+inBody+")")+
		" SELECT src, dst, src_ip AS detail, dst_ip AS other, "+l.Sums()+", list(DISTINCT left(text, 65536)) AS evidence FROM g JOIN (SELECT sha256, text FROM bodies WHERE "+inBody+") ON sha256 = sent GROUP BY src, dst, src_ip, dst_ip, sent ORDER BY first_ns, src, dst", l.Args)
}

// lookup is what a text asks JNDI for.
type lookup struct {
	scheme, host string
	port         int
}

func (u lookup) String() string {
	if u.port == 0 {
		return u.scheme + "://" + u.host
	}
	return u.scheme + "://" + u.host + ":" + strconv.Itoa(u.port)
}

var (
	inner = regexp.MustCompile(`\$\{([^${}]*)\}`)
	asks  = regexp.MustCompile(`(?i)\$\{jndi:(ldaps?|rmi|dns|iiop|corba|nis|nds|https?):/*([^\s/:}?#"'<>]{1,255})(?::(\d{1,5}))?`)
)

const (
	maxRounds  = 64 // of nested lookups
	maxLookups = 20 // of a text
)

// parse returns the lookups of a text.
func parse(text string) (list []lookup) {
	if strings.Contains(text, "%") {
		text = percent.Decode(text)
	}
	for range maxRounds {
		plain := inner.ReplaceAllStringFunc(text, func(s string) string {
			if asks.MatchString(s) {
				return s
			}
			return value(s[2 : len(s)-1])
		})
		if plain == text {
			break
		}
		text = plain
	}
	for _, m := range asks.FindAllStringSubmatch(text, maxLookups) {
		u := lookup{scheme: strings.ToLower(m[1]), host: strings.TrimSuffix(strings.ToLower(m[2]), ".")}
		u.port, _ = strconv.Atoi(m[3])
		if !slices.Contains(list, u) {
			list = append(list, u)
		}
	}
	return list
}

// value is what a lookup without others in it yields: its default, or its text in another case.
func value(s string) string {
	if _, other, ok := strings.Cut(s, ":-"); ok {
		return other
	}
	kind, rest, _ := strings.Cut(s, ":")
	switch strings.ToLower(kind) {
	case "lower":
		return strings.ToLower(rest)
	case "upper":
		return strings.ToUpper(rest)
	}
	return "" // of the environment, which is unknown here
}

// found are the requests of a client to a server with one lookup.
type found struct {
	row      finding.Row
	of       lookup
	from, to string // addresses
}

func find(ctx context.Context, l *finding.Look, sql string, args []any) error {
	rows, err := l.Rows(ctx, sql, args...)
	if err != nil {
		return err
	}
	var list []*found
	for _, r := range rows {
		for _, text := range r.Evidence {
			for _, u := range parse(text) {
				i := slices.IndexFunc(list, func(f *found) bool { return f.of == u && f.row.Src == r.Src && f.row.Dst == r.Dst })
				if i < 0 {
					list = append(list, &found{row: r, of: u, from: r.Detail, to: r.Other})
					continue
				}
				had := &list[i].row
				had.Count, had.FirstNs, had.LastNs = had.Count+r.Count, min(had.FirstNs, r.FirstNs), max(had.LastNs, r.LastNs)
				had.CallIDs = append(had.CallIDs, r.CallIDs...)
			}
		}
	}
	for _, f := range list {
		if err := f.report(ctx, l); err != nil {
			return err
		}
	}
	return nil
}

func (f *found) report(ctx context.Context, l *finding.Look) error {
	f.row.Evidence = nil
	out := finding.Finding{Kind: "attempt", Key: f.of.String(), Severity: finding.Medium, Confidence: finding.Exact, Evidence: []string{"${jndi:" + f.of.String() + "/…}"},
		What: plural.Sprintf("%s sent a lookup of JNDI for %s to %s in %d {request|requests} (Log4Shell, CVE-2021-44228)", f.row.Src, f.of, f.row.Dst, f.row.Count)}
	back, err := f.callbacks(ctx, l)
	if err != nil {
		return err
	}
	if len(back) == 0 {
		out.What += plural.Sprintf("; no connection to %s was recorded within %d {minute|minutes}", f.of.host, window/60)
		l.Add(f.row, out)
		return nil
	}
	out.Kind, out.Severity, out.Confidence = "callback", finding.High, finding.Likely
	var who []string
	for _, b := range back {
		if what := b.Src + " " + b.Detail; !slices.Contains(who, what) {
			who = append(who, what)
			out.Evidence = append(out.Evidence, "flow "+b.FlowIDs[0]+": "+what)
		}
	}
	out.Evidence = out.Evidence[:min(4, len(out.Evidence))]
	out.What += "; afterwards " + strings.Join(who[:min(3, len(who))], ", ")
	l.Add(f.row, out)
	return nil
}

// callbacks returns the flows with which a machine other than the sender connected to what a lookup names, or asked DNS for
// it.
func (f *found) callbacks(ctx context.Context, l *finding.Look) ([]finding.Row, error) {
	within := fmt.Sprintf("first_ns BETWEEN %d AND %d", f.row.FirstNs, f.row.LastNs+window*1_000_000_000)
	flow := terms.FlowID(l.Case)
	to, called, args := "dst_ip = ?", "lower(c.host) = ?", []any{f.of.host}
	if ip, err := netip.ParseAddr(f.of.host); err == nil {
		args[0] = ip.String()
	} else if strings.HasPrefix(f.of.host, ".") { // what is before it was a lookup that only the server resolves
		to, called = "ends_with(lower(dst_dns_name), ?)", "ends_with(lower(c.host), ?)"
	} else {
		to = "lower(dst_dns_name) = ?"
	}
	if f.of.port > 0 {
		to += " AND dst_port = " + strconv.Itoa(f.of.port)
	}
	sql := `SELECT ` + terms.Who("src_") + ` AS src, 'connected to ' || dst_ip || if(dst_port > 0, ' at port ' || dst_port, '') AS detail, 1 AS count, first_ns, last_ns, [` + flow + `] AS flow_ids
		FROM flows WHERE ` + within + ` AND ` + to + ` AND (src_ip = ? OR src_ip <> ?) ORDER BY first_ns, flow_ids LIMIT 10`
	args = append(args, f.to, f.from)
	rows, err := l.Rows(ctx, sql, args...)
	if err != nil || len(rows) > 0 || !strings.Contains(f.of.host, ".") {
		return rows, err
	}
	bundle := ""
	if l.Case.Several() {
		bundle = " AND f.bundle = c.bundle"
	}
	return l.Rows(ctx, `SELECT `+terms.Who("f.src_")+` AS src, 'asked DNS for ' || ? AS detail, 1 AS count, f.first_ns, f.last_ns, [`+strings.ReplaceAll(flow, "flow_id", "f.flow_id")+`] AS flow_ids
		FROM calls_raw c JOIN flows f ON f.flow_id = c.flow_id`+bundle+` WHERE c.protocol = 'dns' AND c.ts_ns BETWEEN `+fmt.Sprint(f.row.FirstNs)+` AND `+fmt.Sprint(f.row.LastNs+window*1_000_000_000)+
		` AND `+called+` AND c.src_ip <> ? ORDER BY first_ns, flow_ids LIMIT 10`, ask.Clip(f.of.host, 255), f.of.host, f.from)
}
