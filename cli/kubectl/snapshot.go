package kubectl

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/pcapsule/pcapsule/cli/command"
	"github.com/pcapsule/pcapsule/cli/exit"
	"github.com/pcapsule/pcapsule/hub/offer"
	"github.com/pcapsule/pcapsule/internal/plural"
	"github.com/pcapsule/pcapsule/internal/when"
)

// Names of the custom resources for kubectl.
const (
	snapshots = "snapshots.pcapsule.dev"
	captures  = "captures.pcapsule.dev"
)

// snapshot has the fields of a Snapshot or Capture that this command reads; package hub/resource has all of them.
type snapshot struct {
	Metadata struct {
		Namespace string `json:"namespace"`
		Name      string `json:"name"`
		UID       string `json:"uid"`
		Created   string `json:"creationTimestamp"`
	} `json:"metadata"`
	Spec   request `json:"spec"`
	Status struct {
		Phase     string `json:"phase"`
		Snapshot  string `json:"snapshot"` // of a Capture
		Collected string `json:"collected"`
		Packets   int64  `json:"packets"`
		Calls     int64  `json:"calls"`
		Bytes     int64  `json:"bytes"`
		From      string `json:"from"`
		To        string `json:"to"`
		Nodes     []struct {
			Name    string `json:"name"`
			State   string `json:"state"`
			Reason  string `json:"reason"`
			Message string `json:"message"`
		} `json:"nodes"`
		Conditions []struct {
			Type    string `json:"type"`
			Status  string `json:"status"`
			Message string `json:"message"`
		} `json:"conditions"`
	} `json:"status"`
}

// name is a snapshot's name on the command line, [NAMESPACE/]NAME.
func (e *env) name(s *snapshot) string {
	if s.Metadata.Namespace == "" || s.Metadata.Namespace == e.namespace {
		return s.Metadata.Name
	}
	return s.Metadata.Namespace + "/" + s.Metadata.Name
}

// condition returns the message of a condition that has a value.
func (s *snapshot) condition(name, value string) (message string, ok bool) {
	for _, c := range s.Status.Conditions {
		if c.Type == name && c.Status == value {
			return c.Message, true
		}
	}
	return "", false
}

// request is the spec of a Snapshot or Capture.
type request struct {
	Last      string    `json:"last,omitempty"`
	From      string    `json:"from,omitempty"`
	To        string    `json:"to,omitempty"`
	Duration  string    `json:"duration,omitempty"` // of a Capture
	Nodes     []string  `json:"nodes,omitempty"`
	Select    selection `json:"select,omitzero"`
	RetainFor string    `json:"retainFor,omitempty"`
}

// selection is the part of a snapshot that people want.
type selection struct {
	Namespaces []string `json:"namespaces,omitempty"`
	Workloads  []string `json:"workloads,omitempty"`
	Labels     string   `json:"labels,omitempty"`
	Filter     string   `json:"filter,omitempty"`
	KFL        string   `json:"kfl,omitempty"`
}

// filters registers the flags of connections.
func (s *selection) filters(fl *pflag.FlagSet) {
	fl.StringVar(&s.Filter, "bpf-filter", "", "only connections with a packet that matches, in tcpdump syntax")
	fl.StringVar(&s.KFL, "kfl", "", "only connections with a call that matches; applied when the bundles are fetched")
}

func (e *env) cmdSnapshot() *cobra.Command {
	var r request
	var wait, last, retain time.Duration
	var output string
	c := &cobra.Command{
		Use:   "snapshot [[NAMESPACE/]NAME] --last 10m",
		Short: "Freeze a window of the recordings of all nodes",
		Long: `Freeze a window of the recordings of all nodes as a resource Snapshot, and wait until its bundles can be
fetched. If you select pods, only the nodes on which they ran are collected, and the bundles contain
only the connections of these pods. Without NAME, a name is generated. With NAMESPACE, other than that of the hub, the
bundles have the traffic of that namespace only. kubectl describe snapshot shows the state of each node.`,
		Example: `  kubectl pcapsule snapshot incident --last 10m
  kubectl pcapsule snapshot checkout --last 10m --workload shop/Deployment/checkout --kfl 'http && failed'
  kubectl pcapsule snapshot --from 2026-11-20T09:00:00Z --to 2026-11-20T09:05:00Z --node worker-1 -o night`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			if (last == 0) == (r.From == "" && r.To == "") {
				return exit.Usagef("a snapshot needs a window: give --last 10m, or --from and --to")
			}
			r.Last, r.RetainFor = length(last), length(retain)
			if err := r.window(time.Now().UnixNano()); err != nil {
				return err
			}
			name := ""
			if len(args) > 0 {
				name = args[0]
			}
			if output != "" {
				if err := exit.Outside(output); err != nil {
					return err
				}
			}
			s, err := e.create(c.Context(), "Snapshot", name, "snapshot-", r)
			if err != nil {
				return err
			}
			name = e.name(s)
			if wait == 0 && output == "" {
				fmt.Fprintf(e.Out, "%s: created\n", name)
				return nil
			}
			if s, err = e.await(c.Context(), snapshots, name, wait); err != nil {
				return err
			}
			e.summary(s)
			if output != "" {
				return e.fetch(c.Context(), name, output)
			}
			return nil
		},
	}
	fl := c.Flags()
	fl.DurationVar(&last, "last", 0, "length of the window before now, such as 10m")
	command.Between(fl, "last", &last, time.Millisecond, command.Longest)
	fl.StringVar(&r.From, "from", "", "start of the window, "+command.LiveForms)
	fl.StringVar(&r.To, "to", "", "end of the window, in the same forms, at most a day ahead")
	fl.StringSliceVar(&r.Nodes, "node", nil, "only this node; can be repeated")
	fl.StringSliceVar(&r.Select.Namespaces, "of-namespace", nil, "only pods of this namespace; can be repeated")
	fl.StringSliceVar(&r.Select.Workloads, "workload", nil, "only pods of this workload, NAMESPACE/NAME or NAMESPACE/KIND/NAME; can be repeated")
	fl.StringVarP(&r.Select.Labels, "selector", "l", "", "only pods with these labels, such as app=web")
	r.Select.filters(fl)
	fl.DurationVar(&retain, "retain-for", 0, "delete the snapshot this long after it is ready, such as 24h (default: never)")
	command.Between(fl, "retain-for", &retain, time.Second, command.Longest)
	fl.DurationVar(&wait, "wait", 15*time.Minute, "how long to wait until it is ready; 0: do not wait")
	command.Between(fl, "wait", &wait, 0, command.Longest)
	fl.StringVarP(&output, "output", "o", "", "also fetch the bundles into this folder")
	return c
}

