package servicemap

import (
	"cmp"
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/pcapsule/pcapsule/forensics"
	"github.com/pcapsule/pcapsule/forensics/ask"
	"github.com/pcapsule/pcapsule/forensics/ask/terms"
	"github.com/pcapsule/pcapsule/internal/plural"
)

// ExternalIn is the input of list_external.
type ExternalIn struct {
	ask.Scope
	Client string   `json:"client,omitempty" jsonschema:"only calls from this service, workload, pod, host or address"`
	Allow  []string `json:"allow,omitempty" jsonschema:"allowed destinations: addresses and ranges (203.0.113.0/24), domains (api.example.com; *.example.com for all below it), namespace:NAME for everything that this namespace calls; the rest are violations"`
	Inside []string `json:"inside,omitempty" jsonschema:"public address ranges that count as inside"`
}

// External is the answer of list_external.
type External struct {
	ask.Frame
	Summary      []string      `json:"summary"`
	Destinations []Destination `json:"destinations" jsonschema:"violations first, then most calls"`
	Behind       []Behind      `json:"behind_proxies" jsonschema:"hosts outside that clients reach through a proxy, inside or outside; violations first, then most calls"`
	Violations   int           `json:"violations,omitempty" jsonschema:"total destinations and hosts behind proxies that are not on the allow-list"`
	DNSFailures  []DNSFailure  `json:"dns_failures" jsonschema:"names that could not be resolved, most frequent first"`
	Total        int           `json:"total_destinations" jsonschema:"without those behind proxies"`
}

// Destination is one name or address outside.
type Destination struct {
	Name        string   `json:"name" jsonschema:"the name that clients used, otherwise the name from DNS, otherwise the address"`
	Domain      string   `json:"domain,omitempty" jsonschema:"registrable domain"`
	NameFrom    string   `json:"name_from" jsonschema:"source of the name: host, sni, dns, dns_other (a guess: only other clients looked it up), hosts or none"`
	Addresses   []string `json:"addresses"`
	Ports       []int64  `json:"ports"`
	Clients     []string `json:"clients"`
	Pods        []string `json:"pods,omitempty" jsonschema:"pods of the clients"`
	Calls       int64    `json:"calls" jsonschema:"requests, without handshakes and unknown payload"`
	Failed      int64    `json:"failed"`
	Connections int64    `json:"connections"`
	Shut        int64    `json:"connections_not_accepted,omitempty" jsonschema:"of those without calls, connections that were refused or not answered"`
	SentKB      float64  `json:"sent_kb" jsonschema:"payload sent by clients on these connections, encrypted or not, in units of 1000 bytes; counts whole connections, even if only a part is in the window"`
	ReceivedKB  float64  `json:"received_kb"`
	First       string   `json:"first"`
	Last        string   `json:"last"`
	Protocols   []string `json:"protocols"`
	Encrypted   string   `json:"encrypted" jsonschema:"yes, no, partly or unknown"`
	Allowed     *bool    `json:"allowed,omitempty" jsonschema:"with allow"`
	Violators   []string `json:"violators,omitempty" jsonschema:"clients that are not allowed to call it"`
	CallIDs     []string `json:"call_ids" jsonschema:"the first three"`
	KFL         string   `json:"kfl,omitempty" jsonschema:"filter for exactly these calls; if calls is 0, for the handshakes and unknown payload"`
}

// DNSFailure is a name that could not be resolved.
type DNSFailure struct {
	Name    string   `json:"name"`
	Result  string   `json:"result"`
	Calls   int64    `json:"calls"`
	Clients []string `json:"clients"`
	CallIDs []string `json:"call_ids"`
}

// ExternalQuestion is the question list_external.
func ExternalQuestion() ask.Question {
	return ask.New("list_external", "List external destinations", "Destinations outside by domain and address, with clients, bytes in both directions, first and last time, protocols, encryption and the source of the name; violations of an allow-list; names that could not be resolved.", false, AskExternal)
}

