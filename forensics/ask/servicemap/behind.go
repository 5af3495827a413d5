package servicemap

import (
	"cmp"
	"context"
	"net/netip"
	"slices"
	"strings"

	"github.com/pcapsule/pcapsule/forensics"
	"github.com/pcapsule/pcapsule/forensics/ask"
	"github.com/pcapsule/pcapsule/forensics/ask/terms"
)

// Behind is a host that clients reach through a proxy. The proxy connects to what it is asked for; what the client then
// sends to that host may name another one.
type Behind struct {
	Host      string   `json:"host" jsonschema:"name or address that the proxy is asked for; (unknown): the request was not captured"`
	Names     []string `json:"names" jsonschema:"names that clients then send to the host: SNI, Host; the names of an address"`
	Ports     []int64  `json:"ports"`
	Proxies   []string `json:"proxies"`
	Clients   []string `json:"clients"`
	Calls     int64    `json:"calls" jsonschema:"requests to the proxy for this host, and requests that it passes on"`
	Failed    int64    `json:"failed"`
	First     string   `json:"first"`
	Last      string   `json:"last"`
	Protocols []string `json:"protocols"`
	Allowed   *bool    `json:"allowed,omitempty" jsonschema:"with allow: by the host, or if it is an address also by its names"`
	Violators []string `json:"violators,omitempty" jsonschema:"clients that are not allowed to reach it"`
	CallIDs   []string `json:"call_ids" jsonschema:"the first three"`
	KFL       string   `json:"kfl" jsonschema:"filter for exactly these calls; if calls is 0, for the handshakes and unknown payload"`
}

// behindRow is a host behind proxies and one of its clients, as SQL returns it.
type behindRow struct {
	clientRow
	Host    string   `json:"target"`
	Targets []string `json:"targets"`
	Names   []string `json:"names"`
	Proxies []string `json:"proxies"`
}

// behind lists the hosts outside that are reached through proxies, violations first.
func behind(w *ask.Window, ctx context.Context, c *forensics.Case, allow *allowList, within []netip.Prefix) ([]Behind, error) {
	rows, _, err := ask.Rows[behindRow](ctx, c, maxExternal, `SELECT `+terms.TargetHost+` AS target, `+terms.Who("src_")+` AS client, min(src_namespace) AS namespace, list_sort(list(DISTINCT proxied_to)) AS targets,
			list_sort(list(DISTINCT lower(host)) FILTER (`+terms.NamesTarget+` AND NOT `+terms.AddressLike+`))[1:10] AS names, list_sort(list(DISTINCT `+terms.TargetPort+`) FILTER (`+terms.TargetPort+` IS NOT NULL))[1:10] AS ports, list_sort(list(DISTINCT `+terms.Who("dst_")+`))[1:10] AS proxies,
			count(*) FILTER (`+terms.IsRequest+`) AS calls, count(*) AS n, count(*) FILTER (failed) AS failed, make_timestamp_ns(min(ts_ns)) AS first_at, make_timestamp_ns(max(ts_ns)) AS last_at, list_sort(list(DISTINCT protocol)) AS protocols, `+terms.SomeCalls+`
		FROM calls WHERE `+w.Where+` AND `+terms.BehindProxy+` AND `+terms.Place("src_")+` <> 'outside' AND `+terms.TargetHost+` NOT IN (`+terms.KnownInside+`) GROUP BY 1, 2 ORDER BY calls DESC, n DESC, 1, 2`, w.Args...)
	if err != nil {
		return nil, err
	}
	by := map[string]*Behind{}
	targets, all := map[string][]string{}, map[string]int64{}
	var hosts []string
	for i := range rows {
		r := &rows[i]
		if !terms.HostOutside(r.Host) || allIn([]string{r.Host}, within) {
			continue
		}
		b := by[r.Host]
		if b == nil {
			b = &Behind{Host: r.Host, Names: []string{}, Ports: []int64{}, First: r.First, Last: r.Last, CallIDs: r.CallIDs}
			by[r.Host] = b
			hosts = append(hosts, r.Host)
		}
		b.add(r)
		targets[r.Host], all[r.Host] = append(targets[r.Host], r.Targets...), all[r.Host]+r.Rows
		if allow != nil {
			b.Allowed, b.Violators = judged(allow.reaches(r), b.Violators, r.Client)
		}
	}
	out := []Behind{}
	for _, h := range hosts {
		b := by[h]
		b.finish(targets[h], all[h])
		out = append(out, *b)
	}
	slices.SortStableFunc(out, func(a, b Behind) int {
		return cmp.Or(cmp.Compare(rank(a.Allowed), rank(b.Allowed)), cmp.Compare(b.Calls, a.Calls), strings.Compare(a.Host, b.Host))
	})
	return out, nil
}

func (b *Behind) add(r *behindRow) {
	b.Calls, b.Failed = b.Calls+r.Calls, b.Failed+r.Failed
	b.First, b.Last = min(b.First, r.First), max(b.Last, r.Last)
	b.Clients = ask.AddName(b.Clients, r.Client)
	b.Proxies, b.Protocols = ask.AddName(b.Proxies, r.Proxies...), ask.AddName(b.Protocols, r.Protocols...)
	for _, n := range r.Names {
		if n != b.Host {
			b.Names = ask.AddName(b.Names, n)
		}
	}
	b.Ports = addPorts(b.Ports, r.Ports)
}

// finish sets what depends on all clients. n is the number of rows of calls, with handshakes.
func (b *Behind) finish(targets []string, n int64) {
	slices.Sort(targets)
	targets = slices.Compact(targets)
	for i, t := range targets {
		targets[i] = terms.QuoteKFL(t)
	}
	b.KFL = "proxied_to in [" + strings.Join(targets, ", ") + "]"
	if b.Calls > 0 && b.Calls < n {
		b.KFL += terms.NotCarriers
	}
	b.Names, b.Clients, b.Proxies, b.Violators = ask.SomeNames(b.Names), ask.SomeNames(b.Clients), ask.SomeNames(b.Proxies), ask.SomeNames(b.Violators)
	slices.Sort(b.Ports)
}

// reaches reports whether the list allows a client to reach a host behind a proxy: by the client's namespace, by what the
// proxy is asked for, or, of an address, by all names that the client then sends.
func (a *allowList) reaches(r *behindRow) bool {
	if a.allowsCall(r.Namespace, r.Host) {
		return true
	}
	if _, err := netip.ParseAddr(r.Host); err != nil {
		return false
	}
	return len(a.ranges) > 0 && allIn([]string{r.Host}, a.ranges) ||
		len(r.Names) > 0 && !slices.ContainsFunc(r.Names, func(name string) bool { return !a.allowsName(name) })
}
