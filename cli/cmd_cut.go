package cli

import (
	"context"
	"errors"
	"time"

	"github.com/spf13/cobra"

	"github.com/pcapsule/pcapsule/cli/command"
	"github.com/pcapsule/pcapsule/cli/exit"
	"github.com/pcapsule/pcapsule/cli/exporting"
	"github.com/pcapsule/pcapsule/exporter"
	"github.com/pcapsule/pcapsule/exporter/bundle"
	"github.com/pcapsule/pcapsule/exporter/derive"
	"github.com/pcapsule/pcapsule/forensics"
)

// cutFlags are the flags of cut.
type cutFlags struct {
	deriveFlags
	from, to string
	workload string
	keys     exporting.Keys
}

func (e *env) cmdCut() *cobra.Command {
	var f cutFlags
	c := &cobra.Command{
		Use:   "cut BUNDLE [FILTER] -o NAME.pcapsule",
		Short: "Make a bundle of selected packets: a time range, a workload, or calls that match a KFL filter",
		Long: `Make a bundle of selected packets, unchanged: the connections whose calls match a KFL
filter, the connections of a workload, or a time range. The tables are rebuilt from these packets.
Names of other workloads and keys of other connections are left out. The original is not changed.`,
		Example: `  pcapsule cut incident.pcapsule 'http && status_code >= 500' -o failed.pcapsule
  pcapsule cut incident.pcapsule --workload shop/payment -o payment.pcapsule
  pcapsule cut incident.pcapsule --from 2026-11-20T09:00:00Z --to 2026-11-20T09:05:00Z -o minutes.pcapsule`,
		Args: cobra.RangeArgs(1, 2),
		RunE: func(c *cobra.Command, args []string) error { return e.runCut(c.Context(), args, &f) },
	}
	f.register(c)
	c.Flags().StringVar(&f.from, "from", "", "keep packets from this time on, "+command.TimeForms)
	c.Flags().StringVar(&f.to, "to", "", "keep packets up to this time, in the same forms")
	c.Flags().StringVar(&f.workload, "workload", "", "keep the connections of this workload, pod, service or process, by its name or as namespace/name")
	f.keys.Register(c.Flags())
	return c
}

// withKeys is options with keys.
func (f *deriveFlags) withKeys(original string, keys *exporting.Keys) (*bundle.Bundle, derive.Options, error) {
	var with exporter.Options
	if err := applyKeys(keys, &with); err != nil {
		return nil, derive.Options{}, err
	}
	f.identities = with.Identities
	b, o, err := f.options(original)
	o.Keys = with.Keys
	return b, o, err
}

func (e *env) runCut(ctx context.Context, args []string, f *cutFlags) error {
	choice := derive.Choice{Said: bundle.DerivedCut{Workload: f.workload}}
	if len(args) > 1 {
		choice.Said.Filter = args[1]
	}
	times, err := command.ParseTimes(f.from, f.to)
	if err != nil {
		return err
	}
	if choice.Said.Filter == "" && f.workload == "" && !times.Given() {
		return exit.Usagef("missing selection: give a KFL filter, --workload, --from or --to")
	}
	b, o, err := f.withKeys(args[0], &f.keys)
	if err != nil {
		return err
	}
	if choice.FromNs, choice.ToNs, err = times.In(span(b.Manifest)); err != nil {
		return err
	}
	if choice.FromNs != 0 {
		choice.Said.FromNs = bundle.At(choice.FromNs)
	}
	if choice.ToNs != 0 {
		choice.Said.ToNs = bundle.At(choice.ToNs)
	}
	if choice.Said.Filter != "" || f.workload != "" {
		if choice.Conns, err = e.connections(ctx, args[0], choice.Said); err != nil {
			return e.questionError(err)
		}
	}
	began := time.Now()
	r, err := derive.Cut(ctx, b, f.output, choice, o)
	if errors.Is(err, derive.ErrNothing) {
		return exit.With(&emptyCutError{args[0]}, exit.Other, "pcapsule query BUNDLE FILTER shows what a filter matches")
	}
	if err != nil {
		return deriveError(err, f.output)
	}
	return f.done(e, r, began)
}