// clientRow is what SQL returns of the calls of one client to one destination.
type clientRow struct {
	Client    string   `json:"client"`
	Namespace string   `json:"namespace"`
	Ports     []int64  `json:"ports"`
	Calls     int64    `json:"calls"`
	Rows      int64    `json:"n"`
	Failed    int64    `json:"failed"`
	First     string   `json:"first_at"`
	Last      string   `json:"last_at"`
	Protocols []string `json:"protocols"`
	CallIDs   []string `json:"call_ids"`
}

// externalRow is a destination and one of its clients, as SQL returns it.
type externalRow struct {
	clientRow
	Name        string   `json:"name"`
	Asked       bool     `json:"asked"`
	BySNI       bool     `json:"by_sni"`
	DNS         bool     `json:"dns_known"`
	OwnLookup   bool     `json:"own_lookup"`
	Adopted     int64    `json:"adopted"` // rows that other rows of their connections name
	Addresses   []string `json:"addresses"`
	Pods        []string `json:"pods"`
	Connections int64    `json:"connections"`
	Shut        int64    `json:"shut"`
	Sent        int64    `json:"sent"`
	Received    int64    `json:"received"`
	Opened      int64    `json:"opened"`
	Shakes      int64    `json:"shakes"`
}

// AskExternal answers list_external.
func AskExternal(ctx context.Context, c *forensics.Case, in ExternalIn) (*External, error) {
	w, err := in.Read(ctx, c)
	if err != nil {
		return nil, err
	}
	allow, err := readAllow(in.Allow)
	if err != nil {
		return nil, err
	}
	within, err := prefixes(in.Inside)
	if err != nil {
		return nil, err
	}
	if in.Client != "" {
		cond, args := terms.EndIs(c, "src_", in.Client)
		w.And(cond, args...)
	}
	out := &External{Summary: []string{}}
	if out.Frame, err = w.Frame(ctx, c); err != nil {
		return nil, err
	}
	rows, err := outside(w, ctx, c, in.Client != "", &out.Frame)
	if err != nil {
		return nil, err
	}
	known, err := ask.Nodes(ctx, c, "service")
	if err != nil {
		return nil, err
	}
	list := mergeRows(rows, allow, within, known)
	out.Total = len(list)
	if out.Total == 0 {
		between, err := ask.Count(ctx, c, "SELECT count(*) AS n FROM calls WHERE "+w.Where+" AND "+terms.Place("src_")+" = 'outside' AND "+terms.Place("dst_")+" = 'outside'", w.Args...)
		if err != nil {
			return nil, err
		}
		if between > 0 {
			out.Note("%d {call is|calls are} between outside addresses and not listed, because only destinations of other clients are", between)
		}
	}
	for _, d := range list {
		if rank(d.Allowed) == 0 {
			out.Violations++
		}
	}
	through, err := behind(w, ctx, c, allow, within)
	if err != nil {
		return nil, err
	}
	for _, b := range through {
		if rank(b.Allowed) == 0 {
			out.Violations++
		}
	}
	out.summarize(list, through, len(in.Allow) > 0)
	out.Behind = ask.Fit(w, &out.Frame, through)
	if out.DNSFailures, err = unresolved(w, ctx, c); err != nil {
		return nil, err
	}
	out.DNSFailures = ask.Fit(w, &out.Frame, out.DNSFailures)
	out.Destinations = ask.Fit(w, &out.Frame, list)
	out.Match(len(out.Destinations))
	return out, nil
}

// maxExternal is the highest number of pairs of client and destination that are read.
const maxExternal = 20_000

