// Package exporter turns capture files into a bundle.
//
// A run has four stages, each in its own package:
//
//	internal/read      opens inputs, merges packets by time, decodes, cuts rounds
//	internal/assemble  16 shards by flow hash: streams in order, dissected into rows
//	internal/join      one order of rows, final numbers, who was behind an address
//	internal/write     rows to Parquet tables
//
// Only rounds (internal/round) cross from one stage to the next.
//
// The same inputs and options give the same bytes below data/, whatever the clock, the machine,
// the number of workers or the order of arguments. The rounds in progress and the budgets of the
// shards limit memory; the size of the captures does not affect it.
package exporter

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"

	"filippo.io/age"

	"github.com/pcapsule/pcapsule/exporter/bundle"
	"github.com/pcapsule/pcapsule/exporter/dissect"
	"github.com/pcapsule/pcapsule/exporter/internal/assemble"
	"github.com/pcapsule/pcapsule/exporter/internal/flow"
	"github.com/pcapsule/pcapsule/exporter/internal/join"
	"github.com/pcapsule/pcapsule/exporter/internal/memory"
	"github.com/pcapsule/pcapsule/exporter/internal/proof"
	"github.com/pcapsule/pcapsule/exporter/internal/read"
	"github.com/pcapsule/pcapsule/exporter/internal/round"
	"github.com/pcapsule/pcapsule/exporter/internal/write"
)

// Options select the contents of a bundle. The zero value imports everything.
type Options struct {
	Kube     []string // files with kubectl output
	Hosts    []string // hosts files
	Alerts   []string // logs of Suricata and Zeek
	Keys     []string // key logs, RSA private keys, captures with secrets in them
	Filter   string   // in the syntax of pcap-filter(7); packets that do not match stay only in the packet files
	FromNs   int64    // earlier packets are excluded from the tables; 0 is no limit
	ToNs     int64    // later packets are excluded from the tables; 0 is no limit
	DecodeAs []dissect.DecodeAs

	// TimesOf, if set, returns FromNs and ToNs for a recording whose first packet has the time first,
	// in ns since 1970 UTC; 0 if no packet is near its beginning.
	TimesOf func(first int64) (fromNs, toNs int64, err error)

	Only    []string // names of the protocols to dissect; empty: all
	Without []string // names of protocols that are not dissected

	Identities []age.Identity  // decrypt key files encrypted with age
	EmbedKeys  bool            // keep the keys that decrypt connections in the bundle
	MoveInputs bool            // Derive moves the packets of its bundle instead of copying them
	KeysTo     []age.Recipient // encrypt the keys for these recipients; such a bundle differs in each run

	Jobs     int    // workers; 0 means one per CPU. They change no byte of the bundle.
	Memory   int64  // memory limit in bytes; 0 means DefaultMemory. It determines how many connections are followed at once.
	Release  string // of this program
	Custody  bundle.CreateOptions
	Stdin    io.Reader      // content of input "-"
	Progress func(Progress) // called a few times a second at most; may be nil
	// Accept is called with the manifest before the bundle gets its name. If it returns an
	// error, Run returns that error and leaves nothing behind. May be nil.
	Accept  func(*bundle.Manifest) error
	Repanic bool // a dissector's panic ends the program, for tests

	trace bool                               // calls remember where their bytes were captured
	keep  func(file int32, index int64) bool // packets that are dissected; nil: all
}

// DefaultMemory is the memory that a run stays below unless Options say otherwise.
const DefaultMemory = int64(memory.Default)

// HeapLimit is the limit for Go's collector in a run that stays below memory, for
// debug.SetMemoryLimit.
func HeapLimit(bytes int64) int64 { return memory.Limit(bytes).Heap() }

func (o *Options) limit() memory.Limit { return cmp.Or(memory.Limit(o.Memory), memory.Default) }

// Progress is the progress of Run.
type Progress struct {
	ReadBytes, TotalBytes int64 // TotalBytes is 0 if the size is unknown
	Packets, Calls        int64
	Stage                 string // reading or finishing
}

// ErrNoInput means that there is no capture.
var ErrNoInput = read.ErrNoInput

