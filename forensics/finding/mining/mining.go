// Package mining finds machines that compute for pools of cryptocurrencies, as stolen machines often do.
package mining

import (
	"context"

	"github.com/pcapsule/pcapsule/forensics/finding"
	"github.com/pcapsule/pcapsule/internal/plural"
)

// SQL conditions for messages that only miners and pools send: Stratum, Ethereum's getwork, and the work of Monero's pools,
// whose other methods have ordinary names.
const (
	worked = "protocol = 'jsonrpc' AND (starts_with(method, 'mining.') OR method IN ('eth_submitLogin', 'eth_submitWork', 'eth_submitHashrate', 'eth_getWork', 'keepalived', 'job'))"
	given  = "method IN ('mining.notify', 'mining.set_target', 'mining.set_difficulty', 'mining.set_extranonce', 'mining.set_version_mask', 'job')" // by the pool
)

// Analyzer returns the analyzer mining.
func Analyzer() finding.Analyzer {
	return finding.Analyzer{Name: "mining", Title: "machines that mine cryptocurrencies", Techniques: []string{"T1496"},
		Basis:    finding.Basis{What: "calls of JSON-RPC", Is: []finding.Need{finding.Calls("'jsonrpc'", finding.Any("protocol = 'jsonrpc'"))}},
		Unproved: "That the owner of the machine did not permit it. Pools that are reached with TLS are not seen.",
		Doc:      "Connections with messages of mining pools over JSON-RPC: Stratum (mining.subscribe, mining.notify …), Ethereum (eth_submitLogin, eth_getWork …) and Monero (job, keepalived).",
		Steps:    []finding.Step{{Needs: []finding.Need{finding.Calls("'jsonrpc'", finding.Any(worked))}, Find: find}}}
}

func find(ctx context.Context, l *finding.Look) error {
	// What a pool sends by itself counts only if nothing of its miner was captured.
	rows, err := l.Rows(ctx, l.Groups("method AS method, "+given+" AS given", worked)+`,
		p AS (SELECT src, dst, given, `+l.Sums()+`, list_slice(list(DISTINCT method ORDER BY method), 1, 5) AS evidence, given::INTEGER::DOUBLE AS number FROM g GROUP BY src, dst, given)
		SELECT * EXCLUDE (given) FROM p WHERE NOT given OR NOT EXISTS (SELECT 1 FROM p m WHERE NOT m.given AND (m.src = p.src AND m.dst = p.dst OR m.src = p.dst AND m.dst = p.src)) ORDER BY count DESC, src, dst`, l.Args...)
	if err != nil {
		return err
	}
	for _, r := range rows {
		f := finding.Finding{Key: "mining", Severity: finding.Medium, Confidence: finding.Likely, Evidence: r.Evidence,
			What: plural.Sprintf("%s mines a cryptocurrency with %s: %d {message|messages} of a mining pool", r.Src, r.Dst, r.Count)}
		if r.Number > 0 {
			f.What = plural.Sprintf("%s gives %s work of a mining pool: %d {message|messages}", r.Src, r.Dst, r.Count)
		}
		if r.Outside {
			f.Severity = finding.High
		}
		l.Add(r, f)
	}
	return nil
}