// outside reads the pairs of client and external destination: from calls, then from connections
// without calls.
func outside(w *ask.Window, ctx context.Context, c *forensics.Case, narrowed bool, f *ask.Frame) ([]externalRow, error) {
	on := terms.Key(c, "")
	// A request that is cut lacks its host, and a message in it, such as a DNS query over HTTPS, has none that is the server's:
	// others of its connection may have shown it.
	sql := w.Ends(c, "service") + fmt.Sprintf(`, y AS (SELECT * REPLACE (CASE WHEN (host IS NULL OR NOT `+terms.NamesServer+`) AND min(far) FILTER (host = far) OVER k = max(far) FILTER (host = far) OVER k THEN min(far) FILTER (host = far) OVER k ELSE far END AS far), far AS own
			FROM %[2]s WHERE bn = 0 AND NOT coalesce(protocol = 'icmp' AND `+terms.ICMPErrors+`, false) WINDOW k AS (PARTITION BY conn)), cx AS (SELECT conn, %[4]s conn_id, min(an) AS an, min(far) AS far FROM y GROUP BY ALL),
		cf AS (SELECT conn, any_value(an) AS an, any_value(far) AS far, %[5]s AS sent, %[6]s AS received
			FROM cx JOIN (SELECT conn, sum(request_bytes) AS sent, sum(response_bytes) AS received FROM y GROUP BY 1) USING (conn) JOIN (SELECT %[4]s conn_id, flow_id FROM connections) USING (%[4]s conn_id) JOIN flows_raw USING (%[4]s flow_id) GROUP BY conn),
		cb AS (SELECT an, far, sum(sent)::BIGINT AS sent, sum(received)::BIGINT AS received FROM cf GROUP BY 1, 2)
		SELECT far AS name, src AS client, na AS namespace, asked, by_sni, dns_known, own_lookup, adopted, addresses, ports, pods, calls, n, failed, connections, sent, received, first_at, last_at, protocols, opened, shakes, call_ids FROM (
		SELECT an, far, bool_or(`+terms.Asked+`) AS asked, bool_or(protocol IN ('tls', 'quic') AND host = far) AS by_sni, bool_or(dst_dns_name = far) AS dns_known, bool_or(dst_dns_name = far AND dst_how_known <> 'dns_other') AS own_lookup,
			count(*) FILTER (own <> far) AS adopted, list_sort(list(DISTINCT dst_ip))[1:10] AS addresses, list_sort(list(DISTINCT dst_port::BIGINT))[1:10] AS ports, list_sort(list(DISTINCT src_pod) FILTER (src_pod IS NOT NULL))[1:10] AS pods, count(*) AS n, count(*) FILTER (%[1]s) AS calls, count(*) FILTER (failed) AS failed,
			count(DISTINCT conn) AS connections, make_timestamp_ns(min(ts_ns)) AS first_at, make_timestamp_ns(max(ts_ns)) AS last_at,
			list_sort(list(DISTINCT protocol)) AS protocols, count(*) FILTER (`+terms.Sealed+` AND %[1]s) AS opened, count(*) FILTER (`+terms.Shakes+`) AS shakes, %[3]s
		FROM y GROUP BY an, far) LEFT JOIN cb USING (an, far) JOIN sname USING (an) WHERE pa <> 'outside' ORDER BY calls DESC, n DESC, 1, 2`, terms.IsRequest, ask.Joined(c, "x"), terms.SomeCalls, on, bytesOf("src_payload_bytes", "sent"), bytesOf("dst_payload_bytes", "received"))
	rows, more, err := ask.Rows[externalRow](ctx, c, maxExternal, sql, w.Args...)
	if err != nil {
		return nil, err
	}
	if more {
		f.Truncated = true
		f.Note("only the %d busiest pairs of client and destination were examined", maxExternal)
	}
	if w.KFL != "" || narrowed {
		return rows, nil
	}
	conns, args := w.Connections(c, "connections", false)
	addSilent, _, err := ask.Rows[externalRow](ctx, c, maxExternal, fmt.Sprintf(`SELECT %s AS name, %s AS client, min(src_namespace) AS namespace, bool_or(dst_dns_name IS NOT NULL) AS dns_known, bool_or(dst_how_known <> 'dns_other') AS own_lookup, list_sort(list(DISTINCT dst_ip))[1:10] AS addresses,
		list_sort(list(DISTINCT dst_port::BIGINT))[1:10] AS ports, list_sort(list(DISTINCT src_pod) FILTER (src_pod IS NOT NULL))[1:10] AS pods, count(*) AS connections, count(*) FILTER (%[6]s) AS shut, make_timestamp_ns(min(first_ns)) AS first_at, make_timestamp_ns(max(last_ns)) AS last_at, list_sort(list(DISTINCT transport)) AS protocols
		FROM %[3]s WHERE calls = 0 AND %[4]s = 'outside' AND %[5]s <> 'outside' GROUP BY 1, 2 ORDER BY connections DESC, 1, 2`, terms.Who("dst_"), terms.Who("src_"), conns, terms.Place("dst_"), terms.Place("src_"), terms.Shut(c)), args...)
	return append(rows, addSilent...), err
}

