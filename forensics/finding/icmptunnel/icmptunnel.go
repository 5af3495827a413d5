// Package icmptunnel finds data that is sent in the echo requests and replies of ICMP.
//
// A reply must repeat the data of its request, and ping sends equal sizes. A tunnel has other data in replies, or data of
// many sizes.
package icmptunnel

import (
	"context"
	"fmt"

	"github.com/pcapsule/pcapsule/forensics/finding"
	"github.com/pcapsule/pcapsule/internal/plural"
)

// What counts as a tunnel between two ends.
const (
	manyOther = 10      // replies with other data than their requests
	manySizes = 15      // different sizes of requests; a search for the MTU has fewer, and does not repeat them
	much      = 8 << 10 // bytes of such requests
)

const echo = "protocol = 'icmp' AND icmp_type IN ('echo_request', 'echo_reply')"

// Analyzer returns the analyzer icmp-tunnel.
func Analyzer() finding.Analyzer {
	return finding.Analyzer{Name: "icmp-tunnel", Title: "data in pings", Kinds: []string{"replies", "sizes"}, Techniques: []string{"T1095", "T1048.003"},
		Basis:    finding.Basis{What: "pings", Is: []finding.Need{finding.Calls("'icmp'", finding.Any(echo))}},
		Unproved: "What was sent: payloads are not in the tables, but the cited packets have them.",
		Doc:      fmt.Sprintf("Two ends between which %d or more echo replies do not repeat the data of their requests, or with echo requests of %d or more different sizes and more than %d KiB.", manyOther, manySizes, much>>10),
		Steps: []finding.Step{{Needs: []finding.Need{finding.Calls("'icmp'", finding.AtLeast(manyOther, echo+" AND NOT icmp_data_echoed")),
			finding.Calls("'icmp'", fmt.Sprintf("count(DISTINCT icmp_length) FILTER (%s) >= %d", echo, manySizes))}, Find: find}}}
}

func find(ctx context.Context, l *finding.Look) error {
	rows, err := l.Rows(ctx, l.Groups("icmp_length AS size, coalesce(NOT icmp_data_echoed, false) AS other, coalesce(icmp_reply_length, 0) AS back", echo)+`
		SELECT src, dst, `+l.Sums()+`, coalesce(sum(n) FILTER (other), 0)::BIGINT AS "of", sum(n * (size + back))::DOUBLE AS number, count(DISTINCT size)::DOUBLE AS number2
		FROM g GROUP BY src, dst HAVING "of" >= `+fmt.Sprint(manyOther)+` OR number2 >= `+fmt.Sprint(manySizes)+` AND sum(n * size) >= `+fmt.Sprint(much)+` AND number2 * 2 <= count ORDER BY number DESC, src, dst`, l.Args...)
	if err != nil {
		return err
	}
	for _, r := range rows {
		f := finding.Finding{Kind: "sizes", Key: "icmp-tunnel", Severity: finding.Medium, Confidence: finding.Likely,
			What: plural.Sprintf("%s and %s exchanged %.0f bytes in %d echo {request|requests} of %d different {size|sizes}", r.Src, r.Dst, r.Number, r.Count, int64(r.Number2))}
		if r.Of >= manyOther {
			f.Kind, f.Severity = "replies", finding.High
			f.What += plural.Sprintf("; %d {reply has|replies have} other data than {its request|their requests}, as a tunnel", r.Of)
		}
		l.Add(r, f)
	}
	return nil
}
