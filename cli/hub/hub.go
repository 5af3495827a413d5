// Package hub is the program pcapsule-hub, which runs in a cluster until it receives a signal.
//
// Every flag can be set by an environment variable, PCAPSULE_ and its name in capitals; a flag
// overrides the variable.
package hub

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/netip"
	"net/url"
	"os"
	"runtime/debug"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"k8s.io/klog/v2"

	shared "github.com/pcapsule/pcapsule/cli/command"
	"github.com/pcapsule/pcapsule/cli/console"
	"github.com/pcapsule/pcapsule/cli/exit"
	"github.com/pcapsule/pcapsule/exporter"
	"github.com/pcapsule/pcapsule/exporter/bundle"
	"github.com/pcapsule/pcapsule/forensics/redact"
	"github.com/pcapsule/pcapsule/hub"
	"github.com/pcapsule/pcapsule/hub/collect"
	"github.com/pcapsule/pcapsule/hub/control"
	"github.com/pcapsule/pcapsule/hub/download"
	"github.com/pcapsule/pcapsule/hub/jobs"
	"github.com/pcapsule/pcapsule/internal/accesslog"
	"github.com/pcapsule/pcapsule/internal/version"
)

// Main runs the program and returns its exit code.
func Main(args []string, out, errOut io.Writer) int {
	ctx, stop := exit.OnSignal()
	defer stop()
	c := command(os.LookupEnv, errOut)
	c.SetArgs(args)
	c.SetOut(out)
	c.SetErr(errOut)
	ran, err := c.ExecuteContextC(ctx)
	var coded *exit.Error
	code := exit.Other
	switch {
	case err == nil:
		return exit.Done
	case errors.As(err, &coded):
		code = coded.Code
	case exit.IsDisk(err):
		code = exit.Disk
	}
	fmt.Fprintf(errOut, "error: %s\n", console.Lines(exit.Text(err)))
	switch {
	case coded != nil && coded.Hint != "":
		fmt.Fprintf(errOut, "hint: %s\n", coded.Hint)
	case code == exit.Usage:
		fmt.Fprintf(errOut, "hint: see %s --help\n", ran.CommandPath())
	}
	return code
}

type flags struct {
	namespace, dir, listen, health, kubeconfig, identity, logFormat, job, answers, access, store string
	memory, large, liveBytes, rate                                                               shared.Size
	tenants                                                                                      control.Tenants
}

