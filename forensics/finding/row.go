package finding

import (
	"cmp"
	"slices"
	"strings"
)

// crowd is the highest number of findings of one kind about one client that are listed separately.
// More of them become one finding, because a scan of a thousand addresses is one event.
const crowd = 10

// Row is a group of calls or flows, the result of most analyzers' SQL. Absent columns stay empty.
type Row struct {
	Src      string   `json:"src"`
	Dst      string   `json:"dst"`
	Detail   string   `json:"detail"`
	Other    string   `json:"other"`
	Via      string   `json:"via"`     // proxies between them
	Outside  bool     `json:"outside"` // the destination, or a proxy on the way to it, is outside
	Beyond   bool     `json:"beyond"`  // the destination is behind a proxy and not known to be inside
	Count    int64    `json:"count"`
	Of       int64    `json:"of"`
	Number   float64  `json:"number"`
	Number2  float64  `json:"number2"`
	FirstNs  int64    `json:"first_ns"`
	LastNs   int64    `json:"last_ns"`
	CallIDs  []string `json:"call_ids"`
	FlowIDs  []string `json:"flow_ids"`
	Evidence []string `json:"evidence"`
	Places   []string `json:"places"` // files and frames of the evidence, see Look.Places
}

// through says through which proxies the destination was reached; empty if through none.
func (r *Row) through() string {
	switch {
	case r.Via == "":
		return ""
	case strings.Contains(r.Via, ", "):
		return "; the proxies are " + r.Via
	}
	return "; the proxy is " + r.Via
}

// Crowds merges the rows of clients with more than 10 rows for which alike is true. In the merged
// row Of is the number of different servers, Number2 that of merged rows, Count and Number are sums, and Evidence has the
// first five servers. All other rows are in rest, in their order.
func Crowds(rows []Row, alike func(Row) bool) (rest, crowds []Row) {
	of := map[string][]Row{}
	for _, r := range rows {
		if alike(r) {
			of[r.Src] = append(of[r.Src], r)
		}
	}
	done := map[string]bool{}
	for _, r := range rows {
		list := of[r.Src]
		if !alike(r) || len(list) <= crowd {
			rest = append(rest, r)
			continue
		}
		if done[r.Src] {
			continue
		}
		done[r.Src] = true
		slices.SortStableFunc(list, func(a, b Row) int { return cmp.Compare(a.FirstNs, b.FirstNs) })
		one := Row{Src: r.Src, Detail: "crowd", Number2: float64(len(list)), FirstNs: list[0].FirstNs}
		servers := map[string]bool{}
		for _, x := range list {
			one.Count, one.Number, one.LastNs = one.Count+x.Count, one.Number+x.Number, max(one.LastNs, x.LastNs)
			one.CallIDs = append(one.CallIDs, x.CallIDs...)
			if len(one.FlowIDs) < 3 {
				one.FlowIDs = append(one.FlowIDs, x.FlowIDs[:min(1, len(x.FlowIDs))]...)
			}
			if !servers[x.Dst] && len(servers) < 5 {
				one.Evidence = append(one.Evidence, x.Dst)
			}
			servers[x.Dst] = true
		}
		one.Of = int64(len(servers))
		crowds = append(crowds, one)
	}
	return rest, crowds
}

// Reach says which port of a server a client uses, as terms.Port names it. A protocol without ports has no connections to
// them: it is sent.
func Reach(src, dst, port string) string {
	if !strings.Contains(port, "/") {
		return src + " sends " + port + " to " + dst
	}
	return src + " connects to " + dst + " at " + port
}

// Taken is the word for what a server does with connections to a port that succeed; see terms.Accepted. A refusal is an
// answer too, but nobody accepts datagrams.
func Taken(port string) string {
	if strings.HasPrefix(port, "tcp/") || strings.HasPrefix(port, "sctp/") {
		return "accepted"
	}
	return "answered"
}
