// Package exporter turns capture files into a bundle.
//
// The pipeline is Run, told as one function: inputs are opened and put in order of
// time; packets are read, hashed, copied into the bundle and decoded in one pass; rounds
// of packets are cut into a fixed number of shards by flow hash, and any number of
// workers takes shards; what they made is joined in a fixed order and written as columns.
//
// The same inputs and options give the same bytes below data/, whatever the clock, the
// machine, the number of workers or the order of arguments. Memory is bounded by the
// rounds under way and the budgets of the shards, not by the size of the captures.
package exporter

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"runtime"

	"filippo.io/age"

	"github.com/pcapsule/pcapsule/exporter/bundle"
	"github.com/pcapsule/pcapsule/exporter/dissect"
	"github.com/pcapsule/pcapsule/exporter/dissect/all"
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
	Release  string // of this program
	Custody  bundle.CreateOptions
	Stdin    io.Reader      // what the input "-" reads
	Progress func(Progress) // called a few times a second at most; may be nil
	// Accept sees the manifest before the bundle gets its name; its error ends Run, which
	// then leaves nothing behind. May be nil.
	Accept  func(*bundle.Manifest) error
	Repanic bool // a dissector's panic ends the program, as tests want it
}

// Progress says how far Run is.
type Progress struct {
	ReadBytes, TotalBytes int64 // TotalBytes is 0 where the size is not known
	Packets, Calls        int64
	Stage                 string // reading or sealing
}

// ErrNoInput means that no capture was given or found.
var ErrNoInput = errors.New("no capture files")

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
	sources, err := openInputs(inputs, o.Stdin)
	if err != nil {
		return nil, err
	}
	defer sources.close()
	b, err := bundle.Create(output, o.Custody)
	if err != nil {
		return nil, err
	}
	defer b.Abort()
	stop := context.AfterFunc(ctx, b.Abort)
	defer stop()

	err = sources.keepStdin(filepath.Dir(b.Path("data/packets/stdin")), len(o.Keys) > 0)
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
	if o.Progress != nil {
		o.Progress(Progress{Stage: "sealing", Packets: m.Accounts.Packets})
	}
	if err := b.Finish(m); err != nil {
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		return nil, err
	}
	return m, nil
}

// build writes everything below data/ but the manifest, which it returns.
func build(ctx context.Context, sources *inputs, b *bundle.Builder, o Options) (*bundle.Manifest, error) {
	who, err := loadIdentity(b, o)
	if err != nil {
		return nil, err
	}
	keys, err := loadKeys(sources, o)
	if err != nil {
		return nil, err
	}
	defer keys.store.Close()
	if err := keys.embed(b, o); err != nil {
		return nil, err
	}
	out, err := openTables(b, o.Release)
	if err != nil {
		return nil, err
	}
	defer out.abort()
	shards, err := newShards(o, keys.store)
	if err != nil {
		return nil, err
	}
	pass, err := newFilter(o)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)

	read := newReading(sources, b, pass, o)
	if err := read.loadRings(sources.again); err != nil {
		return nil, err
	}
	join := newJoining(out, who, read, keys, o)

	rounds := make(chan *round, roundsAhead) // read, not yet in the shards
	joins := make(chan *round, roundsAhead)  // in the shards, to be joined in order
	go func() { read.run(ctx, rounds, cancel) }()
	go func() { shards.run(rounds, joins, workers(o)) }()
	for r := range joins {
		r.wait()
		if context.Cause(ctx) == nil {
			if err := join.round(r); err != nil {
				cancel(err)
			}
		}
		shards.joined(r)
		read.recycle(r)
	}
	if err := context.Cause(ctx); err != nil {
		return nil, err
	}
	m := &bundle.Manifest{Tool: bundle.Tool{Name: "pcapsule", Release: o.Release}}
	if err := join.finish(m); err != nil {
		return nil, err
	}
	if err := keys.finish(); err != nil {
		return nil, err
	}
	read.describe(m)
	who.describe(m)
	keys.describe(m)
	describeOptions(m, o)
	return m, nil
}

func workers(o Options) int {
	n := o.Jobs
	if n <= 0 {
		n = runtime.GOMAXPROCS(0)
	}
	return min(n, shardCount)
}

func describeOptions(m *bundle.Manifest, o Options) {
	m.Options = map[string]string{}
	for i, d := range o.DecodeAs {
		m.Options[fmt.Sprintf("decode_as.%03d", i)] = fmt.Sprintf("%s/%d=%s", d.Transport, d.Port, d.Protocol)
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
