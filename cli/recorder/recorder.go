// Package recorder is the program pcapsule-recorder. Without a command it records a node of
// a cluster until it receives a signal; its commands examine the node and its ring. It links
// neither DuckDB nor C.
//
// Every flag of recording can be set by an environment variable, PCAPSULE_ and its name in
// capitals; a flag overrides the variable. Commands do not read these variables, except to
// find the ring's folder of layouts. Errors and exit codes are those of pcapsule.
package recorder

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	shared "github.com/pcapsule/pcapsule/cli/command"
	"github.com/pcapsule/pcapsule/cli/console"
	"github.com/pcapsule/pcapsule/cli/doctor"
	"github.com/pcapsule/pcapsule/cli/exit"
	"github.com/pcapsule/pcapsule/cli/policyflag"
	"github.com/pcapsule/pcapsule/cli/ringcmd"
	"github.com/pcapsule/pcapsule/forensics/redact"
	"github.com/pcapsule/pcapsule/internal/version"
	node "github.com/pcapsule/pcapsule/recorder"
	"github.com/pcapsule/pcapsule/recorder/agent"
	"github.com/pcapsule/pcapsule/recorder/filter"
	"github.com/pcapsule/pcapsule/recorder/ring"
	"github.com/pcapsule/pcapsule/recorder/ring/signingkey"
)

// Main runs the program and returns its exit code.
func Main(args []string, out, errOut io.Writer) int {
	signal.Ignore(syscall.SIGPIPE)
	ctx, stop := exit.OnSignal()
	defer stop()
	printed := &console.Sink{W: out}
	errOut = &console.Sink{W: errOut}
	c := command(os.LookupEnv, args, errOut)
	c.SetArgs(args)
	c.SetOut(printed)
	c.SetErr(errOut)
	used, err := c.ExecuteContextC(ctx)
	if err == nil {
		err = printed.Err
	}
	recording := used == c
	switch {
	case err == nil:
		return exit.Done
	case !recording && errors.Is(err, syscall.EPIPE): // the reader has closed the pipe, as with | head
		return exit.Done
	case !recording && ctx.Err() != nil:
		fmt.Fprintln(errOut, "interrupted; nothing was left behind")
		return exit.Interrupted
	}
	code, hint := classify(ctx, err, used.CommandPath())
	fmt.Fprintf(errOut, "error: %s\n", console.Lines(exit.Text(err)))
	if hint != "" {
		fmt.Fprintf(errOut, "hint: %s\n", hint)
	}
	return code
}

// Link types of recorded packets, docs/format/segment.md.
const (
	linkCooked   = 276
	linkEthernet = 1
)

const defaultRing = "/var/lib/pcapsule"

type flags struct {
	ring, key                            string
	segmentSize, maxSize                 shared.Size
	reserve                              shared.Reserve
	buffer                               shared.Size
	segmentTime                          time.Duration
	policy                               policyflag.Flags
	keys                                 keyFlags
	capture, cgroup                      string
	interfaces                           []string
	snap                                 uint32
	headersOnly, noOwners, noEvents      bool
	pin                                  string
	node, kubeconfig, kubernetes, labels string
	peers                                string
	keep, patience                       time.Duration
	metrics, logFormat                   string
	transfer, tlsCert, tlsKey, tlsCA     string
	config, rows                         string
	transferRate                         shared.Size
}

// lookup finds an environment variable.
type lookup func(name string) (string, bool)

