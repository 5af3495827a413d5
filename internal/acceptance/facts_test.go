package acceptance

import (
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/pcapsule/pcapsule/exporter/bundle"
)

// fact is a number that peers and pcapsule both count.
type fact struct {
	name  string
	truth string              // key in the truth file
	sql   string              // returns value and count from {tables}
	fold  func(string) string // converts a peer's value to our spelling; "" drops it
	ours  func(string) string
	total bool   // the truth is one number, "a.b" one inside an object; sql returns one row
	rule  bool   // needs no peer: sql returns the violations
	claim bool   // sql counts the rows of each protocol, see claims
	info  bool   // definitions differ: shown in the table, but never a failure
	but   string // not compared if the truth has this key, because it includes other traffic
}

// facts lists all facts. Those of a protocol are one function in facts_<protocol>_test.go, which is
// listed here.
func facts() []fact {
	return slices.Concat(coreFacts(), dnsFacts(), icmpFacts(), tlsFacts(), redisFacts(), postgresqlFacts(), mysqlFacts(), storesFacts(), ldapFacts(), brokerFacts(), smtpFacts(), ftpFacts(), sshFacts(), mailboxFacts(), ntpFacts(), dhcpFacts(), thriftFacts(), sipFacts(), diameterFacts(), modbusFacts(), radiusFacts(), snmpFacts(), kerberosFacts(), tdsFacts(), smbFacts(), nfsFacts())
}

var (
	ofProtocols = regexp.MustCompile(`protocol (?:=|in) (\('[^)]*'\)|'[^']*')`)
	quoted      = regexp.MustCompile(`'([^']*)'`)
)

// idle reports whether a fact counts only calls of protocols that a bundle has none of, so that its count
// is 0. To plan all facts for a small bundle takes longer than to make it.
func (f *fact) idle(m *bundle.Manifest) bool {
	conditions := ofProtocols.FindAllStringSubmatch(f.sql, -1)
	for _, c := range conditions {
		for _, name := range quoted.FindAllStringSubmatch(c[1], -1) {
			if slices.ContainsFunc(m.Tables, func(t bundle.Table) bool { return t.Name == "calls" && t.Protocol == name[1] }) {
				return false
			}
		}
	}
	return len(conditions) > 0 && len(conditions) == strings.Count(f.sql, "{") // a fact that also reads another table is never idle
}

func coreFacts() []fact {
	const (
		http = "select unnest(%s) from {calls} where protocol = 'http1'"
		tcp  = "select '', coalesce(sum(%s), 0) from {flows} where transport = 'tcp'"
		flag = "select '', count(*) from {packets} p join {flows} f using (flow_id) where f.transport = 'tcp' and p.flags & %s"
	)
	header := func(name string) string {
		return "list_filter(headers, h -> h.kind = 'request' and lower(h.name) = '" + name + "')[1].value"
	}
	uri := "case when http1_target like '%%://%%' then '' else coalesce(%s, '') end || coalesce(%s, path || coalesce('?' || query_string, ''), '')"
	return []fact{
		{name: "packets", truth: "packets", sql: "select '', count(*) from {packets}", total: true},
		{name: "tcp_connections", truth: "tcp_streams", sql: "select '', count(*) from {connections} where transport = 'tcp'", total: true},
		{name: "udp_conversations", truth: "udp_streams", sql: "select '', count(*) from {connections} where transport = 'udp'", total: true},
		{name: "accounts", rule: true, sql: `select 'conn ' || conn_id, sum(src_payload_bytes + dst_payload_bytes - cut_bytes - row_bytes - anomaly_bytes - duplicate_bytes)
			from {flows} group by conn_id having sum(src_payload_bytes + dst_payload_bytes - cut_bytes - row_bytes - anomaly_bytes - duplicate_bytes) <> 0`},
		{name: "call_ids", rule: true, sql: "select hex(call_id), count(*) from {calls} group by 1 having count(*) > 1"},
		{name: "claims", claim: true, sql: "select protocol, count(*) from {calls} group by 1"},
		{name: "tcp_payload_bytes", truth: "tcp.payload_bytes", sql: fmt.Sprintf(tcp, "src_payload_bytes + dst_payload_bytes"), total: true},
		{name: "tcp_syn", truth: "tcp.syn", sql: fmt.Sprintf(flag, "18 = 2"), total: true},
		{name: "tcp_fin", truth: "tcp.fin", sql: fmt.Sprintf(flag, "1 = 1"), total: true},
		{name: "tcp_rst", truth: "tcp.rst", sql: fmt.Sprintf(flag, "4 = 4"), total: true},
		{name: "retransmissions", truth: "tcp.analysis.retransmission", sql: fmt.Sprintf(tcp, "retransmissions"), total: true, info: true},
		{name: "out_of_order", truth: "tcp.analysis.out_of_order", sql: fmt.Sprintf(tcp, "out_of_order"), total: true, info: true},
		{name: "zero_windows", truth: "tcp.analysis.zero_window", sql: fmt.Sprintf(tcp, "zero_windows"), total: true, info: true},
		{name: "window_full", truth: "tcp.analysis.window_full", sql: fmt.Sprintf(tcp, "window_full"), total: true, info: true},
		{name: "duplicate_acks", truth: "tcp.analysis.duplicate_ack", sql: fmt.Sprintf(tcp, "duplicate_acks"), total: true, info: true},
		{name: "keep_alives", truth: "tcp.analysis.keep_alive", sql: fmt.Sprintf(tcp, "keep_alives"), total: true, info: true},
		{name: "fragments", truth: "ip_fragments", sql: "select '', count(*) from {packets} where flags & 4096 = 4096", total: true},
		{name: "http_methods", truth: "http_methods", sql: "select method, count(*) from {calls} where protocol = 'http1' and method is not null group by 1"},
		{name: "http_requests", truth: "http_requests", sql: "select left(method || ' ' || " + fmt.Sprintf(uri, header("host"), "http1_target") +
			", 200), count(*) from {calls} where protocol = 'http1' and method is not null group by 1"},
		{name: "http_versions", truth: "http_versions", sql: "select http1_version, count(*) from {calls} where protocol = 'http1' and method is not null and http1_version <> 'HTTP/0.9' group by 1"},
		{name: "http_statuses", truth: "http_statuses", sql: "select v, count(*) from (" + fmt.Sprintf(http,
			"list_filter(string_split(coalesce(http1_interim, ''), ',') || [cast(status_code as varchar)], s -> s <> '')") + ") q(v) group by 1"},
		{name: "http2_requests", truth: "http2_requests", sql: "select left(method || ' ' || " + fmt.Sprintf(uri, "coalesce(http2_authority, grpc_authority)", "null") +
			", 200), count(*) from {calls} where protocol in ('http2', 'grpc') and stream_id is not null and method is not null group by 1"},
		{name: "http2_statuses", truth: "http2_statuses", sql: "select v, count(*) from (select unnest(list_filter(string_split(coalesce(http2_interim, ''), ',') || " +
			"[cast(status_code as varchar)], s -> s <> '')) from {calls} where protocol in ('http2', 'grpc') and stream_id is not null) q(v) group by 1"},
		{name: "grpc_messages", truth: "grpc_messages", sql: "select '', coalesce(sum(coalesce(grpc_request_messages, 0) + coalesce(grpc_response_messages, 0)), 0) from {calls} where protocol = 'grpc'", total: true},
	}
}

