package indicators

import (
	"cmp"
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/pcapsule/pcapsule/forensics/ask"
	"github.com/pcapsule/pcapsule/forensics/ask/terms"
	"github.com/pcapsule/pcapsule/forensics/finding"
	"github.com/pcapsule/pcapsule/forensics/indicator"
)

// place is a column of calls with values of a kind.
type place struct {
	what      string
	protocols string // in single quotes; empty: all
	values    string // SQL for a list of texts
	port      string // SQL for the port that goes with them
	find      func(s *indicator.Set, text string) []indicator.Indicator
	severe    string
	sure      bool
	blob      string // instead of values, in the search: a column whose different values are written in hexadecimal digits
}

const (
	tls  = "'tls', 'quic'"
	mail = "'smtp', 'imap', 'pop3'"
)

// host finds the name of a host, or its address.
func host(s *indicator.Set, text string) []indicator.Indicator {
	if a, err := netip.ParseAddr(strings.Trim(text, "[]")); err == nil {
		return s.Address(a)
	}
	return s.Domain(text)
}

// answer finds what an answer of DNS has: an address or a name.
func answer(s *indicator.Set, text string) []indicator.Indicator {
	return slices.DeleteFunc(host(s, text), func(i indicator.Indicator) bool { return i.Port != 0 })
}

func letter(s *indicator.Set, text string) []indicator.Indicator { return s.Mail(text) }

func sender(s *indicator.Set, text string) (list []indicator.Indicator) {
	for _, name := range indicator.MailDomains(text) {
		list = append(list, answer(s, name)...)
	}
	return list
}

func other(k indicator.Kind) func(*indicator.Set, string) []indicator.Indicator {
	return func(s *indicator.Set, text string) []indicator.Indicator { return s.Other(k, text) }
}

const (
	mailFrom = "[smtp_from]"
	mailTo   = "list_concat(smtp_to, smtp_rejected)"
	mailHead = "[smtp_header_from, smtp_header_to, imap_from, pop3_from]"
)

// places lists what calls have, other than URLs.
func places() []place {
	web := strings.Trim(terms.Web, "()")
	return []place{
		{"question of DNS", "'dns'", "dns_questions", "", answer, finding.Medium, true, ""},
		{"answer of DNS", "'dns'", "list_concat(dns_answers, dns_answer_names)", "", answer, finding.Medium, true, ""},
		{"server name of TLS", tls, "[tls_sni]", "dst_port", host, finding.High, true, ""},
		{"host of HTTP", web, "[host]", "coalesce(" + terms.TargetPort + ", dst_port)", host, finding.High, true, ""},
		{"host asked of a proxy", "", "[" + terms.TargetHost + "]", terms.TargetPort, host, finding.High, true, ""},
		{"sender of mail", mail, mailFrom, "", letter, finding.High, true, ""},
		{"recipient of mail", mail, mailTo, "", letter, finding.High, true, ""},
		{"header of mail", mail, mailHead, "", letter, finding.High, true, ""},
		{"domain of a mail address", mail, "list_concat(" + mailFrom + ", " + mailTo + ", " + mailHead + ")", "", sender, finding.Medium, true, ""},
		{"JA3", tls, "[tls_ja3]", "", other(indicator.JA3), finding.Medium, false, ""},
		{"JA3S", tls, "[tls_ja3s]", "", other(indicator.JA3S), finding.Medium, false, ""},
		{"JA4", tls, "[tls_ja4]", "", other(indicator.JA4), finding.Medium, false, ""},
		{"HASSH of the client", "'ssh'", "[ssh_hassh]", "", other(indicator.HASSH), finding.Medium, false, ""},
		{"HASSH of the server", "'ssh'", "[ssh_hassh_server]", "", other(indicator.HASSH), finding.Medium, false, ""},
		{"user agent", "", "[user_agent]", "", other(indicator.UserAgent), finding.Medium, false, ""},
		{"body of a request", "", "[lower(hex(request_body_sha256))]", "", other(indicator.File), finding.High, true, "request_body_sha256"},
		{"body of a response", "", "[lower(hex(response_body_sha256))]", "", other(indicator.File), finding.High, true, "response_body_sha256"},
	}
}

// possible reports whether the lists have anything for a place.
func (s *search) possible(p place) bool {
	switch p.what {
	case "sender of mail", "recipient of mail", "header of mail":
		return s.set.Has(indicator.Mail)
	case "question of DNS", "answer of DNS", "server name of TLS", "host of HTTP", "host asked of a proxy", "domain of a mail address":
		return s.set.Has(indicator.Domain) || s.set.Has(indicator.Address)
	}
	return s.set.Has(indicator.File)
}