// InputError is an input that cannot be used.
type InputError = read.InputError

// AlertsError is a file of alerts that cannot be used.
type AlertsError = read.AlertsError

// KeysError is a key file that cannot be used.
type KeysError = read.KeysError

// Run makes a bundle at output from the capture files, folders and "-" in inputs. It returns
//   - the manifest of the finished bundle, even if captures were damaged,
//   - bundle.ErrExists if output already exists,
//   - *InputError for an input that cannot be opened or is not a capture, or with a link type
//     for which the filter cannot be evaluated,
//   - *KeysError for a key file that cannot be used,
//   - *filter.Error for an invalid filter,
//   - *ProtocolsError for protocols that cannot be selected,
//   - the context's error after an interrupt.
//
// After an error nothing is left behind.
func Run(ctx context.Context, inputs []string, output string, o Options) (*bundle.Manifest, error) {
	if err := o.checkProtocols(); err != nil {
		return nil, err
	}
	sources, err := read.Open(inputs, o.Stdin)
	if err != nil {
		return nil, err
	}
	defer sources.Close()
	if o.TimesOf != nil {
		if o.FromNs, o.ToNs, err = o.TimesOf(sources.First()); err != nil {
			return nil, err
		}
	}
	b, err := bundle.Create(output, o.Custody)
	if err != nil {
		return nil, err
	}
	defer b.Abort()
	stop := context.AfterFunc(ctx, b.Abort)
	defer stop()

	err = sources.KeepStdin(filepath.Dir(b.Path("data/packets/stdin")), len(o.Keys) > 0)
	var m *bundle.Manifest
	if err == nil {
		m, err = build(ctx, sources, b, o)
	}
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	if err != nil {
		return nil, err
	}
	if o.Accept != nil {
		if err := o.Accept(m); err != nil {
			return nil, err
		}
	}
	o.progress(Progress{Stage: "finishing", Packets: m.Accounts.Packets})
	if err := b.Finish(m); err != nil {
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		return nil, err
	}
	return m, nil
}

// build writes everything below data/ except the manifest, which it returns.
func build(ctx context.Context, sources *read.Inputs, b *bundle.Builder, o Options) (*bundle.Manifest, error) {
	who, err := read.LoadIdentity(b, o.Kube, o.Hosts)
	if err != nil {
		return nil, err
	}
	said, err := read.LoadAlerts(b, o.Alerts, o.limit())
	if err != nil {
		return nil, err
	}
	keys, err := read.LoadKeys(sources, o.Keys, o.Identities)
	if err != nil {
		return nil, err
	}
	defer keys.Store.Close()
	if keys.Any() {
		if err := b.Private(); err != nil {
			return nil, err
		}
	}
	var used *join.UsedKeys
	if o.EmbedKeys {
		if used, err = join.KeepKeys(b, keys.Store, o.KeysTo); err != nil {
			return nil, err
		}
	}
	out, err := write.Open(b, o.Release, Protocols(), o.limit())
	if err != nil {
		return nil, err
	}
	defer out.Abort()
	claims, err := join.NewSaid(said.Claims, o.Filter != "" || o.FromNs != 0 || o.ToNs != 0)
	if err != nil {
		return nil, err
	}
	joiner := join.New(out, join.NewIdentity(who.Index, who.Known), used, claims, o.limit())
	m := &bundle.Manifest{Tool: bundle.Tool{Name: "pcapsule", Release: o.Release}}
	protocols := o.protocols(keys.Store)
	reader, err := pipe(ctx, o.reads(sources, b, protocols), false, protocols, o, func(r *round.Round) error {
		if err := joiner.Join(r); err != nil {
			return err
		}
		packets, calls := joiner.Counts()
		o.progress(Progress{ReadBytes: r.Facts.ReadBytes, TotalBytes: sources.Total(), Packets: packets, Calls: calls, Stage: "reading"})
		return nil
	})
	if err != nil {
		return nil, err
	}
	if err := joiner.Finish(m); err != nil {
		return nil, err
	}
	reader.Describe(m)
	who.Describe(m)
	said.Describe(m)
	keys.Describe(m)
	joiner.DescribeUnused(m)
	describeOptions(m, o)
	return m, nil
}

