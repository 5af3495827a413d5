// Package spoofing finds addresses of IPv4 and IPv6 that two machines claim, as somebody does who redirects the traffic of
// others to himself.
package spoofing

import (
	"context"
	"fmt"

	"github.com/pcapsule/pcapsule/forensics/ask"
	"github.com/pcapsule/pcapsule/forensics/finding"
	"github.com/pcapsule/pcapsule/internal/plural"
)

const (
	odd = "source = 'arp' AND kind IN ('arp_moved', 'arp_conflict', 'arp_relayed', 'arp_unasked')"

	// advertised are answers of neighbor discovery in which a machine claims an address for itself.
	advertised = "protocol = 'icmp' AND icmp_target IS NOT NULL AND icmp_link_address IS NOT NULL AND (icmp_type = 'neighbor_advertisement' OR icmp_reply_type = 'neighbor_advertisement') AND list_contains(icmp_flags, 'override')"
)

// Analyzer returns the analyzer address-spoofing.
func Analyzer() finding.Analyzer {
	return finding.Analyzer{Name: "address-spoofing", Title: "addresses that two machines claim", Kinds: []string{"arp", "neighbor"}, Techniques: []string{"T1557.002"},
		Basis:    finding.Basis{What: "neighbor advertisements of IPv6, and claims of ARP that contradict each other", Is: []finding.Need{finding.Odd(odd), finding.Calls("'icmp'", finding.Any(advertised))}},
		Unproved: "Which machine is the right one. Two machines with one address by mistake look alike; so does a repeater that answers for others. A question that was not captured looks as if nobody had asked.",
		Doc:      "Addresses that two hardware addresses claim within a minute in ARP or neighbor discovery, and whether both do so in turn; replies of ARP to one that had not asked, by a machine that claims another address, too (ARP poisoning of one victim). Addresses that routers share (VRRP, HSRP) do not count.",
		Steps: []finding.Step{
			{Needs: []finding.Need{finding.Odd(odd)}, Find: arp},
			{Needs: []finding.Need{finding.Calls("'icmp'", "count(DISTINCT (icmp_target, icmp_link_address)) FILTER ("+advertised+") > count(DISTINCT icmp_target) FILTER ("+advertised+")")}, Find: neighbors},
		}}
}

// arp reports claims of ARP, which are packets of no conversation.
func arp(ctx context.Context, l *finding.Look) error {
	rows, err := l.Rows(ctx, `SELECT regexp_extract(detail, 'address (\S+)', 1) AS src, sum(count)::BIGINT AS count, coalesce(sum(count) FILTER (kind = 'arp_conflict'), 0)::BIGINT AS "of",
			coalesce(sum(count) FILTER (kind = 'arp_relayed'), 0)::DOUBLE AS number, coalesce(sum(count) FILTER (kind = 'arp_unasked'), 0)::DOUBLE AS number2, min(ts_ns) AS first_ns, max(ts_ns) AS last_ns,
			`+l.Places()+`
		FROM anomalies_raw WHERE `+odd+` AND detail LIKE 'address %' AND ts_ns BETWEEN `+fmt.Sprint(l.From)+` AND `+fmt.Sprint(l.To)+` GROUP BY 1 ORDER BY count DESC, src`)
	if err != nil {
		return err
	}
	for _, r := range rows {
		report(l, r, "arp", "ARP")
	}
	return nil
}

// neighbors reports contradicting neighbor advertisements.
func neighbors(ctx context.Context, l *finding.Look) error {
	rows, err := l.Rows(ctx, l.Groups("icmp_target AS claimed, icmp_link_address AS hardware", advertised)+`,
		t AS (SELECT *, lead(first_ns) OVER (PARTITION BY claimed ORDER BY first_ns) AS other FROM (SELECT claimed, hardware, sum(n) AS n, min(first_ns) AS first_ns, max(last_ns) AS last_ns FROM g GROUP BY ALL)),
		o AS (SELECT claimed, coalesce(bool_or(last_ns > other), false) AS turns FROM t GROUP BY claimed HAVING count(*) > 1 AND min(other - last_ns) < 60000000000)
		SELECT claimed AS src, `+l.Sums()+`, CASE WHEN any_value(turns) THEN 1 ELSE 0 END::BIGINT AS "of", list_slice(list_sort(list(DISTINCT 'claimed by ' || hardware)), 1, 3) AS evidence
		FROM g JOIN o USING (claimed) GROUP BY claimed ORDER BY count DESC, src`, l.Args...)
	if err != nil {
		return err
	}
	for _, r := range rows {
		report(l, r, "neighbor", "neighbor discovery")
	}
	return nil
}

func report(l *finding.Look, r finding.Row, kind, protocol string) {
	f := finding.Finding{Kind: kind, Key: kind, Severity: finding.Medium, Confidence: finding.Likely, Evidence: r.Evidence,
		What: plural.Sprintf("two hardware addresses claim %s within a minute over %s", ask.Clip(r.Src, 60), protocol)}
	unasked := int64(r.Number2)
	switch {
	case unasked == r.Count:
		f.What = plural.Sprintf("%s is claimed over ARP in %d {reply|replies} to one that had not asked, by a hardware address that claims another address, too", ask.Clip(r.Src, 60), unasked)
	case r.Number > 0:
		f.What += plural.Sprintf("; %d {claim repeats|claims repeat} what the other said at once, as a bridge of Wi-Fi does", int64(r.Number))
	case r.Of > 0:
		f.Severity = finding.High
		f.What += ", and both do so in turn"
	}
	l.Add(r, f)
}