// command is the program. args are its arguments: if an unknown flag follows a misspelled
// command, the command is the mistake to report.
func command(env lookup, args []string, errOut io.Writer) *cobra.Command {
	var f flags
	c := &cobra.Command{
		Use:   shared.Recorder + " [FILTER]",
		Short: "Record a Kubernetes node's packets into a ring, with their owners and a count of every loss",
		Long: `Record what the sockets of the pods and of the node itself send and receive into a ring of PCAPNG
segments, with the pod, container and process behind each packet and a count of every loss.

Names, labels, owners and services come from the Kubernetes API. If the API is unavailable,
recording continues with what is known, and metrics and health say since when. On SIGTERM the
recorder writes what is in the kernel's buffer, seals the last segment and checks the counters.
The kernel keeps collecting packets (--pin), which the next recorder writes. To end that for good,
run pcapsule-recorder unpin on the node.

FILTER uses tcpdump's syntax. Every flag can be set by an environment variable, such as --max-size
by PCAPSULE_MAX_SIZE. NODE_NAME also sets the node's name, KUBECONFIG the kubeconfig, and
PCAPSULE_FILTER the filter. Sizes are bytes, or have a unit: 512MiB, 20Gi, 1G.

Without a command, pcapsule-recorder records. The commands below examine the node and its ring;
they ignore the environment variables of recording.

` + exitCodes,
		Example: `  pcapsule-recorder --ring /var/lib/pcapsule --max-size 20Gi --max-age 24h
  NODE_NAME=worker-1 pcapsule-recorder --metrics :9464 'not port 22'
  pcapsule-recorder --kubeconfig ~/.kube/config --node worker-1 --ring ./ring
  pcapsule-recorder --keys namespace=shop --keys-to age1…
  pcapsule-recorder --kubernetes=off --node edge-7 --headers-only
  pcapsule-recorder doctor`,
		Version:           version.Of("pcapsule-recorder").Short(),
		SilenceErrors:     true,
		SilenceUsage:      true,
		DisableAutoGenTag: true,
		Args:              cobra.ArbitraryArgs, // words of a filter
		RunE: func(c *cobra.Command, args []string) error {
			if err := shared.CheckFilter(c, args); err != nil {
				return err
			}
			if err := fromEnvironment(c.Flags(), env); err != nil {
				return err
			}
			if text, ok := env("PCAPSULE_FILTER"); ok && len(args) == 0 {
				args = []string{text}
			}
			return run(c.Context(), &f, strings.Join(args, " "), errOut)
		},
	}
	c.SetVersionTemplate("{{.Name}} {{.Version}}\n")
	c.CompletionOptions.DisableDefaultCmd = true
	c.SetFlagErrorFunc(func(at *cobra.Command, err error) error {
		if at == c {
			if word := shared.CheckFilter(c, shared.FirstWords(args)); word != nil {
				return word
			}
		}
		return shared.FlagError(at, err)
	})
	f.define(c.Flags())
	shared.SetHelp(c, shared.Screen(c))
	c.SetHelpCommand(shared.Help(shared.Recorder + " help ring verify"))
	for _, sub := range []*cobra.Command{
		doctor.Command(shared.Recorder, func() string { return layoutsFolder(env) }, nil),
		ringcmd.Command(shared.Recorder, version.Release),
		unpinCommand(),
		shared.Completion(shared.Recorder, "commands and flags"),
		shared.Version(shared.Recorder, 0),
	} {
		sub.Args = shared.CheckArgs(sub.Args)
		c.AddCommand(sub)
	}
	return c
}

// layoutsFolder is the folder where recordings on this node keep the layouts of TLS
// libraries.
func layoutsFolder(env lookup) string {
	if dir, _ := env("PCAPSULE_LAYOUTS"); dir != "" {
		return dir
	}
	dir, _ := env("PCAPSULE_RING")
	if dir == "" {
		dir = defaultRing
	}
	return filepath.Join(dir, "layouts")
}

