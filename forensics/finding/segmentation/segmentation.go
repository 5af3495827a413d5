// Package segmentation finds connections between namespaces, and from outside into a namespace,
// that are not in the allow-list.
//
// Without pairs of namespaces in the list nothing is reported. Package networkpolicy compares with
// the declared network policies. Connections that were refused or not answered show that something
// blocks them, and are info. Ends without a namespace, such as nodes that probe pods, are ignored.
package segmentation

import (
	"context"
	"strings"

	"github.com/pcapsule/pcapsule/forensics/ask"
	"github.com/pcapsule/pcapsule/forensics/ask/terms"
	"github.com/pcapsule/pcapsule/forensics/finding"
	"github.com/pcapsule/pcapsule/internal/plural"
)

// Kinds of connections.
const (
	between = "between"
	inbound = "inbound"
)

// crossing is the SQL condition for flows from one namespace into another, or from outside into one.
const crossing = `dst_namespace IS NOT NULL AND (src_namespace <> dst_namespace OR src_namespace IS NULL AND src_external)`

var intoNamespaces = finding.Flows(finding.Any(crossing))

// Analyzer returns the analyzer segmentation.
func Analyzer() finding.Analyzer {
	return finding.Analyzer{Name: "segmentation", Basis: finding.Basis{What: "connections into namespaces", Is: []finding.Need{intoNamespaces, finding.OnProxies}}, Title: "disallowed connections between namespaces", Kinds: []string{between, inbound},
		Doc: "Connections between namespaces, and from outside into one, whose pair is not on the allow-list (shop->payments, outside->shop), also through a proxy; info if none was accepted.",
		Steps: []finding.Step{
			{Needs: []finding.Need{{Table: "endpoints_raw", Have: "count(DISTINCT namespace) > 1"}}, Find: noteUnchecked},
			{Needs: []finding.Need{intoNamespaces, finding.Proxied}, Find: find},
		}}
}

// noteUnchecked notes that there is no list to compare with.
func noteUnchecked(ctx context.Context, l *finding.Look) error {
	if len(l.Allow.Pairs) > 0 {
		return nil
	}
	n, err := ask.Count(ctx, l.Case, `SELECT count(DISTINCT namespace) AS n FROM endpoints_raw WHERE namespace IS NOT NULL`)
	if n > 1 {
		l.Note("connections between %d namespaces were not checked: use allow, a list of pairs such as shop->payments", n)
	}
	return err
}

func find(ctx context.Context, l *finding.Look) error {
	if len(l.Allow.Pairs) == 0 {
		return nil
	}
	rows, err := l.Rows(ctx, `SELECT `+terms.Client("src_")+` AS src, `+terms.Who("dst_")+` AS dst, `+terms.Port+` AS detail, coalesce(src_namespace, '`+finding.Outside+`') || ' ' || dst_namespace AS other,
			count(*) AS count, count(*) FILTER (`+terms.Accepted+`) AS "of",
			min(first_ns) AS first_ns, max(last_ns) AS last_ns, arg_min(`+terms.FlowID(l.Case)+`, (first_ns, `+terms.FlowID(l.Case)+`), 3) AS flow_ids
		FROM flows WHERE `+crossing+` AND `+l.Once()+` GROUP BY ALL ORDER BY count DESC, src, dst, detail, other`)
	if err != nil {
		return err
	}
	behind, err := behindProxies(ctx, l)
	for _, r := range append(rows, behind...) {
		if from, to, _ := strings.Cut(r.Other, " "); !l.Allow.Connects(from, to) {
			l.Add(r, claim(r, from, to))
		}
	}
	return err
}

// behindProxies finds what clients ask proxies for in other namespaces. The connections to the proxies and from them count too.
func behindProxies(ctx context.Context, l *finding.Look) ([]finding.Row, error) {
	return l.Rows(ctx, `WITH `+l.Names()+`, r AS (SELECT `+l.Sent()+`, `+terms.TargetPort+` AS port, coalesce(failed, false) AS failed, count(*) AS n, min(ts_ns) AS first_ns, max(ts_ns) AS last_ns, `+l.Some()+`
			FROM `+l.Calls+` WHERE `+l.Where+` AND proxied_to IS NOT NULL GROUP BY ALL)
		SELECT src, dst, coalesce('tcp/' || port, 'tcp') AS detail, coalesce(src_namespace, '`+finding.Outside+`') || ' ' || target_namespace AS other, `+l.Sums()+`, coalesce(sum(n) FILTER (NOT failed), 0)::BIGINT AS "of"
		FROM (`+l.Named("r")+`) WHERE target_namespace IS NOT NULL AND (src_namespace <> target_namespace OR src_namespace IS NULL AND src_outside) GROUP BY ALL ORDER BY count DESC, src, dst, detail, other`, l.Args...)
}

// claim describes connections from one namespace to another.
func claim(r finding.Row, from, to string) finding.Finding {
	seen := "{connection|connections}"
	if r.Via != "" {
		seen = "{call|calls}"
	}
	f := finding.Finding{Kind: between, Severity: finding.High, Confidence: finding.Exact,
		What: plural.Sprintf("%s in %d "+seen+", but %s->%s is not on the allow-list", finding.Reach(r.Src, r.Dst, r.Detail), r.Count, from, to)}
	if from == finding.Outside {
		f.Kind = inbound
	}
	if r.Of == 0 {
		f.Severity, f.What = finding.Info, f.What+"; none was "+finding.Taken(r.Detail)
	}
	return f
}
