package custody

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/pcapsule/pcapsule/cli/console"
	"github.com/pcapsule/pcapsule/exporter/bundle"
	"github.com/pcapsule/pcapsule/exporter/seal"
	"github.com/pcapsule/pcapsule/internal/plural"
)

// Verdicts lists the results of verification: the files, the custody log and the seals of a bundle.
func Verdicts(ctx context.Context, r *bundle.Report, trust seal.Trust) (list []seal.Verdict) {
	problem := map[string]*bundle.Problem{}
	for i := range r.Problems {
		check := map[string]string{bundle.Missing: "files", bundle.Added: "files", bundle.Refused: "files", bundle.Chain: "custody"}[r.Problems[i].Kind]
		if check = cmp.Or(check, "hashes"); problem[check] == nil {
			problem[check] = &r.Problems[i]
		}
	}
	add := func(check, detail string) {
		v := seal.Verdict{Check: check, State: seal.Yes, Detail: detail}
		if p := problem[check]; p != nil {
			v = seal.Verdict{Check: check, State: seal.No, Place: p.File, Detail: p.String()}
		}
		list = append(list, v)
	}
	add("files", plural.Count(int64(r.Files), "file", "files")+", none missing, none added")
	add("hashes", console.ByteSize(r.Bytes)+" match the manifests")
	verdicts, signed := seal.CheckSigned(ctx, r, trust)
	add("custody", plural.Count(int64(len(r.Custody)), "entry", "entries")+", unbroken, head "+r.CustodyHead.String()[:16]+"…"+
		strings.Join(slices.Concat([]string{""}, seal.Uncovered(r, signed, trust), retentionLines(bundle.RetentionOf(r.Custody))), "; "))
	return append(list, verdicts...)
}

// PrintVerdict prints one verdict: its state, the check, and where and why.
func PrintVerdict(w io.Writer, v seal.Verdict) {
	place := ""
	if v.Place != "" && v.State != seal.No {
		place = v.Place + ": "
	}
	_ = console.Row(w, fmt.Sprintf("%-11s  %-9s  ", strings.ReplaceAll(string(v.State), "_", " "), v.Check), console.Line(place+v.Detail))
}
