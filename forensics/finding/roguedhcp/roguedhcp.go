// Package roguedhcp finds servers of DHCP that answer for the network of another one with another router or other DNS
// servers, and clients that ask for so many addresses that none is left.
package roguedhcp

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/pcapsule/pcapsule/forensics/finding"
	"github.com/pcapsule/pcapsule/internal/plural"
)

// What counts as starvation: hardware addresses that ask for an address within a minute. A whole office rarely starts at
// once, and then it does so for longer.
const many = 200

const (
	offers = "protocol = 'dhcp' AND (dhcp_type IN ('OFFER', 'ACK') OR dhcp_response_type IN ('OFFER', 'ACK')) AND dhcp_mask IS NOT NULL AND len(dhcp_addresses) > 0 AND (len(dhcp_routers) > 0 OR len(dhcp_dns) > 0)"
	server = "coalesce(dhcp_server, src_ip)"
	asks   = "protocol = 'dhcp' AND dhcp_type IN ('DISCOVER', 'SOLICIT')"
)

// Analyzer returns the analyzer rogue-dhcp.
func Analyzer() finding.Analyzer {
	return finding.Analyzer{Name: "rogue-dhcp", Title: "rogue DHCP servers and starvation", Kinds: []string{"servers", "starvation"}, Techniques: []string{"T1557.003"},
		Basis:    finding.Basis{What: "DHCP messages", Is: []finding.Need{finding.Calls("'dhcp'", finding.Any("protocol = 'dhcp'"))}},
		Unproved: "Which server is the right one, and that a client used the wrong one.",
		Doc:      fmt.Sprintf("Two DHCP servers that assign addresses of one network with different routers or DNS servers, and %d or more hardware addresses that ask for an address within a minute.", many),
		Steps: []finding.Step{
			{Needs: []finding.Need{finding.Calls("'dhcp'", "count(DISTINCT "+server+") FILTER ("+offers+") > 1")}, Find: servers},
			{Needs: []finding.Need{finding.Calls("'dhcp'", fmt.Sprintf("count(DISTINCT dhcp_client) FILTER (%s) >= %d", asks, many))}, Find: starvation},
		}}
}

// offer is what a server assigns in a network.
type offer struct {
	row                  finding.Row
	server, routers, dns string
}

func servers(ctx context.Context, l *finding.Look) error {
	rows, err := l.Rows(ctx, l.Groups(server+" AS assigner, dhcp_addresses[1] AS address, dhcp_mask AS mask, array_to_string(list_sort(coalesce(dhcp_routers, [])), ', ') AS routers, array_to_string(list_sort(coalesce(dhcp_dns, [])), ', ') AS names", offers)+`
		SELECT min(src) AS src, assigner AS dst, address || '/' || mask AS detail, `+l.Sums()+`, [routers, names] AS evidence FROM g GROUP BY assigner, address, mask, routers, names ORDER BY first_ns, assigner, detail, evidence`, l.Args...)
	if err != nil {
		return err
	}
	var order []netip.Prefix
	of := map[netip.Prefix][]*offer{}
	for _, r := range rows {
		network := prefix(r.Detail)
		if !network.IsValid() {
			continue
		}
		if of[network] == nil {
			order = append(order, network)
		}
		if i := slices.IndexFunc(of[network], func(o *offer) bool { return o.server == r.Dst }); i >= 0 {
			o := of[network][i]
			o.row.Count, o.row.LastNs, o.row.CallIDs = o.row.Count+r.Count, max(o.row.LastNs, r.LastNs), append(o.row.CallIDs, r.CallIDs...)
			continue
		}
		of[network] = append(of[network], &offer{row: r, server: r.Dst, routers: r.Evidence[0], dns: r.Evidence[1]})
	}
	for _, network := range order {
		first := of[network][0]
		for _, o := range of[network][1:] {
			if o.routers == first.routers && o.dns == first.dns {
				continue
			}
			r := o.row
			r.FirstNs, r.LastNs, r.Count = min(r.FirstNs, first.row.FirstNs), max(r.LastNs, first.row.LastNs), r.Count+first.row.Count
			r.CallIDs = append(slices.Clone(o.row.CallIDs[:min(2, len(o.row.CallIDs))]), first.row.CallIDs[:min(1, len(first.row.CallIDs))]...)
			if l.All() {
				r.CallIDs = slices.Concat(o.row.CallIDs, first.row.CallIDs)
			}
			r.Evidence = []string{first.text(), o.text()}
			l.Add(r, finding.Finding{Kind: "servers", Key: network.String(), Src: o.server, Dst: first.server, Severity: finding.High, Confidence: finding.Likely,
				What: fmt.Sprintf("two DHCP servers assign addresses of %s and name different routers or DNS servers: %s and %s", network, first.server, o.server)})
		}
	}
	return nil
}

func (o *offer) text() string {
	return fmt.Sprintf("%s: routers %s, DNS servers %s", o.server, none(o.routers), none(o.dns))
}

func none(s string) string {
	if s == "" {
		return "not stated"
	}
	return s
}

// prefix is the network of an address and a mask, such as 10.0.0.7/255.255.255.0.
func prefix(s string) netip.Prefix {
	a, m, _ := strings.Cut(s, "/")
	addr, err := netip.ParseAddr(a)
	mask, errMask := netip.ParseAddr(m)
	if err != nil || errMask != nil || !addr.Is4() || !mask.Is4() {
		return netip.Prefix{}
	}
	bits := 0
	for _, b := range mask.As4() {
		for ; b&0x80 != 0; b <<= 1 {
			bits++
		}
	}
	return netip.PrefixFrom(addr, bits).Masked()
}

func starvation(ctx context.Context, l *finding.Look) error {
	rows, err := l.Rows(ctx, l.Groups("dhcp_client AS hardware, ts_ns // 60000000000 AS minute", asks)+`,
		m AS (SELECT minute, count(DISTINCT hardware) AS clients FROM g GROUP BY minute HAVING clients >= `+fmt.Sprint(many)+`)
		SELECT min(src) AS src, min(dst) AS dst, `+l.Sums()+`, (SELECT max(clients) FROM m)::DOUBLE AS number FROM g JOIN m USING (minute) HAVING count(*) > 0`, l.Args...)
	if err != nil {
		return err
	}
	for _, r := range rows {
		l.Add(r, finding.Finding{Kind: "starvation", Key: "starvation", Severity: finding.Medium, Confidence: finding.Likely, Techniques: []string{"T1499", "T1557.003"},
			What: plural.Sprintf("up to %.0f hardware addresses asked for an address within a minute, which leaves none for others", r.Number)})
	}
	return nil
}