// bytesOf is the SQL for the bytes of a connection, of which several bundles may have different parts: at least
// those of the largest part and of all distinct calls, at most those of all parts.
func bytesOf(part, calls string) string {
	return fmt.Sprintf("least(sum(%[1]s), greatest(max(%[1]s), any_value(%[2]s)))", part, calls)
}

// mergeRows merges the rows of each destination. A client that is a broadcast or multicast address called nothing: a server
// sent it a response, such as a DHCPNAK (RFC 2131 section 4.1).
func mergeRows(rows []externalRow, allow *allowList, within []netip.Prefix, known map[string]ask.Node) []Destination {
	by := map[string]*Destination{}
	counts := map[string]*externalRow{}
	var names []string
	for i := range rows {
		r := &rows[i]
		if isGroup(r.Client) || len(r.Addresses) > 0 && allIn(r.Addresses, within) {
			continue
		}
		d := by[r.Name]
		if d == nil {
			d = &Destination{Name: r.Name, First: r.First, Last: r.Last, Addresses: []string{}, Protocols: []string{}, Ports: []int64{}, CallIDs: r.CallIDs}
			by[r.Name], counts[r.Name] = d, &externalRow{}
			names = append(names, r.Name)
		}
		d.add(r, counts[r.Name])
		if allow != nil {
			d.Allowed, d.Violators = judged(allow.allows(r), d.Violators, r.Client)
		}
	}
	out := []Destination{}
	of := map[string]int{} // destinations with an address
	for _, name := range names {
		for _, a := range by[name].Addresses {
			of[a]++
		}
	}
	for _, name := range names {
		d := by[name]
		sole := len(d.Addresses) < ask.MaxNames && !slices.ContainsFunc(d.Addresses, func(a string) bool { return of[a] > 1 })
		d.finish(counts[name], known, sole)
		out = append(out, *d)
	}
	slices.SortStableFunc(out, func(a, b Destination) int {
		return cmp.Or(cmp.Compare(rank(a.Allowed), rank(b.Allowed)), cmp.Compare(b.Calls, a.Calls), strings.Compare(a.Name, b.Name))
	})
	return out
}

// addPorts adds ports to those of a destination, up to the limit.
func addPorts(list, more []int64) []int64 {
	for _, p := range more {
		if !slices.Contains(list, p) && len(list) < ask.MaxNames {
			list = append(list, p)
		}
	}
	return list
}

func (d *Destination) add(r, sum *externalRow) {
	d.Calls += r.Calls
	d.Failed += r.Failed
	d.Connections += r.Connections
	d.Shut += r.Shut
	d.SentKB, d.ReceivedKB = ask.Round(d.SentKB+float64(r.Sent)/1000), ask.Round(d.ReceivedKB+float64(r.Received)/1000)
	d.First, d.Last = min(d.First, r.First), max(d.Last, r.Last)
	d.Clients = ask.AddName(d.Clients, r.Client)
	d.Addresses, d.Pods, d.Protocols = ask.AddName(d.Addresses, r.Addresses...), ask.AddName(d.Pods, r.Pods...), ask.AddName(d.Protocols, r.Protocols...)
	d.Ports = addPorts(d.Ports, r.Ports)
	if d.CallIDs == nil {
		d.CallIDs = r.CallIDs
	}
	sum.Opened += r.Opened
	sum.Shakes += r.Shakes
	sum.Rows += r.Rows
	sum.Adopted += r.Adopted
	sum.Asked, sum.BySNI, sum.DNS, sum.OwnLookup = sum.Asked || r.Asked, sum.BySNI || r.BySNI, sum.DNS || r.DNS, sum.OwnLookup || r.OwnLookup
}