// unknown reports whether the truth lacks a fact, whatever the bundle has: a number is missing, or counts
// other traffic too. A table that is missing is an empty one.
func (c *comparison) unknown(f fact) bool {
	return f.but != "" && c.tr.raw[f.but] != nil || f.total && c.number(f.truth) == nil
}

// compare compares one fact with the truth; ok is false if the truth lacks it.
func (c *comparison) compare(f fact, got counts) (o outcome, ok bool) {
	raw := c.tr.raw[f.truth]
	o = outcome{fact: f.name, capture: c.name, info: f.info}
	if c.unknown(f) {
		return o, false
	}
	if f.claim {
		return c.claims(o, got)
	}
	if f.rule {
		o.agreed, o.want, o.got = len(got) == 0, "no row", got.String()
		return o, true
	}
	if f.total {
		want := strings.TrimSpace(string(c.number(f.truth)))
		have := strconv.FormatInt(got[""], 10)
		o.theirs, _ = strconv.ParseInt(want, 10, 64) // another number is a disagreement below
		o.ours = got[""]
		o.same = min(o.theirs, o.ours)
		if f.name == "packets" {
			if n, isText := c.tr.Capinfos["Number of packets"].(string); isText {
				want = n
			}
		}
		o.agreed, o.want, o.got = want == have, want, have
		return o, true
	}
	want, cut := c.want(raw, f)
	mine := counts{}
	for v, n := range got {
		if f.ours != nil {
			v = f.ours(v)
		}
		if v != "" || n == 0 {
			mine[v] += n
		}
	}
	if cut {
		for v := range mine {
			if _, listed := want[v]; !listed {
				delete(mine, v)
			}
		}
	}
	if len(want) == 0 && len(mine) == 0 {
		return o, false
	}
	o.agreed, o.want, o.got = want.String() == mine.String() && len(want) == len(mine), want.String(), mine.String()
	for v, n := range want {
		o.theirs += n
		o.same += min(n, mine[v])
	}
	for _, n := range mine {
		o.ours += n
	}
	return o, true
}

// number reads one number of the truth.
func (c *comparison) number(path string) json.RawMessage {
	key, rest, inner := strings.Cut(path, ".")
	raw := c.tr.raw[key]
	for inner && raw != nil {
		var object map[string]json.RawMessage
		if json.Unmarshal(raw, &object) != nil {
			return nil
		}
		key, rest, inner = strings.Cut(rest, ".")
		if raw = object[key]; raw == nil {
			return json.RawMessage("0")
		}
	}
	return raw
}

// want reads a table of the truth. It also reports whether rare values were left out.
func (c *comparison) want(raw json.RawMessage, f fact) (counts, bool) {
	table := map[string]int64{}
	if raw != nil {
		if err := json.Unmarshal(raw, &table); err != nil {
			c.t.Errorf("%s %s: %v", c.name, f.name, err)
		}
	}
	_, cut := table["__other_distinct"]
	out := counts{}
	for v, n := range table {
		if v == "__other_distinct" || v == "__total" {
			continue
		}
		if f.fold != nil {
			v = f.fold(v)
		}
		if v != "" {
			out[v] += n
		}
	}
	return out, cut
}
