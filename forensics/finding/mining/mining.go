// Package mining finds machines that compute for pools of cryptocurrencies, as stolen machines often do.
package mining

import (
	"context"

	"github.com/pcapsule/pcapsule/forensics/finding"
	"github.com/pcapsule/pcapsule/internal/plural"
)

// worked is the SQL condition for messages that only miners and pools send: Stratum, Ethereum's getwork, and the work of
// Monero's pools, whose other methods have ordinary names.
const worked = "protocol = 'jsonrpc' AND (starts_with(method, 'mining.') OR method IN ('eth_submitLogin', 'eth_submitWork', 'eth_submitHashrate', 'eth_getWork', 'keepalived', 'job'))"

// Analyzer returns the analyzer mining.
func Analyzer() finding.Analyzer {
	return finding.Analyzer{Name: "mining", Title: "machines that mine cryptocurrencies", Techniques: []string{"T1496"},
		Basis:    finding.Basis{What: "calls of JSON-RPC", Is: []finding.Need{finding.Calls("'jsonrpc'", finding.Any("protocol = 'jsonrpc'"))}},
		Unproved: "That the owner of the machine does not want it. Pools that are reached with TLS are not seen.",
		Doc:      "Connections with messages of mining pools over JSON-RPC: Stratum (mining.subscribe, mining.notify …), Ethereum (eth_submitLogin, eth_getWork …) and Monero (job, keepalived).",
		Steps:    []finding.Step{{Needs: []finding.Need{finding.Calls("'jsonrpc'", finding.Any(worked))}, Find: find}}}
}

func find(ctx context.Context, l *finding.Look) error {
	// A pool sends work, so that its messages go the other way; both are of one pair.
	rows, err := l.Rows(ctx, l.Groups("method AS method", worked)+`
		SELECT src, dst, `+l.Sums()+`, list_slice(list(DISTINCT method ORDER BY method), 1, 5) AS evidence FROM g GROUP BY src, dst ORDER BY count DESC, src, dst`, l.Args...)
	if err != nil {
		return err
	}
	for _, r := range rows {
		f := finding.Finding{Key: "mining", Severity: finding.Medium, Confidence: finding.Likely, Evidence: r.Evidence,
			What: plural.Sprintf("%s mines a cryptocurrency with %s: %d {message|messages} of a mining pool", r.Src, r.Dst, r.Count)}
		if r.Outside {
			f.Severity = finding.High
		}
		l.Add(r, f)
	}
	return nil
}