func command(env func(string) (string, bool), errOut io.Writer) *cobra.Command {
	var f flags
	c := &cobra.Command{
		Use:   "pcapsule-hub [flags]",
		Short: "Collect the recordings of a cluster's nodes into snapshots",
		Long: `Serve the resource Snapshot of Kubernetes: pin a window on all nodes at once,
collect the segments, make a bundle for each node, and hand the bundles out to
pcapsule fetch. It also signs the certificates of recorders.

With --job, Kubernetes Jobs make the bundles of large snapshots (pcapsule-hub
part). The hub continues after a restart. Every flag can be set by an environment
variable, such as --data by PCAPSULE_DATA. POD_NAMESPACE also sets the namespace,
and POD_NAME the identity.

Exit codes: 0 ended by a signal; 1 other; 2 usage; 6 disk.`,
		Example:           `  pcapsule-hub --namespace pcapsule --data /var/lib/pcapsule-hub`,
		Version:           version.Of("pcapsule-hub").Short(),
		SilenceErrors:     true,
		SilenceUsage:      true,
		DisableAutoGenTag: true,
		Args:              noArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if err := fromEnvironment(c.Flags(), env); err != nil {
				return err
			}
			o, err := f.options(c.OutOrStdout(), errOut)
			if err != nil {
				return err
			}
			return hub.Run(c.Context(), o)
		},
	}
	c.SetVersionTemplate("{{.Name}} {{.Version}}\n")
	c.CompletionOptions.DisableDefaultCmd = true
	c.SetFlagErrorFunc(shared.FlagError)
	fl := c.Flags()
	fl.SortFlags = false
	fl.StringVar(&f.namespace, "namespace", "", "namespace of the snapshots that are served, and of recorders (default: $POD_NAMESPACE)")
	fl.StringVar(&f.dir, "data", "/var/lib/pcapsule-hub", "folder for collected files and bundles")
	fl.StringVar(&f.listen, "listen", ":8443", "address where bundles are handed out, by HTTPS")
	shared.SizeVar(fl, &f.rate, "download-rate", "", 32<<20, 0, shared.Largest, "bytes that all readers together get in a second; 0: no limit")
	fl.StringVar(&f.health, "health", ":9464", "address of /healthz and /readyz; empty: none")
	fl.StringVar(&f.kubeconfig, "kubeconfig", "", "kubeconfig file for the API (default: the pod's service account)")
	shared.SizeVar(fl, &f.memory, "memory", "", shared.Size(exporter.DefaultMemory), minMemory, shared.Largest, "memory for making a bundle")
	fl.StringVar(&f.store, "store", "", "object storage that gets a copy of every bundle, and from which lost ones are restored: s3://BUCKET/PREFIX, gs://, azblob:// or file:///FOLDER; empty: none")
	f.limits(fl)
	fl.StringVar(&f.identity, "identity", "", "name of this hub among several (default: $POD_NAME, else the host name)")
	fl.StringVar(&f.logFormat, "log", "text", "log format on standard error: text or json")
	fl.StringVar(&f.job, "job", "", "file with the Job that makes the bundles of a large snapshot; empty: the hub makes all")
	shared.SizeVar(fl, &f.large, "job-threshold", "", 4<<30, 0, shared.Largest, "size of all parts above which a snapshot is large; 0: never")
	shared.SizeVar(fl, &f.liveBytes, "live-copies", "", 2<<30, 0, shared.Largest, "size of all copies of the rings that a LiveConfig chooses; 0: none is followed")
	fl.StringVar(&f.answers, "answers", "", "MCP server beside the hub, such as http://127.0.0.1:8898, to which questions are passed on; empty: none")
	fl.StringVar(&f.access, "access-log", "-", "file to which a JSON line is appended for every request for bundles and every question; -: standard output; empty: none")
	shared.SetHelp(c, shared.Screen(c))
	c.SetHelpCommand(shared.Help("pcapsule-hub help part"))
	c.AddCommand(partCommand(env), rowsCommand(env, errOut))
	return c
}

// limits registers the flags about snapshots in other namespaces.
func (f *flags) limits(fl *pflag.FlagSet) {
	t := &f.tenants
	fl.IntVar(&t.Snapshots, "tenant-snapshots", 0, "snapshots that each other namespace may have, of its own traffic; 0: none is served")
	shared.Between(fl, "tenant-snapshots", &t.Snapshots, 0, 1000)
	fl.DurationVar(&t.Window, "tenant-window", time.Hour, "longest window of these")
	shared.Between(fl, "tenant-window", &t.Window, time.Second, shared.Longest)
	fl.DurationVar(&t.RetainFor, "tenant-retain-for", 24*time.Hour, "how long these are kept at most")
	shared.Between(fl, "tenant-retain-for", &t.RetainFor, time.Minute, shared.Longest)
}

// noArgs refuses arguments that are not flags.
func noArgs(_ *cobra.Command, args []string) error {
	if len(args) > 0 {
		return exit.Usagef("unexpected argument %q", args[0])
	}
	return nil
}

// fromEnvironment sets flags that were not given from environment variables.
func fromEnvironment(fl *pflag.FlagSet, env func(string) (string, bool)) (first error) {
	also := map[string]string{"namespace": "POD_NAMESPACE", "identity": "POD_NAME", "kubeconfig": "KUBECONFIG"}
	fl.VisitAll(func(x *pflag.Flag) {
		for _, name := range []string{"PCAPSULE_" + strings.ReplaceAll(strings.ToUpper(x.Name), "-", "_"), also[x.Name]} {
			text, ok := env(name)
			if !ok || text == "" || x.Changed || first != nil || x.Name == "help" || x.Name == "version" {
				continue
			}
			if err := fl.Set(x.Name, text); err != nil {
				first = exit.Usagef("%s: %w", name, err)
			}
		}
	})
	return first
}