// length writes a length of time as the resource has it, "" for 0.
func length(d time.Duration) string {
	if d == 0 {
		return ""
	}
	return d.String()
}

// window writes the times of the flags as the resource has them, RFC 3339.
func (r *request) window(now int64) error {
	times, err := command.ParseTimes(r.From, r.To)
	if err != nil {
		return err
	}
	from, to, err := times.Before(now)
	for _, x := range []struct {
		text *string
		ns   int64
	}{{&r.From, from}, {&r.To, to}} {
		if *x.text != "" {
			*x.text = when.Stamp(x.ns)
		}
	}
	return err
}

// create makes an object of a kind, [NAMESPACE/]NAME. Without a name, the API makes one from prefix.
func (e *env) create(ctx context.Context, kind, name, prefix string, r request) (*snapshot, error) {
	id, namespace := map[string]string{"generateName": prefix}, ""
	if name != "" {
		var err error
		if namespace, name, err = named(name); err != nil {
			return nil, err
		}
		id = map[string]string{"name": name}
	}
	text, err := json.Marshal(map[string]any{"apiVersion": "pcapsule.dev/v1beta1", "kind": kind, "metadata": id, "spec": r})
	if err != nil {
		return nil, fmt.Errorf("writing the resource: %w", err)
	}
	if text, err = e.in(namespace).output(ctx, text, "create", "-f", "-", "-o", "json"); err != nil {
		return nil, err
	}
	var s snapshot
	if err := json.Unmarshal(text, &s); err != nil || !offer.Plain(s.Metadata.Name) {
		return nil, errors.Join(fmt.Errorf("kubectl create returned no name: %.200q", text), err)
	}
	return &s, nil
}

// await waits until a snapshot, or that of a Capture, [NAMESPACE/]NAME, can be fetched.
func (e *env) await(ctx context.Context, kind, name string, wait time.Duration) (*snapshot, error) {
	what := strings.TrimSuffix(kind, "s.pcapsule.dev")
	seen := ""
	for end := time.Now().Add(wait); ; {
		var s snapshot
		if err := e.get(ctx, &s, kind, name); err != nil {
			return nil, err
		}
		if message, no := s.condition("Accepted", "False"); no {
			return nil, fmt.Errorf("%s %s cannot be served: %s", what, name, message)
		}
		switch s.Status.Phase {
		case "Ready":
			return &s, nil
		case "Failed", "Lost":
			message, _ := s.condition("Ready", "False")
			return nil, fmt.Errorf("%s %s failed: %s", what, name, message)
		}
		if now := strings.TrimSpace(s.Status.Phase + " " + s.Status.Collected); now != seen && now != "" {
			e.Note("%s: %s", name, now)
			seen = now
		}
		if time.Now().After(end) {
			namespace, plain, _ := offer.Split(name)
			return nil, exit.With(fmt.Errorf("%s %s is not ready: its phase is %q", what, name, s.Status.Phase), exit.Limit, "kubectl -n "+e.in(namespace).namespace+" describe "+what+" "+plain+" shows why")
		}
		select {
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		case <-time.After(time.Second):
		}
	}
}

// summary prints what a snapshot has, and warns of nodes that are missing. The status of one outside the hub's
// namespace has no counts.
func (e *env) summary(s *snapshot) {
	text := fmt.Sprintf("%s: ready, %s nodes", e.name(s), s.Status.Collected)
	if e.name(s) == s.Metadata.Name {
		text += ", " + plural.Count(s.Status.Packets, "packet", "packets") + ", " + plural.Count(s.Status.Calls, "call", "calls")
	}
	fmt.Fprintln(e.Out, text)
	for _, n := range s.Status.Nodes {
		if n.State == "Missing" || n.State == "Failed" {
			e.Warn("coverage gap: node %s (%s): %s", n.Name, n.Reason, n.Message)
		}
	}
}