// roundsAhead is the number of rounds that wait for the next stage. Together with the rounds in
// progress it limits the memory for packets.
const roundsAhead = 1

// reads returns a function that makes the reader of complete inputs. b receives copies of them.
func (o *Options) reads(sources *read.Inputs, b *bundle.Builder, protocols func() []*dissect.Protocol) func(round.Pool) (*read.Reader, error) {
	return func(pool round.Pool) (*read.Reader, error) {
		return read.New(sources, b, pool, read.Options{Filter: o.Filter, FromNs: o.FromNs, ToNs: o.ToNs, Keep: o.keep, Limit: o.limit(), Content: contentOf(protocols())})
	}
}

// pipe reads and assembles, and passes each round to last in order. With plain, rounds also hold
// decrypted bytes.
func pipe(ctx context.Context, reads func(round.Pool) (*read.Reader, error), plain bool, protocols func() []*dissect.Protocol, o Options, last func(*round.Round) error) (*read.Reader, error) {
	pool := round.NewPool(o.limit())
	shards, err := assemble.New(flow.Options{Protocols: protocols, DecodeAs: o.DecodeAs, Repanic: o.Repanic, Plain: plain, Trace: o.trace}, o.limit().Connections(), pool)
	if err != nil {
		return nil, err
	}
	reader, err := reads(pool)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	rounds, made, done := make(chan *round.Round, roundsAhead), make(chan *round.Round), make(chan struct{})
	go func() {
		defer close(done) // after rounds, so that no error is missed
		if err := reader.Run(ctx, rounds); err != nil {
			cancel(err)
		}
	}()
	go shards.Run(rounds, made, workers(o))
	for r := range made {
		if context.Cause(ctx) == nil {
			if err := last(r); err != nil {
				cancel(err)
			}
		}
		shards.Joined(r)
		pool.Put(r)
	}
	<-done
	return reader, context.Cause(ctx)
}

// contentOf returns what protocols say about a datagram, from either side.
func contentOf(protocols []*dissect.Protocol) (c proof.Content) {
	var detect []func(dissect.Dir, []byte) dissect.Verdict
	for _, p := range protocols {
		if p.Identify != nil {
			c.Identified = p.Identify
		}
		if p.Name != "quic" && p.Detect != nil && slices.Contains(p.Transports, dissect.UDP) {
			detect = append(detect, p.Detect)
		}
	}
	c.Explained = func(datagram []byte) (e proof.Explanation) {
		for _, d := range detect {
			switch max(d(dissect.ToServer, datagram), d(dissect.ToClient, datagram)) {
			case dissect.Yes:
				return proof.Certain
			case dissect.Likely:
				e = proof.Likely
			}
		}
		return e
	}
	return c
}

// progress reports the progress of the run, if the caller requested it.
func (o *Options) progress(p Progress) {
	if o.Progress != nil {
		o.Progress(p)
	}
}

func workers(o Options) int {
	n := o.Jobs
	if n <= 0 {
		n = runtime.GOMAXPROCS(0)
	}
	return min(n, flow.ShardCount)
}

func describeOptions(m *bundle.Manifest, o Options) {
	m.Options = map[string]string{}
	for i, d := range o.DecodeAs {
		m.Options[fmt.Sprintf("decode_as.%03d", i)] = fmt.Sprintf("%s/%d=%s", d.Transport, d.Port, d.Protocol)
	}
	for name, list := range map[string][]string{"only": o.Only, "without": o.Without} {
		if len(list) > 0 {
			m.Options[name] = strings.Join(slices.Compact(slices.Sorted(slices.Values(list))), ",")
		}
	}
	if o.Memory != 0 && o.Memory != DefaultMemory {
		m.Options["memory"] = strconv.FormatInt(o.Memory, 10)
	}
	m.Filters.BPF = o.Filter
	if o.FromNs != 0 {
		m.Filters.FromNs = bundle.At(o.FromNs)
	}
	if o.ToNs != 0 {
		m.Filters.ToNs = bundle.At(o.ToNs)
	}
}