// options reads the flags.
func (f *flags) options(out, errOut io.Writer) (hub.Options, error) {
	o := hub.Options{Namespace: f.namespace, Tenants: f.tenants, Dir: f.dir, Listen: f.listen, Rate: int64(f.rate), Health: f.health, Identity: f.identity, Release: version.Release}
	switch f.logFormat {
	case "text":
		o.Log = slog.New(slog.NewTextHandler(errOut, nil))
	case "json":
		o.Log = slog.New(slog.NewJSONHandler(errOut, nil))
	default:
		return o, shared.OneOf("--log", f.logFormat, []string{"text", "json"})
	}
	klog.SetSlogLogger(o.Log) // of client-go
	for _, needed := range []struct{ flag, value string }{{"namespace", f.namespace}, {"data", f.dir}, {"listen", f.listen}} {
		if needed.value == "" {
			return o, exit.Usagef("--%s is missing", needed.flag)
		}
	}
	limitHeap(f.memory)
	if err := cmp.Or(f.jobs(&o), f.live(&o), f.copies(&o), f.log(&o, out)); err != nil {
		return o, err
	}
	x := &maker{memory: int64(f.memory), turn: make(chan struct{}, 1)}
	o.Cutter = x
	o.Make = x.make
	o.Count, o.Stamp = count, stamp
	if o.Identity == "" {
		name, err := os.Hostname()
		if err != nil {
			return o, exit.Usagef("finding the host name: %w; give --identity", err)
		}
		o.Identity = name
	}
	var err error
	if o.Cluster, err = hub.Cluster(f.kubeconfig, "pcapsule-hub "+version.Release); err != nil {
		return o, exit.With(err, exit.Usage, "")
	}
	return o, nil
}

// jobs reads the flags about Jobs.
func (f *flags) jobs(o *hub.Options) error {
	if o.Large = int64(f.large); o.Large == 0 || f.job == "" {
		return nil
	}
	var err error
	if o.Job, err = jobs.Read(f.job); err != nil {
		return exit.With(err, exit.Usage, "")
	}
	return nil
}

// log opens the access log.
func (f *flags) log(o *hub.Options, out io.Writer) (err error) {
	var log *accesslog.Log
	switch f.access {
	case "":
		return nil
	case "-":
		log = accesslog.To(out)
	default:
		if log, err = accesslog.Open(f.access); err != nil {
			return exit.With(err, exit.Disk, "pass --access-log a file that you can write to")
		}
	}
	o.Record = recordTo(log)
	return nil
}

// recordTo writes requests to a log, with secrets masked.
func recordTo(log *accesslog.Log) func(download.Request) error {
	policy := redact.Default()
	return func(r download.Request) error {
		e := accesslog.Entry{Time: r.At.UTC().Format(time.RFC3339Nano), Client: r.Client, User: r.User, Remote: r.Remote, Method: r.Method, Name: r.Path, Ms: float64(r.Took.Microseconds()) / 1000, Error: r.Error}
		e.Ask([]byte(r.Query), func(text string) string {
			masked, _ := policy.Text("", text)
			return masked
		})
		return log.Write(e)
	}
}

// live reads the flags about what is recorded now.
func (f *flags) live(o *hub.Options) error {
	if o.LiveBytes = int64(f.liveBytes); f.answers == "" {
		return nil
	}
	var err error
	if o.Answers, err = url.Parse(f.answers); err != nil || o.Answers.Scheme != "http" || o.Answers.Path != "" || !loopback(o.Answers.Hostname()) {
		return exit.Usagef("--answers %q: must be http://127.0.0.1:PORT; it has no password", f.answers)
	}
	return nil
}

// copies reads the flag about copies of bundles.
func (f *flags) copies(o *hub.Options) error {
	if f.store == "" {
		return nil
	}
	b, err := newBucket(context.Background(), f.store)
	if err == nil {
		o.Store = b
	}
	return err
}

// loopback reports whether an address is this machine, or in a pod this pod.
func loopback(host string) bool {
	ip, err := netip.ParseAddr(host)
	return err == nil && ip.IsLoopback()
}

const minMemory = 64 << 20 // bytes for making a bundle

// limitHeap limits the heap of this program to what making a bundle with this memory needs.
func limitHeap(memory shared.Size) { debug.SetMemoryLimit(exporter.HeapLimit(int64(memory))) }

// count reads the numbers of a bundle.
func count(path string) (n collect.Counts, err error) {
	b, err := bundle.Open(path)
	if err != nil {
		return n, err
	}
	n.Packets = b.Manifest.Accounts.Packets
	for _, k := range b.Manifest.Calls {
		n.Calls += k
	}
	return n, nil
}
