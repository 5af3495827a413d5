package egress

import (
	"cmp"
	"context"
	"net/netip"
	"slices"
	"strings"

	"github.com/pcapsule/pcapsule/forensics/ask/terms"
	"github.com/pcapsule/pcapsule/forensics/finding"
	"github.com/pcapsule/pcapsule/internal/plural"
)

// behind finds hosts outside that are reached through a proxy. The proxy connects to what it is asked for, so only that
// names the host; what a connection to an address then names counts as its name, as without a proxy.
func behind(ctx context.Context, l *finding.Look) error {
	rows, err := l.Rows(ctx, `WITH `+l.Names()+`, r AS (SELECT `+l.Sent()+`, `+terms.TargetPort+` AS port, host, `+terms.NamesTarget+` AS naming, ts_ns, call_id
			FROM `+l.Calls+` WHERE `+l.Where+` AND proxied_to IS NOT NULL)
		SELECT client AS src, target AS dst, coalesce('port ' || port, '') AS detail, `+finding.Ways+`, count(*) AS count, min(ts_ns) AS first_ns, max(ts_ns) AS last_ns,
			`+l.CallIDs()+`, list_sort(list(DISTINCT lower(host)) FILTER (naming AND NOT `+terms.AddressLike+`)) AS evidence
		FROM (`+l.Named("r")+`) WHERE beyond AND NOT coalesce(src_outside, false) GROUP BY ALL ORDER BY count DESC, src, dst, detail`, l.Args...)
	if err != nil {
		return err
	}
	for _, r := range rows {
		_, err := netip.ParseAddr(r.Dst)
		names := r.Evidence
		if err != nil {
			names = []string{r.Dst}
		}
		if !terms.HostOutside(r.Dst) || l.Allow.Permits(r.Dst, names) || !l.Allow.Destinations() && len(names) > 0 {
			continue
		}
		what := r.Src + " reaches " + r.Dst
		if r.Evidence = slices.DeleteFunc(r.Evidence, func(name string) bool { return name == r.Dst }); err == nil {
			what += " (" + cmp.Or(strings.Join(r.Evidence[:min(3, len(r.Evidence))], ", "), "an address without any name") + ")"
		}
		if r.Detail != "" {
			what += " at " + r.Detail
		}
		add(l, r, plural.Sprintf("%s in %d {call|calls}", what, r.Count))
	}
	return nil
}