// span returns the times of the first and last packet of a bundle in ns since 1970 UTC; 0 if it has
// none.
func span(m *bundle.Manifest) (first, last int64) {
	if m.Window.FirstNs == nil || m.Window.LastNs == nil {
		return 0, 0
	}
	return int64(*m.Window.FirstNs), int64(*m.Window.LastNs)
}

// emptyCutError is derive.ErrNothing with the bundle.
type emptyCutError struct{ bundle string }

func (e *emptyCutError) Error() string {
	return "the cut keeps no packet of " + e.bundle + ": no bundle was made"
}
func (e *emptyCutError) Unwrap() error { return derive.ErrNothing }

// endpointNames are the columns by which a workload is known.
const endpointNames = `SELECT conn_id FROM connections WHERE $1 IN (src_who, src_name, src_pod, src_service, src_workload, src_process, src_namespace || '/' || src_pod, src_namespace || '/' || src_service, src_namespace || '/' || src_workload)
OR $1 IN (dst_who, dst_name, dst_pod, dst_service, dst_workload, dst_process, dst_namespace || '/' || dst_pod, dst_namespace || '/' || dst_service, dst_namespace || '/' || dst_workload)`

// connections are the connections that a cut keeps.
func (e *env) connections(ctx context.Context, path string, said bundle.DerivedCut) (conns map[int64]bool, err error) {
	c, err := e.openCase(ctx, []string{path})
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, c.Close()) }()
	ctx, cancel := forensics.WithDeadline(ctx, forensics.LongTime)
	defer cancel()
	for _, q := range []struct {
		said  string
		query forensics.Query
	}{
		{said.Filter, forensics.Query{KFL: said.Filter, Columns: []string{"conn_id"}}},
		{said.Workload, forensics.Query{SQL: endpointNames, Args: []any{said.Workload}}},
	} {
		if q.said == "" {
			continue
		}
		found := map[int64]bool{}
		_, err := c.Each(ctx, q.query, nil, func(_ []forensics.Column, row []any) error {
			if n, ok := row[0].(int64); ok && (conns == nil || conns[n]) {
				found[n] = true
			}
			return nil
		})
		if err != nil {
			return nil, err
		}
		conns = found
	}
	return conns, nil
}

func (e *env) cmdMerge() *cobra.Command {
	var f deriveFlags
	var kube, hosts, alerts []string
	var keys exporting.Keys
	c := &cobra.Command{
		Use:   "merge BUNDLE -o NAME.pcapsule",
		Short: "Rebuild a bundle from the same packets with more names, alerts or keys",
		Long: `Make a bundle of the same packets, with names from a Kubernetes dump or a hosts file,
alerts of Suricata or Zeek, or keys that decrypt more of them. The keys that were used are kept in data/keys/, because the
tables cannot be rebuilt without them, so only its owner can read the new bundle.`,
		Example: `  pcapsule merge incident.pcapsule --kube kube.json -o named.pcapsule
  pcapsule merge incident.pcapsule --keys sslkeys.log -o decrypted.pcapsule`,
		Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			b, o, err := f.withKeys(args[0], &keys)
			if err != nil {
				return err
			}
			if o.Kube, o.Hosts, o.Alerts = kube, hosts, alerts; len(kube)+len(hosts)+len(alerts)+len(o.Keys) == 0 {
				return exit.Usagef("nothing to merge: give --kube, --hosts, --alerts or --keys")
			}
			began := time.Now()
			r, err := derive.Merge(c.Context(), b, f.output, o)
			if err != nil {
				return deriveError(e.bundleError(c.Context(), err, f.output), f.output)
			}
			return f.done(e, r, began)
		},
	}
	f.register(c)
	c.Flags().StringArrayVar(&kube, "kube", nil, "output of kubectl get -A -o json; can be repeated")
	c.Flags().StringArrayVar(&hosts, "hosts", nil, "hosts file that names addresses; can be repeated")
	c.Flags().StringArrayVar(&alerts, "alerts", nil, "file with alerts, as in pcapsule bundle; can be repeated")
	keys.Register(c.Flags())
	return c
}
