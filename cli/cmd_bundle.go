package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/user"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/pcapsule/pcapsule/cli/command"
	"github.com/pcapsule/pcapsule/cli/console"
	"github.com/pcapsule/pcapsule/cli/exit"
	"github.com/pcapsule/pcapsule/cli/exporting"
	"github.com/pcapsule/pcapsule/exporter"
	"github.com/pcapsule/pcapsule/exporter/bundle"
	"github.com/pcapsule/pcapsule/exporter/dissect"
	"github.com/pcapsule/pcapsule/internal/firstgc"
	"github.com/pcapsule/pcapsule/internal/plural"
	"github.com/pcapsule/pcapsule/internal/version"
)

type bundleFlags struct {
	output       string
	kube         []string
	hosts        []string
	alerts       []string
	keys         exporting.Keys
	embedKeys    bool
	keysTo       []string
	filter       string
	from, to     string
	decodeAs     []string
	only         []string
	times        command.TimeRange // from and to
	without      []string
	jobs         int
	memory       command.Size
	note         string
	caseID       string
	organization string
	anonymous    bool
	strict       bool
}

func (e *env) cmdBundle() *cobra.Command {
	var f bundleFlags
	c := &cobra.Command{
		Use:   "bundle CAPTURE... [-o NAME.pcapsule]",
		Short: "Make a bundle from captures",
		Long: `Make a bundle: a folder with the captures byte for byte, Parquet tables of every call in
them, and hashes of both. Captures are pcap or pcapng files (also compressed with gzip or zstd),
folders of captures, or - for standard input. Damaged files are read as far as possible, and the
damage is counted. The same captures always produce the same bundle. Without -o the bundle is
named after the first capture and created in the current folder.`,
		Example: `  pcapsule bundle capture.pcapng
  kubectl get pods,services,endpointslices,deployments,replicasets,nodes,namespaces,networkpolicies,events -A -o json > kube.json
  pcapsule bundle capture.pcapng --keys sslkeys.log -o incident.pcapsule
  pcapsule bundle node1.pcap node2.pcap.gz --kube kube.json -o incident.pcapsule
  tcpdump -i any -w - | pcapsule bundle - -o live.pcapsule`,
		Args: cobra.MinimumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error { return e.runBundle(c, args, &f) },
	}
	fl := c.Flags()
	f.shared(fl)
	fl.Lookup("output").Usage += " (default: the first capture's name, in the current folder)"
	fl.StringVar(&f.filter, "filter", "", "put only packets that match this tcpdump filter into the tables")
	fl.StringVar(&f.from, "from", "", "put only packets from this time on into the tables, "+command.DayForms)
	fl.StringVar(&f.to, "to", "", "put only packets up to this time into the tables, in the same forms")
	for _, flag := range []string{"only", "without"} {
		cobra.CheckErr(c.RegisterFlagCompletionFunc(flag, completeProtocols))
	}
	return c
}

// shared registers the flags of every command that makes a bundle.
func (f *bundleFlags) shared(fl *pflag.FlagSet) {
	fl.StringVarP(&f.output, "output", "o", "", "bundle to make, a name ending in .pcapsule")
	fl.StringArrayVar(&f.kube, "kube", nil, "output of kubectl get -A -o json; can be repeated")
	fl.StringArrayVar(&f.hosts, "hosts", nil, "hosts file that names addresses; can be repeated")
	fl.StringArrayVar(&f.alerts, "alerts", nil, "file with what Suricata (EVE) or Zeek (notice, intel, weird, conn) said about the same traffic; can be repeated")
	f.keys.Register(fl)
	fl.BoolVar(&f.embedKeys, "embed-keys", false, "keep the keys that decrypt connections in the bundle (data/keys/)")
	fl.StringArrayVar(&f.keysTo, "keys-to", nil, "with --embed-keys: encrypt the keys with age to this recipient (age1…, or a file of recipients); can be repeated")
	fl.StringArrayVar(&f.decodeAs, "decode-as", nil, "protocol of a server port, such as tcp/9000=redis; can be repeated")
	fl.StringSliceVar(&f.only, "only", nil, "dissect only these protocols and those inside them (pcapsule protocols lists them); other payload becomes calls of tcp, udp or ip")
	fl.StringSliceVar(&f.without, "without", nil, "do not dissect these protocols, also where others carry them")
	jobsFlag(fl, &f.jobs)
	memoryFlag(fl, &f.memory)
	fl.StringVar(&f.note, "note", "", "note for the custody log, one line")
	fl.StringVar(&f.caseID, "case", "", "number of the case or exhibit (External-Identifier in bag-info.txt)")
	fl.StringVar(&f.organization, "organization", "", "organization that makes the bundle (Source-Organization in bag-info.txt)")
	fl.BoolVar(&f.anonymous, "anonymous", false, "leave user and host out of the custody log")
	fl.BoolVar(&f.strict, "strict", false, "if there is a warning, make no bundle and exit with 4")
}