func (f *flags) define(fl *pflag.FlagSet) {
	fl.SortFlags = false
	fl.StringVar(&f.ring, "ring", defaultRing, "folder of the ring")
	shared.SizeVar(fl, &f.segmentSize, "segment-size", "", 64<<20, node.MinSegment, shared.Largest, "size at which a segment ends")
	fl.DurationVar(&f.segmentTime, "segment-time", time.Minute, "age at which a segment ends")
	shared.SizeVar(fl, &f.maxSize, "max-size", "", 10<<30, 0, shared.Largest, "maximum size of the ring; 0: no limit")
	shared.ReserveVar(fl, &f.reserve, 1<<30, "")
	fl.StringVar(&f.key, "key", "", "private key that signs the records of segments (ed25519, PKCS #8 in PEM), or none; created if it does not exist (default RING.key)")
	fl.StringVar(&f.capture, "capture", string(node.Sockets), "sockets: packets of sockets, with owners; interfaces: frames of network interfaces; both; auto: sockets, or interfaces if this node does not allow sockets")
	fl.StringVar(&f.cgroup, "cgroup", "", "only sockets of this control group and those below it")
	fl.StringArrayVarP(&f.interfaces, "interface", "i", nil, "with --capture=interfaces: only this interface; can be repeated")
	fl.Uint32VarP(&f.snap, "snapshot-length", "s", 0, "bytes to keep of each packet; 0: all")
	fl.BoolVar(&f.headersOnly, "headers-only", false, "keep only network and transport headers")
	shared.BufferVar(fl, &f.buffer)
	fl.StringVar(&f.pin, "pin", node.DefaultPin, "folder of a BPF file system: the kernel keeps collecting packets there while the recorder restarts; see the command unpin; empty: none")
	fl.BoolVar(&f.noOwners, "no-owners", false, "do not find out which process owns a socket")
	fl.BoolVar(&f.noEvents, "no-events", false, "do not record events of processes, the network stack and Kubernetes")
	f.policy.Define(fl)
	f.keys.define(fl)
	fl.StringVar(&f.node, "node", "", "name of this node in Kubernetes (default: $NODE_NAME, else the host name)")
	fl.StringVar(&f.kubeconfig, "kubeconfig", "", "kubeconfig file for the API (default: the pod's service account)")
	fl.StringVar(&f.kubernetes, "kubernetes", "auto", "auto: use the API if there is one; required: exit if there is none; off")
	fl.StringVar(&f.labels, "labels", agent.DefaultLabels, "pod labels to record, separated by commas; * at the end matches any ending; -: none")
	fl.StringVar(&f.peers, "peers", "services", "what is watched of other nodes: services and the pods behind them; pods: all pods too; none")
	fl.DurationVar(&f.keep, "remember", 10*time.Minute, "how long to remember deleted pods")
	fl.DurationVar(&f.patience, "wait", 5*time.Second, "how long to wait for the API before recording begins")
	shared.Between(fl, "segment-time", &f.segmentTime, time.Millisecond, shared.Longest)
	shared.Between(fl, "snapshot-length", &f.snap, 0, math.MaxInt32)
	shared.Between(fl, "remember", &f.keep, 0, shared.Longest)
	shared.Between(fl, "wait", &f.patience, 0, shared.Longest)
	fl.StringVar(&f.metrics, "metrics", ":9464", "address of /metrics, /healthz and /readyz; empty: none")
	fl.StringVar(&f.transfer, "transfer", "", "address where the hub gets segments, by mutual TLS, such as :9465; empty: none")
	shared.SizeVar(fl, &f.transferRate, "transfer-rate", "", 100<<20, 0, shared.Largest, "bytes that the hub gets in a second; 0: no limit")
	fl.StringVar(&f.tlsCert, "tls-cert", "", "certificate for --transfer, a file that is read again when it changes (default: one that is requested from the cluster)")
	fl.StringVar(&f.tlsKey, "tls-key", "", "private key of --tls-cert")
	fl.StringVar(&f.tlsCA, "tls-ca", "", "authority of the hub's certificate, with --tls-cert")
	fl.StringVar(&f.rows, "rows", "", "with --transfer: folder in which pcapsule-hub rows, beside this program, leaves rows of the ring, which are served to the hub; empty: none")
	fl.StringVar(&f.config, "config", "", "name of a RecorderConfig in the pod's namespace, which is applied without a restart and can only restrict what these flags allow; empty: none")
	fl.StringVar(&f.logFormat, "log", "text", "log format on standard error: text or json")
}

// fromEnvironment sets flags that were not given from environment variables.
func fromEnvironment(fl *pflag.FlagSet, env lookup) error {
	var first error
	fl.VisitAll(func(x *pflag.Flag) {
		names := []string{"PCAPSULE_" + strings.ToUpper(strings.ReplaceAll(x.Name, "-", "_"))}
		switch x.Name {
		case "help", "version":
			return
		case "node":
			names = append(names, "NODE_NAME")
		case "kubeconfig":
			names = append(names, "KUBECONFIG")
		}
		for _, name := range names {
			text, ok := env(name)
			if !ok || x.Changed || first != nil || text == "" && name != names[0] {
				continue
			}
			if err := fl.Set(x.Name, text); err != nil {
				first = exit.Usagef("%s: %w", name, errors.Unwrap(err))
			}
		}
	})
	return first
}

func run(ctx context.Context, f *flags, expression string, errOut io.Writer) error {
	o, err := f.options(expression)
	if err != nil {
		return err
	}
	switch f.logFormat {
	case "text":
		o.Log = slog.New(slog.NewTextHandler(errOut, nil))
	case "json":
		o.Log = slog.New(slog.NewJSONHandler(errOut, nil))
	default:
		return shared.OneOf("--log", f.logFormat, []string{"text", "json"})
	}
	if f.kubernetes != "off" {
		o.Cluster, err = agent.Cluster(f.kubeconfig, o.Record.Program)
		switch {
		case err == nil:
		case f.kubernetes == "auto" && errors.Is(err, agent.ErrNoCluster):
			o.Log.Warn("recording without pod names: no kubeconfig and no service account; --kubernetes=off silences this warning")
		case errors.Is(err, agent.ErrNoCluster), f.kubeconfig != "":
			return exit.With(err, exit.Usage, "")
		default:
			return err
		}
	}
	if o.Config.Name != "" && o.Cluster == nil {
		return exit.Usagef("--config needs a Kubernetes API that has the RecorderConfig: give --kubeconfig, or run in a cluster")
	}
	if o.Transfer.Listen != "" && f.tlsCert == "" && o.Cluster == nil {
		return exit.Usagef("--transfer needs a certificate: give --tls-cert, --tls-key and --tls-ca, or a cluster to request one from")
	}
	_, err = agent.Run(ctx, o)
	return err
}

