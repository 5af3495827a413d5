// Package exporter turns capture files into a bundle.
//
// A run has four stages, each in a package of its own:
//
//	internal/read      opens inputs, merges packets by time, decodes, cuts rounds
//	internal/assemble  16 shards by flow hash: streams in order, dissected into rows
//	internal/join      one order of rows, final numbers, who was behind an address
//	internal/write     rows to Parquet tables
//
// A round (internal/round) is the only thing that crosses from one stage to the next.
//
// The same inputs and options give the same bytes below data/, whatever the clock, the
// machine, the number of workers or the order of arguments. Memory is bounded by the
// rounds under way and the budgets of the shards, not by the size of the captures.
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

	"filippo.io/age"

	"github.com/pcapsule/pcapsule/exporter/bundle"
	"github.com/pcapsule/pcapsule/exporter/dissect"
	"github.com/pcapsule/pcapsule/exporter/dissect/all"
	"github.com/pcapsule/pcapsule/exporter/internal/assemble"
	"github.com/pcapsule/pcapsule/exporter/internal/flow"
	"github.com/pcapsule/pcapsule/exporter/internal/join"
	"github.com/pcapsule/pcapsule/exporter/internal/memory"
	"github.com/pcapsule/pcapsule/exporter/internal/read"
	"github.com/pcapsule/pcapsule/exporter/internal/round"
	"github.com/pcapsule/pcapsule/exporter/internal/write"
	"github.com/pcapsule/pcapsule/exporter/table"
)

// Options say what goes into a bundle. The zero value imports everything.
type Options struct {
	Kube     []string // files with what kubectl printed
	Hosts    []string // hosts files
	Keys     []string // key logs, RSA private keys, captures with secrets in them
	Filter   string   // as pcap-filter(7); packets that do not match stay in the packet files only
	FromNs   int64    // packets before are left out of the tables; 0 is no bound
	ToNs     int64    // packets after are left out of the tables; 0 is no bound
	DecodeAs []dissect.DecodeAs

	Identities []age.Identity  // open files with keys that age encrypted
	EmbedKeys  bool            // keep the keys that open connections in the bundle
	KeysTo     []age.Recipient // encrypt them to these; a bundle with such a file is not the same twice

	Jobs     int    // workers; 0 means one a CPU. Changes no byte of the bundle.
	Memory   int64  // bytes to stay below; 0 means DefaultMemory. Decides how many connections are followed at once.
	Release  string // of this program
	Custody  bundle.CreateOptions
	Stdin    io.Reader      // what the input "-" reads
	Progress func(Progress) // called a few times a second at most; may be nil
	// Accept sees the manifest before the bundle gets its name; its error ends Run, which
	// then leaves nothing behind. May be nil.
	Accept  func(*bundle.Manifest) error
	Repanic bool // a dissector's panic ends the program, as tests want it
}

// DefaultMemory is the memory that a run stays below unless Options say otherwise.
const DefaultMemory = int64(memory.Default)

// HeapLimit is what Go's collector should keep to in a run that stays below memory, for
// debug.SetMemoryLimit.
func HeapLimit(bytes int64) int64 { return memory.Limit(bytes).Heap() }

func (o *Options) limit() memory.Limit { return cmp.Or(memory.Limit(o.Memory), memory.Default) }

// Progress says how far Run is.
type Progress struct {
	ReadBytes, TotalBytes int64 // TotalBytes is 0 where the size is not known
	Packets, Calls        int64
	Stage                 string // reading or sealing
}

// ErrNoInput means that no capture was given or found.
var ErrNoInput = read.ErrNoInput

// InputError is an input that cannot be used.
type InputError = read.InputError

// KeysError is a file with keys that cannot be used.
type KeysError = read.KeysError

// Run makes a bundle at output from the capture files, folders and "-" in inputs.
// It answers
//   - the manifest of the finished bundle, also where captures were damaged,
//   - bundle.ErrExists where output is there already,
//   - *InputError for an input that cannot be opened or is no capture, or whose link type
//     cannot be asked what the filter asks,
//   - *KeysError for a file with keys that cannot be used,
//   - *filter.Error for a filter that is wrong,
//   - the context's error after an interrupt.
//
// With an error nothing is left behind.
func Run(ctx context.Context, inputs []string, output string, o Options) (*bundle.Manifest, error) {
	sources, err := read.Open(inputs, o.Stdin)
	if err != nil {
		return nil, err
	}
	defer sources.Close()
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
	o.progress(Progress{Stage: "sealing", Packets: m.Accounts.Packets})
	if err := b.Finish(m); err != nil {
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		return nil, err
	}
	return m, nil
}

// build writes everything below data/ but the manifest, which it returns.
func build(ctx context.Context, sources *read.Inputs, b *bundle.Builder, o Options) (*bundle.Manifest, error) {
	who, err := read.LoadIdentity(b, o.Kube, o.Hosts)
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
	joiner := join.New(out, join.NewIdentity(who.Index, who.Known), used, o.limit())
	m := &bundle.Manifest{Tool: bundle.Tool{Name: "pcapsule", Release: o.Release}}
	protocols := func() []*dissect.Protocol { return all.Protocols(keys.Store) }
	reader, err := pipe(ctx, sources, b, protocols, o, func(r *round.Round) error {
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
	keys.Describe(m)
	describeOptions(m, o)
	return m, nil
}

// roundsAhead is how many rounds wait for the next stage; with the ones being worked on
// it bounds the memory that packets take.
const roundsAhead = 1

// pipe reads and assembles, and gives each round to last in order. b gets copies of the
// inputs; without b, rounds also hold what came out of encryption.
func pipe(ctx context.Context, sources *read.Inputs, b *bundle.Builder, protocols func() []*dissect.Protocol, o Options, last func(*round.Round) error) (*read.Reader, error) {
	pool := round.NewPool(o.limit())
	shards, err := assemble.New(flow.Options{DecodeAs: o.DecodeAs, Repanic: o.Repanic, Plain: b == nil}, protocols, o.limit().Connections(), pool)
	if err != nil {
		return nil, err
	}
	reader, err := read.New(sources, b, pool, read.Options{Filter: o.Filter, FromNs: o.FromNs, ToNs: o.ToNs, Limit: o.limit(), Explained: explained(protocols())})
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	rounds, made, done := make(chan *round.Round, roundsAhead), make(chan *round.Round), make(chan struct{})
	go func() {
		defer close(done) // later than rounds, so that no error is missed
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

// explained returns a function that reports whether a protocol other than QUIC knows a
// datagram for its own, from either side.
func explained(protocols []*dissect.Protocol) func([]byte) bool {
	var detect []func(dissect.Dir, []byte) dissect.Verdict
	for _, p := range protocols {
		if p.Name != "quic" && p.Detect != nil && slices.Contains(p.Transports, dissect.UDP) {
			detect = append(detect, p.Detect)
		}
	}
	return func(datagram []byte) bool {
		return slices.ContainsFunc(detect, func(d func(dissect.Dir, []byte) dissect.Verdict) bool {
			return d(dissect.ToServer, datagram) == dissect.Yes || d(dissect.ToClient, datagram) == dissect.Yes
		})
	}
}

// progress reports how far the run is, if somebody wants to know.
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

// Protocols lists the protocols that bundles are dissected with.
func Protocols() []*dissect.Protocol { return all.Protocols(nil) }

// Schemas lists every table as queries see it: calls with the columns of all protocols.
func Schemas() []*table.Schema { return write.Schemas(Protocols()) }