func (e *env) runBundle(c *cobra.Command, args []string, f *bundleFlags) error {
	if f.output == "" {
		f.output = outputOf(args[0])
	}
	o, err := f.options(e)
	if err != nil {
		return err
	}
	args, u, err := e.unzip(c.Context(), args, f.output)
	if err != nil {
		return err
	}
	defer u.remove()
	if len(u.notes) > 0 {
		o.Custody.Note = strings.TrimPrefix(strings.Join(append([]string{o.Custody.Note}, u.notes...), "; "), "; ")
	}
	bar := e.Progress()
	o.Progress = drawn(bar)
	began := time.Now()
	m, err := exporter.Run(c.Context(), args, f.output, o)
	bar.Clear()
	if err != nil {
		return e.bundleError(c.Context(), err, f.output)
	}
	for _, w := range m.Warnings {
		e.Warn("%s", w)
	}
	if n := m.Accounts.Counters["identity"]["hosts_addresses_not_captured"]; n > 0 {
		e.Note("%s", plural.Sprintf("%d {address|addresses} of the hosts files {has|have} no packets in the captures", n))
	}
	var calls int64
	for _, n := range m.Calls {
		calls += n
	}
	fmt.Fprintf(e.Out, "%s: %s, %s, %s, in %.1f s\n", f.output, plural.Count(m.Accounts.Packets, "packet", "packets"),
		console.ByteSize(m.Accounts.Bytes), plural.Count(calls, "call", "calls"), time.Since(began).Seconds())
	return nil
}

// outputOf returns the default name of a capture's bundle. The bundle goes into the current
// folder, because the capture's own folder may be one that should not be written to.
func outputOf(capture string) string {
	if capture == "-" {
		return "stdin.pcapsule"
	}
	if abs, err := filepath.Abs(capture); err == nil { // resolves . and .. to names
		capture = abs
	}
	name := filepath.Base(capture)
	for _, end := range []string{".zip", ".gz", ".zst", ".pcap", ".pcapng", ".cap"} {
		if short := strings.TrimSuffix(name, end); short != "" {
			name = short
		}
	}
	return name + ".pcapsule"
}

// options reads the flags. It refuses an output that cannot be created.
func (f *bundleFlags) options(e *env) (exporter.Options, error) {
	o := exporter.Options{Kube: f.kube, Hosts: f.hosts, Alerts: f.alerts, Filter: f.filter, Only: f.only, Without: f.without, Jobs: f.jobs, Release: version.Release, Stdin: e.In}
	err := newBundle(f.output)
	if err != nil {
		return o, err
	}
	if f.times, err = command.ParseDayTimes(f.from, f.to); err != nil {
		return o, err
	}
	if f.times.Given() {
		o.TimesOf = f.times.Since
	}
	if o.DecodeAs, err = parseDecodeAs(f.decodeAs); err != nil {
		return o, err
	}
	o.Memory = limitMemory(f.memory)
	firstgc.Then(growth)
	if err := f.keyOptions(&o); err != nil {
		return o, err
	}
	o.Custody = madeBy(f.anonymous)
	o.Custody.Program = bundle.ThisProgram
	o.Custody.Note, o.Custody.Identifier, o.Custody.Organization = f.note, f.caseID, f.organization
	o.Accept = func(m *bundle.Manifest) error {
		if !f.strict || len(m.Warnings) == 0 {
			return nil
		}
		return &strictError{m.Warnings}
	}
	return o, nil
}

// madeBy returns the user and host for the custody log; empty if anonymous.
func madeBy(anonymous bool) (o bundle.CreateOptions) {
	if anonymous {
		return o
	}
	o.Host, _ = os.Hostname()
	if u, err := user.Current(); err == nil {
		o.User = u.Username
	}
	return o
}