// finish sets what depends on all clients. sole is true if its addresses are those of no other destination.
func (d *Destination) finish(sum *externalRow, known map[string]ask.Node, sole bool) {
	switch _, err := netip.ParseAddr(d.Name); {
	case sum.Asked && sum.BySNI:
		d.NameFrom = "sni"
	case sum.Asked:
		d.NameFrom = "host"
	case err == nil:
		d.NameFrom = "none"
	case sum.DNS && sum.OwnLookup:
		d.NameFrom = "dns"
	case sum.DNS:
		d.NameFrom = "dns_other"
	default:
		d.NameFrom = "hosts"
	}
	if d.NameFrom != "none" {
		d.Domain = terms.Domain(d.Name)
	}
	d.Encrypted = encrypted(d.Calls, sum.Opened, sum.Shakes)
	if d.CallIDs == nil {
		d.CallIDs = []string{}
	}
	if sum.Rows > 0 {
		d.KFL = ask.DstKFL(d.Name, terms.Outside, sum.Asked, known)
		if sum.Adopted > 0 && sole {
			d.KFL = "(" + d.KFL + " or " + terms.NamelessKFL(d.Addresses) + ")"
		}
		if d.Calls > 0 && d.Calls < sum.Rows {
			d.KFL += terms.NotCarriers
		}
	}
	d.Addresses, d.Clients, d.Violators = ask.SomeNames(d.Addresses), ask.SomeNames(d.Clients), ask.SomeNames(d.Violators)
	d.Pods = ask.SomeNames(d.Pods)
	slices.Sort(d.Ports)
}

// summarize writes the summary.
func (e *External) summarize(list []Destination, behind []Behind, allow bool) {
	say := func(format string, args ...any) { e.Summary = append(e.Summary, plural.Sprintf(format, args...)) }
	plain, bare, shut := []string{}, []string{}, []string{}
	for _, d := range list {
		if d.Encrypted == "no" && d.Calls > 0 {
			plain = ask.AddName(plain, d.Name)
		}
		if d.Shut > 0 && d.Shut == d.Connections {
			shut = ask.AddName(shut, d.Name)
		}
		if d.NameFrom == "none" {
			bare = ask.AddName(bare, d.Name)
		}
	}
	say("%d external {destination was|destinations were} called.", len(list)-len(shut))
	if len(shut) > 0 {
		say("%d more accepted no connection: %s.", len(shut), strings.Join(ask.SomeNames(shut), ", "))
	}
	if len(behind) > 0 {
		say("%d external {host was|hosts were} reached through a proxy.", len(behind))
	}
	if allow {
		say("%d of them {is|are} not on the allow-list.", e.Violations)
	}
	if len(plain) > 0 {
		say("Unencrypted: %s.", strings.Join(ask.SomeNames(plain), ", "))
	}
	if len(bare) > 0 {
		say("Addresses without a name: %s.", strings.Join(ask.SomeNames(bare), ", "))
	}
}

// unresolved lists names that DNS did not resolve.
func unresolved(w *ask.Window, ctx context.Context, c *forensics.Case) ([]DNSFailure, error) {
	rows, _, err := ask.Rows[DNSFailure](ctx, c, w.Limit, fmt.Sprintf(`SELECT coalesce(host, dns_questions[1], '') AS name, coalesce(status_text, error, 'failed') AS result, count(*) AS calls, list_sort(list(DISTINCT %s))[1:10] AS clients, %s
		FROM %s WHERE %s AND protocol = 'dns' AND failed GROUP BY 1, 2 ORDER BY calls DESC, 1, 2`, terms.Who("src_"), terms.SomeCalls, "calls", w.Where), w.Args...)
	return rows, err
}

// Sentence is the answer in one sentence.
func (e *External) Sentence() string { return strings.Join(e.Summary[:min(1, len(e.Summary))], "") }