// transferOptions reads the flags for the hub.
func (f *flags) transferOptions() (agent.Transfer, error) {
	t := agent.Transfer{Listen: f.transfer, Cert: f.tlsCert, Key: f.tlsKey, CA: f.tlsCA, Rate: int64(f.transferRate), Rows: f.rows}
	given := 0
	for _, file := range []string{f.tlsCert, f.tlsKey, f.tlsCA} {
		if file != "" {
			given++
		}
	}
	switch {
	case given > 0 && f.transfer == "":
		return t, exit.Usagef("--tls-cert, --tls-key and --tls-ca need --transfer")
	case f.rows != "" && f.transfer == "":
		return t, exit.Usagef("--rows needs --transfer")
	case given == 1, given == 2:
		return t, exit.Usagef("--tls-cert, --tls-key and --tls-ca: give all three or none")
	}
	return t, nil
}

// options reads the flags.
func (f *flags) options(expression string) (agent.Options, error) {
	r := ring.Options{Dir: f.ring, SegmentTime: f.segmentTime, SegmentBytes: int64(f.segmentSize), MaxAge: f.policy.MaxAge.All, MaxBytes: int64(f.maxSize), Reserve: ring.Reserve(f.reserve)}
	o := agent.Options{Peers: f.peers, Keep: f.keep, Patience: f.patience, Listen: f.metrics, Config: agent.Config{Name: f.config}, ChooseKeys: f.keys.choose}
	var err error
	if o.Transfer, err = f.transferOptions(); err != nil {
		return o, err
	}
	o.Record = node.Options{
		Capture: node.Capture(f.capture), Cgroup: f.cgroup, Interface: f.interfaces, Filter: expression, Snap: f.snap,
		HeadersOnly: f.headersOnly, NoOwners: f.noOwners, NoEvents: f.noEvents, Node: f.node, Program: "pcapsule-recorder " + version.Release, Ring: &r,
	}
	if err := shared.CheckBuffer(f.buffer); err != nil {
		return o, err
	}
	switch {
	case f.ring == "":
		return o, exit.Usagef("--ring: must be a folder")
	case !o.Record.Capture.Known():
		return o, shared.OneOf("--capture", f.capture, []string{"sockets", "interfaces", "both", "auto"})
	case len(f.interfaces) > 0 && o.Record.Capture != node.Interfaces && o.Record.Capture != node.Both:
		return o, exit.Usagef("-i needs --capture=interfaces or --capture=both")
	case f.kubernetes != "auto" && f.kubernetes != "required" && f.kubernetes != "off":
		return o, shared.OneOf("--kubernetes", f.kubernetes, []string{"auto", "required", "off"})
	case f.peers != "services" && f.peers != "pods" && f.peers != "none":
		return o, shared.OneOf("--peers", f.peers, []string{"services", "pods", "none"})
	case f.segmentTime <= 0, f.keep <= 0, f.patience < 0:
		return o, exit.Usagef("--segment-time, --remember and --wait: must be times above 0")
	}
	for capture, link := range map[node.Capture]uint16{node.Sockets: linkCooked, node.Interfaces: linkEthernet} {
		if o.Record.Capture != capture && o.Record.Capture != node.Both && (o.Record.Capture != node.Auto || capture != node.Sockets) {
			continue
		}
		// Report a syntax error before waiting for anything.
		if _, err := filter.Compile(expression, link, 0); err != nil {
			return o, err
		}
	}
	o.Record.RingBuffer = uint32(f.buffer)
	o.Record.Pin = f.pin
	if o.Patience == 0 {
		o.Patience = time.Nanosecond
	}
	if o.Record.Node == "" {
		name, err := os.Hostname()
		if err != nil {
			return o, exit.Usagef("finding the host name: %w; give --node", err)
		}
		o.Record.Node = name
	}
	o.Record.Mask = redact.Arguments
	if o.Record.Policy, err = f.policy.Policy(); err != nil {
		return o, exit.WithDefault(err, exit.Usage)
	}
	for label := range strings.SplitSeq(f.labels, ",") {
		if label = strings.TrimSpace(label); label != "" && label != "-" {
			o.Labels = append(o.Labels, label)
		}
	}
	if p := o.Record.Policy; p != nil {
		o.Labels = append(o.Labels, p.LabelNames()...) // rules need these labels
	}
	key, _, err := signingkey.OfRing(f.key, f.ring)
	if err != nil {
		return o, err
	}
	r.Key = key
	return o, f.keys.options(&o, f.headersOnly)
}