// newBundle refuses the name of a bundle that cannot be created.
func newBundle(output string) error {
	if output == "" {
		return exit.Usagef("missing output: give -o NAME.pcapsule")
	}
	if base := filepath.Base(filepath.Clean(output)); !strings.HasSuffix(base, ".pcapsule") || base == ".pcapsule" {
		return exit.Usagef("output %s: must be a name ending in .pcapsule", output)
	}
	return exit.NewOutput(output)
}

// strictError ends a run with --strict before the bundle is renamed to its final name.
type strictError struct{ warnings []string }

// Error implements error.
func (s *strictError) Error() string {
	return "--strict: " + plural.Count(int64(len(s.warnings)), "warning", "warnings")
}

func (e *env) bundleError(ctx context.Context, err error, output string) error {
	var in *exporter.InputError
	var strict *strictError
	var keys *exporter.KeysError
	var alerts *exporter.AlertsError
	var protocols *exporter.ProtocolsError
	switch {
	case errors.As(err, &protocols) && protocols.Unknown != "":
		return exit.With(err, exit.Usage, likelyProtocol(protocols.Unknown))
	case errors.As(err, &protocols):
		return exit.With(err, exit.Usage, "see pcapsule protocols")
	case errors.As(err, &strict):
		for _, w := range strict.warnings {
			e.Warn("%s", w)
		}
		return exit.With(err, exit.Damaged, "nothing was left behind; without --strict the bundle is made and lists the warnings")
	case errors.As(err, &keys):
		return keysError(err)
	case errors.As(err, &alerts):
		return exit.With(err, exit.NotCapture, "give eve.json of Suricata, or notice, intel, weird or conn of Zeek")
	case errors.As(err, &in) && exitCode(ctx, err) == exit.Other:
		return exit.With(err, exit.NotCapture, "")
	case in == nil:
		return exit.OutputError(err, output)
	}
	return err
}

func parseDecodeAs(list []string) (out []dissect.DecodeAs, err error) {
	for _, s := range list {
		left, name, ok := strings.Cut(s, "=")
		transport, port, ok2 := strings.Cut(left, "/")
		n, err := strconv.ParseUint(port, 10, 16)
		if !ok || !ok2 || err != nil || transport != "tcp" && transport != "udp" {
			return nil, exit.Usagef("--decode-as %q: must be tcp/PORT=PROTOCOL or udp/PORT=PROTOCOL", s)
		}
		d := dissect.DecodeAs{Port: uint16(n), Protocol: name}
		if transport == "udp" {
			d.Transport = dissect.UDP
		}
		if err := knownProtocol(d); err != nil {
			return nil, err
		}
		out = append(out, d)
	}
	return out, nil
}

func knownProtocol(d dissect.DecodeAs) error {
	for _, p := range exporter.Protocols() {
		if p.Name == d.Protocol && p.New != nil && slices.Contains(p.Transports, d.Transport) {
			return nil
		}
	}
	return exit.With(fmt.Errorf("--decode-as: no protocol %q over %s", d.Protocol, d.Transport), exit.Usage, likelyProtocol(d.Protocol))
}

// memoryFlag is --memory of the commands that dissect.
func memoryFlag(fl *pflag.FlagSet, to *command.Size) {
	*to = 256 << 20
	fl.Var(to, "memory", "memory limit; connections that do not fit end early, with an anomaly")
	command.Between(fl, "memory", to, minMemory, command.Largest)
}

// jobsFlag is --jobs of the commands that dissect.
func jobsFlag(fl *pflag.FlagSet, to *int) {
	fl.IntVar(to, "jobs", 0, "number of workers; 0: one per processor; the output is always the same")
	command.Between(fl, "jobs", to, 0, 1024)
}

// minMemory is below the memory of the fixed parts of a bundle run.
const minMemory = 64 << 20

// growth is by how many percent of what lives the heap of bundle grows before it is collected, while it is below its
// limit: little of that lives. Redactions keep more.
const growth = 200

// limitMemory makes the collector work harder as the limit comes near, and returns the
// limit for exporter.Options.
func limitMemory(s command.Size) int64 {
	debug.SetMemoryLimit(exporter.HeapLimit(int64(s)))
	return int64(s)
}