func (p place) where(l *finding.Look) string {
	if p.protocols == "" {
		return l.Where
	}
	return "(" + l.Where + ") AND protocol IN (" + p.protocols + ")"
}

// distinct is a value of a place.
type distinct struct {
	Place int64  `json:"place"`
	V     string `json:"v"`
	N     int64  `json:"n"`
}

// values returns different values of a query, as many as are compared.
func (s *search) values(ctx context.Context, sql string, args ...any) ([]distinct, error) {
	rows, more, err := ask.Rows[distinct](ctx, s.l.Case, maxValues, sql, args...)
	s.cut = s.cut || more
	return rows, err
}

// calls searches the columns of calls.
func (s *search) calls(ctx context.Context) error {
	var parts []string
	var args []any
	all := places()
	for i, p := range all {
		if s.possible(p) {
			text, values := "v", "unnest("+p.values+")"
			if p.blob != "" {
				text, values = "lower(hex(v))", p.blob
			}
			parts = append(parts, fmt.Sprintf("SELECT %d AS place, %s AS v, n FROM (SELECT v, count(*) AS n FROM (SELECT %s AS v FROM %s WHERE %s) WHERE v IS NOT NULL GROUP BY v)", i, text, values, s.l.Calls, p.where(s.l)))
			args = append(args, s.l.Args...)
		}
	}
	if len(parts) == 0 {
		return nil
	}
	rows, err := s.values(ctx, strings.Join(parts, " UNION ALL ")+" ORDER BY place, v", args...)
	if err != nil {
		return err
	}
	found := make([]wanted, len(all))
	hosts, hidden := map[string]bool{}, int64(0)
	if s.set.Has(indicator.URL) {
		hosts = s.set.Hosts()
	}
	for _, r := range rows {
		p := all[r.Place]
		if !found[r.Place].add(r.V, p.find(s.set, r.V)) {
			s.cut = true
		}
		if p.what == "server name of TLS" && hosts[strings.ToLower(r.V)] {
			hidden += r.N
		}
	}
	if hidden > 0 {
		s.l.Note("%d TLS {handshake|handshakes} to hosts of URLs of the lists: URLs are compared only where requests could be read", hidden)
	}
	for i, w := range found {
		if len(w.hits) == 0 {
			continue
		}
		p := all[i]
		port := cmp.Or(p.port, "NULL")
		err := s.count(ctx, w, "SELECT "+s.l.Key()+", call_id, ts_ns, "+port+" AS port, unnest("+p.values+") AS v FROM "+s.l.Calls+" WHERE "+p.where(s.l), s.l.Args, func(r *seen, i indicator.Indicator) {
			s.add(r, i, p.what, p.severe, p.sure)
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// count counts the rows of a query that have wanted values in column v, by their ends.
func (s *search) count(ctx context.Context, w wanted, rows string, args []any, each func(r *seen, i indicator.Indicator)) error {
	l := s.l
	list, more, err := ask.Rows[seen](ctx, l.Case, maxValues, `WITH m AS MATERIALIZED (`+w.sql()+`), `+l.Names()+`, x AS (`+rows+`),
		r AS (SELECT `+l.Sent()+`, k, ts_ns >= f AND ts_ns < u AS valid, count(*) AS n, min(ts_ns) AS first_ns, max(ts_ns) AS last_ns, `+l.Some()+` FROM x JOIN m USING (v) WHERE p = 0 OR p = port GROUP BY ALL),
		g AS (`+l.Named("r")+`)
		SELECT client AS src, dst, k, valid, `+l.Sums()+` FROM g GROUP BY client, dst, k, valid ORDER BY ALL`, append(slices.Clone(w.values), args...)...)
	s.cut = s.cut || more
	for i := range list {
		each(&list[i], w.hits[list[i].K])
	}
	return err
}

// request is the part of a URL that calls have.
type request struct {
	Host  string `json:"host"`
	Port  int64  `json:"port"`
	Path  string `json:"path"`
	Query string `json:"query"`
	V     string `json:"v"`
}

// urls searches the URLs of requests.
func (s *search) urls(ctx context.Context) error {
	if !s.set.Has(indicator.URL) {
		return nil
	}
	l := s.l
	const port = "coalesce(" + terms.TargetPort + ", dst_port)"
	const name = "coalesce(host, CASE WHEN proxied_to IS NOT NULL THEN " + terms.TargetHost + " ELSE dst_ip END)"
	const url = "concat_ws(chr(0), " + name + ", " + port + ", path, coalesce(query_string, ''))"
	where := "(" + l.Where + ") AND protocol IN " + terms.Web + " AND path IS NOT NULL"
	hosts, err := s.values(ctx, "SELECT 0 AS place, "+name+" AS v, count(*) AS n FROM "+l.Calls+" WHERE "+where+" GROUP BY v ORDER BY v", l.Args...)
	if err != nil {
		return err
	}
	listed := map[string]bool{}
	for h := range s.set.Hosts() {
		if at := strings.LastIndexByte(h, ':'); at > 0 && !strings.HasSuffix(h, "]") {
			h = h[:at]
		}
		listed[h] = true
	}
	var these []any
	for _, h := range hosts {
		if listed[bracketed(strings.ToLower(strings.TrimSuffix(h.V, ".")))] {
			these = append(these, h.V)
		}
	}
	if len(these) == 0 {
		return nil
	}
	if len(these) > maxHosts {
		these, s.cut = these[:maxHosts], true
	}
	where += " AND " + name + " IN (" + strings.TrimSuffix(strings.Repeat("?, ", len(these)), ", ") + ")"
	args := append(slices.Clone(l.Args), these...)
	rows, more, err := ask.Rows[request](ctx, l.Case, maxValues, "SELECT DISTINCT "+name+" AS host, "+port+"::BIGINT AS port, path, coalesce(query_string, '') AS query, "+url+" AS v FROM "+l.Calls+" WHERE "+where+" ORDER BY ALL", args...)
	if err != nil {
		return err
	}
	s.cut = s.cut || more
	var w wanted
	for _, r := range rows {
		h := bracketed(r.Host)
		if r.Port != 80 && r.Port != 443 {
			h = fmt.Sprintf("%s:%d", h, r.Port)
		}
		if !w.add(r.V, s.set.URL(h, r.Path, r.Query)) {
			s.cut = true
		}
	}
	if len(w.hits) == 0 {
		return nil
	}
	return s.count(ctx, w, "SELECT "+l.Key()+", call_id, ts_ns, NULL AS port, "+url+" AS v FROM "+l.Calls+" WHERE "+where, args, func(r *seen, i indicator.Indicator) {
		s.add(r, i, "URL", finding.High, true)
	})
}

// bracketed is a host as a URL has it.
func bracketed(host string) string {
	if strings.Contains(host, ":") && !strings.HasPrefix(host, "[") {
		return "[" + host + "]"
	}
	return host
}

// certificates searches hashes and names of certificates.
func (s *search) certificates(ctx context.Context) error {
	for _, p := range []place{
		{"certificate of a server", "", "list_concat(chain_sha256, chain_sha1)", "", other(indicator.Certificate), finding.High, true, ""},
		{"certificate of a client", "", "list_concat(client_chain_sha256, client_chain_sha1)", "", other(indicator.Certificate), finding.High, true, ""},
		{"name in a certificate", "", "list_transform(list_concat(cert_sans, client_cert_sans), x -> regexp_replace(x, '^[*][.]', ''))", "", answer, finding.Medium, true, ""},
	} {
		if err := s.beside(ctx, p, "tls_handshakes", func(r *seen, i indicator.Indicator) { s.add(r, i, p.what, p.severe, p.sure) }); err != nil {
			return err
		}
	}
	return nil
}

// files searches hashes of files.
func (s *search) files(ctx context.Context) error {
	if !s.set.Has(indicator.File) {
		return nil
	}
	short, err := s.short(ctx)
	if err != nil {
		return err
	}
	hash := func(set *indicator.Set, text string) []indicator.Indicator {
		return append(set.Other(indicator.File, text), short[text]...)
	}
	for _, p := range []place{
		{"uploaded file", "", "CASE side WHEN 'request' THEN [lower(hex(sha256))] END", "", hash, finding.High, true, ""},
		{"downloaded file", "", "CASE side WHEN 'response' THEN [lower(hex(sha256))] END", "", hash, finding.High, true, ""},
	} {
		if err := s.beside(ctx, p, "objects", func(r *seen, i indicator.Indicator) { s.add(r, i, p.what, p.severe, p.sure) }); err != nil {
			return err
		}
	}
	return nil
}

// beside searches a table whose rows belong to calls.
func (s *search) beside(ctx context.Context, p place, table string, each func(r *seen, i indicator.Indicator)) error {
	rows, err := s.values(ctx, "SELECT 0 AS place, v, count(*) AS n FROM (SELECT unnest("+p.values+") AS v FROM "+table+") WHERE v IS NOT NULL GROUP BY v ORDER BY v")
	if err != nil {
		return err
	}
	var w wanted
	for _, r := range rows {
		if !w.add(r.V, p.find(s.set, r.V)) {
			s.cut = true
		}
	}
	if len(w.hits) == 0 {
		return nil
	}
	l := s.l
	no := l.Bundle("call_no")
	return s.count(ctx, w, `SELECT `+l.Sent()+`, call_id, ts_ns, NULL AS port, v FROM (SELECT `+l.Key()+`, call_no, call_id, ts_ns FROM `+l.Calls+` WHERE `+l.Where+`) c
		JOIN (SELECT `+no+`, unnest(`+p.values+`) AS v FROM `+table+`) o USING (`+no+`)`, l.Args, each)
}

// flows searches the addresses of connections.
func (s *search) flows(ctx context.Context) error {
	if !s.set.Has(indicator.Address) {
		return nil
	}
	l := s.l
	rows, err := s.values(ctx, "SELECT 0 AS place, v, count(*) AS n FROM (SELECT ip AS v FROM endpoints_raw UNION ALL SELECT outer_src_ip FROM flows UNION ALL SELECT outer_dst_ip FROM flows) WHERE v IS NOT NULL GROUP BY v ORDER BY v")
	if err != nil {
		return err
	}
	var w wanted
	for _, r := range rows {
		if a, err := netip.ParseAddr(r.V); err == nil && !w.add(r.V, s.set.Address(a)) {
			s.cut = true
		}
	}
	if len(w.hits) == 0 {
		return nil
	}
	on := l.Bundle("flow_id")
	ids := "min(call_id, 3)"
	if l.All() {
		ids = "list(call_id)"
	}
	var sides []string
	for _, side := range []string{"'to' AS side, dst_ip AS v, dst_port AS port", "'from' AS side, src_ip AS v, src_port AS port", "'around' AS side, outer_dst_ip AS v, 0 AS port", "'around' AS side, outer_src_ip AS v, 0 AS port"} {
		sides = append(sides, "SELECT *, "+side+" FROM c")
	}
	list, more, err := ask.Rows[seen](ctx, l.Case, maxValues, `WITH m AS MATERIALIZED (`+w.sql()+`),
		c AS (SELECT `+on+`, src_ip, src_port, dst_ip, dst_port, outer_src_ip, outer_dst_ip, `+terms.Who("src_")+` AS src, `+terms.Who("dst_")+` AS dst, first_ns, last_ns, `+terms.Accepted+` AS answered, `+terms.FlowID(l.Case)+` AS id
			FROM flows WHERE `+l.OnceIf(l.Flows(), ask.Largest)+` AND NOT `+terms.Reports(l.Case)+`),
		f AS (SELECT x.*, k, last_ns >= f AND first_ns < u AS valid FROM (`+strings.Join(sides, " UNION ALL ")+`) x JOIN m USING (v) WHERE p = 0 OR p = port),
		n AS (SELECT `+on+`, `+ids+` AS ids FROM calls_raw WHERE (`+on+`) IN (SELECT (`+on+`) FROM f) GROUP BY ALL)
		SELECT src, dst, side AS detail, k, valid, count(*) AS count, count(*) FILTER (answered) AS "of", min(first_ns) AS first_ns, max(last_ns) AS last_ns, arg_min(id, (first_ns, id), 3) AS flow_ids,
			list_transform(`+l.First(`list_sort(flatten(list(coalesce(ids, []))))`)+`, x -> lower(hex(x))) AS call_ids
		FROM f LEFT JOIN n USING (`+on+`) GROUP BY src, dst, side, k, valid ORDER BY ALL`, w.values...)
	s.cut = s.cut || more
	for i := range list {
		r := &list[i]
		what, severe := "address of a connection's server", finding.Medium
		switch {
		case r.Detail == "around":
			what = "address of a tunnel"
		case r.Detail == "to" && r.Of > 0:
			severe = finding.High
		case r.Detail == "to":
			what = "address of a server that did not answer"
		case r.Of == 0:
			what, severe = "address of a client that got no answer", finding.Low
		default:
			what = "address of a connection's client"
		}
		s.add(r, w.hits[r.K], what, severe, true)
	}
	return err
}
