package recorder

import (
	"fmt"
	"path/filepath"
	"strings"

	"github.com/spf13/pflag"

	"github.com/pcapsule/pcapsule/cli/agekey"
	"github.com/pcapsule/pcapsule/cli/exit"
	node "github.com/pcapsule/pcapsule/recorder"
	"github.com/pcapsule/pcapsule/recorder/agent"
	"github.com/pcapsule/pcapsule/recorder/keys"
	"github.com/pcapsule/pcapsule/recorder/ring"
	"github.com/pcapsule/pcapsule/recorder/workload"
)

// keyFlags choose the processes whose TLS keys and plaintext are read.
type keyFlags struct {
	keys, to, plaintext []string
	layouts             string
}

func (f *keyFlags) define(fl *pflag.FlagSet) {
	fl.StringArrayVar(&f.keys, "keys", nil, "read TLS keys of chosen processes: namespace=NAME, pod=NAME, workload=NAME, label=NAME=VALUE or container=NAME (joined by commas, all must match); exe:NAME, pid:NUMBER, cgroup:/PATH, or all; separate several values with spaces, or repeat the flag")
	fl.StringArrayVar(&f.to, "keys-to", nil, "encrypt keys with age for a recipient (age1…, SSH public key) or a file of recipients; can be repeated")
	fl.StringArrayVar(&f.plaintext, "plaintext", nil, "record the data that chosen processes pass to and from their TLS library; same values as --keys; costs 20 to 40 µs per call")
	fl.StringVar(&f.layouts, "layouts", "", "folder with the learned layouts of TLS libraries (default: layouts in the ring)")
}

// options reads the flags. If they choose no process, o.Record.Keys stays nil.
func (f *keyFlags) options(o *agent.Options, headersOnly bool) error {
	k, err := f.choose(f.keys, f.to, f.plaintext, *o.Record.Ring, headersOnly)
	if err != nil || k == nil {
		return err
	}
	for _, list := range [][]workload.Selector{k.Workloads, k.PlaintextWorkloads} {
		for i := range list {
			for _, l := range list[i].Labels {
				o.Labels = append(o.Labels, l.Name) // selectors need these labels
			}
		}
	}
	o.Record.Keys = k
	return nil
}

// choose reads values of the flags; if they choose no process, it returns nil.
func (f *keyFlags) choose(of, to, plaintext []string, r ring.Options, headersOnly bool) (*node.Keys, error) {
	if len(of) == 0 && len(to) > 0 {
		return nil, exit.Usagef("--keys-to needs --keys, which chooses the processes whose keys are read")
	}
	var k node.Keys
	for _, x := range []struct {
		flag      string
		list      []string
		processes *keys.Selector
		workloads *[]workload.Selector
	}{{"--keys", of, &k.Select, &k.Workloads}, {"--plaintext", plaintext, &k.Plaintext, &k.PlaintextWorkloads}} {
		for _, given := range x.list {
			for text := range strings.FieldsSeq(given) {
				if err := addRule(x.processes, x.workloads, text); err != nil {
					return nil, exit.Usagef("%s %q: %w", x.flag, text, err)
				}
			}
		}
	}
	if k.Select.Empty() && len(k.Workloads) == 0 && k.Plaintext.Empty() && len(k.PlaintextWorkloads) == 0 {
		return nil, nil
	}
	if headersOnly {
		return nil, exit.Usagef("--headers-only excludes --keys and --plaintext: leave out one of them")
	}
	var err error
	if k.Recipients, err = agekey.Recipients("--keys-to", to); err != nil {
		return nil, err
	}
	if k.Layouts = f.layouts; k.Layouts == "" {
		k.Layouts = filepath.Join(r.Dir, "layouts")
	}
	return &k, nil
}

// addRule adds one rule. A rule of the form FIELD=VALUE selects workloads.
func addRule(processes *keys.Selector, workloads *[]workload.Selector, text string) error {
	field, _, is := strings.Cut(text, "=")
	if kind, _, colon := strings.Cut(field, ":"); !is || colon && kind != field {
		if err := processes.Add(text); err != nil {
			return fmt.Errorf("%w, or namespace=, pod=, workload=, container= or label= and a value", err)
		}
		return nil
	}
	var s workload.Selector
	for part := range strings.SplitSeq(text, ",") {
		field, value, _ := strings.Cut(part, "=")
		if field == "process" || field == "cgroup" {
			return fmt.Errorf("%s: use exe:, pid: or cgroup: for processes", field)
		}
		if err := s.Add(field, value); err != nil {
			return err
		}
	}
	*workloads = append(*workloads, s)
	return nil
}
