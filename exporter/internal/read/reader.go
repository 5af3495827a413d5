// Package read is the first stage: it opens captures, merges their packets by time, decodes
// them and cuts rounds.
//
// It hashes its input and copies it into the bundle, so each input is read once. In addition to
// packets it reads what inputs contain about interfaces, owners, names, events and losses, and
// which addresses a translation changed. The windows of the open files limit its memory. Damage
// is a row of a table, not an error.
package read

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/pcapsule/pcapsule/exporter/bundle"
	"github.com/pcapsule/pcapsule/exporter/decode"
	"github.com/pcapsule/pcapsule/exporter/internal/memory"
	"github.com/pcapsule/pcapsule/exporter/internal/proof"
	"github.com/pcapsule/pcapsule/exporter/internal/recording"
	"github.com/pcapsule/pcapsule/exporter/internal/round"
	"github.com/pcapsule/pcapsule/internal/clip"
	"github.com/pcapsule/pcapsule/recorder/pcapng"
	"github.com/pcapsule/pcapsule/recorder/workload"
)

// Options select the packets for the tables.
type Options struct {
	Filter string // in the syntax of pcap-filter(7)
	FromNs int64  // earlier packets are excluded; 0 is no limit
	ToNs   int64  // later packets are excluded; 0 is no limit

	Keep func(file int32, index int64) bool // other packets have a number and nothing else; nil: all

	Limit memory.Limit // that bounds what is remembered

	Content proof.Content // of datagrams
}

// Reader reads the inputs of a run once.
type Reader struct {
	sources *Inputs
	b       *bundle.Builder
	opt     Options
	pass    *packetFilter
	pool    round.Pool
	out     chan<- *round.Round
	stopped func() error // the reason why the run was ended, nil while it continues
	live    *live        // nil: the inputs are complete

	inputFiles
	decoding
	rounds
	ringState
	told
}

// inputFiles are the inputs of a run.
type inputFiles struct {
	waiting []*input // not yet opened, by first packet
	active  []*opened
	closed  []bundle.Input
	files   int32
	free    chan *window
	shared  map[string]*shared
}

// decoding is what becomes a packet, and what is known of those around it.
type decoding struct {
	decoder    *decode.Decoder
	frame      decode.Frame // scratch
	incomplete []incomplete // datagrams given up while decoding the last packet
	judge      *proof.Judge
	oneWay     oneWay
	links      []link // by interface over all files
	heard      arpState
}

// rounds are where a reader is in the order of packets.
type rounds struct {
	numbered int64 // packets with a number
	left     int64 // excluded by the filter or the time window
	now      int64 // newest time
	noTime   int64
	cur      *round.Round
	ahead    []*round.Round // finished, not sent
}

// ringState is what segments of one ring share.
type ringState struct {
	recordings recording.Set
	owners     owners
	ownersCost int64                 // of the owners files that are open
	lost       map[string]int64      // counted so far by interfaces of rings
	chains     map[string]segmentEnd // by ring and series: the last segment read
	byGroup    map[string]int32      // owners of control groups, by ring and path
}

// told is what the manifest says about the inputs.
type told struct {
	capped    map[string]int64
	nonIP     map[string]int64
	sides     []bundle.SideInput
	sideCount map[string]int64 // use of their lines
	warnings  []string
	k8sEvents int // of side files
	readBytes int64
}

// link is an interface while its file is being read.
type link struct {
	round.Link
	owner     int32
	groups    []linkGroup                // what was learned about it later
	said      *workload.InterfaceComment // of a segment's interface
	recording *recording.Recording       // which it belongs to
	unsummed  bool                       // its packets have unfinished checksums
	acks      bool                       // it showed an acknowledgment before bothWays
	bothWays  bool                       // it showed both directions of a conversation, or one whose other direction another one shows
	namespace uint64                     // a hash of the pod or node with its network namespace, 0 unknown
	section   int32                      // of its file, from 0
}

// New prepares to read sources. b receives copies of all inputs, unless it is nil. Rounds come
// from pool. New returns *filter.Error for an invalid filter or one that no packet can match.
func New(sources *Inputs, b *bundle.Builder, pool round.Pool, o Options) (*Reader, error) {
	pass, err := newFilter(o.Filter)
	if err != nil {
		return nil, err
	}
	r := &Reader{sources: sources, b: b, opt: o, pass: pass, pool: pool, stopped: func() error { return nil },
		inputFiles: inputFiles{waiting: slices.Clone(sources.files), free: make(chan *window, 8), shared: map[string]*shared{}},
		decoding:   decoding{heard: newARP()},
		ringState:  ringState{byGroup: map[string]int32{}, lost: map[string]int64{}, chains: map[string]segmentEnd{}},
		told:       told{capped: map[string]int64{}, nonIP: map[string]int64{}, sideCount: map[string]int64{}}}
	r.judge = proof.New(o.Limit, o.Content)
	r.decoder = decode.New(decode.Options{MaxFragmentBytes: o.Limit.Scale(16 << 20), OnIncomplete: r.gaveUp})
	r.cur = r.pool.Get()
	if b == nil {
		return r, nil
	}
	return r, r.loadRings(sources.again)
}

// Run reads everything and sends rounds; it closes out at the end. Its error is
//   - *InputError for an input that cannot be read, or with a link type for which the
//     filter cannot be evaluated,
//   - the context's after an interrupt.
func (r *Reader) Run(ctx context.Context, out chan<- *round.Round) error {
	defer close(out)
	defer r.closeAll()
	r.out = out
	r.stopped = func() error { return context.Cause(ctx) }
	err := r.packets(ctx)
	if r.live != nil {
		r.live.end()
	}
	if err != nil {
		return err
	}
	r.decoder.Flush()
	r.addIncomplete()
	r.coverRings()
	r.addShared()
	if err := r.events(ctx); err != nil {
		return err
	}
	r.send(ctx)
	r.forward(ctx, 0)
	if r.live != nil {
		return r.live.cut(ctx, r)
	}
	return context.Cause(ctx)
}

// packets reads all packets.
func (r *Reader) packets(ctx context.Context) error {
	for ctx.Err() == nil {
		src, p, err := r.nextOf(ctx)
		if p == nil || err != nil {
			return err
		}
		pass, err := r.pass.match(p)
		if err != nil {
			return &InputError{src.path, err}
		}
		r.add(src, p, pass)
		src.at++
		if r.cur.Full() {
			r.send(ctx)
		}
	}
	return context.Cause(ctx)
}

// nextOf is the next packet of the inputs, whether they are complete or grow.
func (r *Reader) nextOf(ctx context.Context) (*opened, *pcapng.Packet, error) {
	if r.live != nil {
		return r.live.next(ctx, r)
	}
	return r.next()
}

func (r *Reader) closeAll() {
	for _, o := range r.active {
		o.closeFile()
	}
}

// next finds the packet with the smallest time among the open inputs. Within a file, packets
// keep their order even if their times go back.
func (r *Reader) next() (*opened, *pcapng.Packet, error) {
	for {
		var best *opened
		var bestTime int64
		for i := 0; i < len(r.active); i++ {
			o := r.active[i]
			if o.win == nil || o.at >= len(o.win.Packets) {
				if err := r.refill(o); err != nil {
					return nil, nil, err
				}
				if o.done {
					if err := r.retire(o); err != nil {
						return nil, nil, err
					}
					r.active = slices.Delete(r.active, i, i+1)
					i--
					continue
				}
			}
			o.order()
			if best == nil || o.now < bestTime {
				best, bestTime = o, o.now
			}
		}
		if len(r.waiting) > 0 && (best == nil || r.waiting[0].first < bestTime) {
			if err := r.openNext(); err != nil {
				return nil, nil, err
			}
			continue
		}
		if best == nil {
			return nil, nil, nil
		}
		return best, &best.win.Packets[best.at], nil
	}
}

func (r *Reader) refill(o *opened) error {
	for !o.done && (o.win == nil || o.at >= len(o.win.Packets)) {
		if o.win != nil {
			o.win.Release()
			o.win = nil
		}
		var w *window
		select {
		case w = <-r.free:
		default:
			w = &window{home: r.free}
		}
		if err := o.fill(w); err != nil {
			return err
		}
		r.adopt(o)
		if o.win != nil {
			r.cur.Hold(o.win)
		}
	}
	return nil
}

// adopt processes the new interfaces of a window.
func (r *Reader) adopt(o *opened) {
	for list := o.reader.Interfaces(); o.ifaces < len(list); o.ifaces++ {
		f := &list[o.ifaces]
		l := link{Link: round.Link{Name: cmp.Or(f.Name, f.Description), File: o.id}, section: f.Section}
		l.owner, l.said = r.interfaceOwner(f)
		r.adoptGroups(o, &l, 0)
		l.namespace = namespaceOf(l.said)
		number := int32(len(r.links))
		var packets []pcapng.Packet
		if o.win != nil {
			packets = o.win.Packets
		}
		l.recording = r.recordings.Of(&o.recorded, f, number, packets, list)
		r.countedLoss(o, f, l.recording.Clock)
		clock := clockOf(number, o, f, l.recording)
		if l.recording.By == recording.SameMerged && f.ID == 0 {
			r.warn(o.name + " was merged from several captures. Each of its interfaces counts as one clock, but mergecap may write packets of several captures to one interface: such durations compare times of different clocks. mergecap -I none keeps the interfaces apart")
		}
		r.cur.Facts.Clocks = append(r.cur.Facts.Clocks, clock)
		r.cur.Facts.Links = append(r.cur.Facts.Links, l.Link)
		r.links, o.links = append(r.links, l), append(o.links, number)
	}
}

func (r *Reader) openNext() error {
	x := r.waiting[0]
	r.waiting = r.waiting[1:]
	o, err := x.open(r.files, r.b, func(n int64) { r.readBytes += n })
	if err != nil {
		return err
	}
	r.files++
	o.since = func(name string, total int64) int64 { return r.droppedSince(o, name, total) }
	if err := o.start(r.block); err != nil {
		o.closeFile()
		return err
	}
	r.openOwners(o)
	r.active = append(r.active, o)
	return nil
}

// retire closes a completely read input.
func (r *Reader) retire(o *opened) error {
	r.adopt(o)
	r.allDamage(o)
	o.recorded.Ended()
	in, err := o.finish()
	if err != nil {
		return err
	}
	if err := r.closeOwners(o); err != nil {
		return err
	}
	r.cover(o, &in)
	if o.secrets > 0 && !o.ng {
		r.warn(o.name + ": " + clip.Count(o.secrets, "secrets block", "secrets blocks") + " not used: " +
			"the file begins with a classic pcap, so its secrets come after packets that are read once; pass its PCAPNG part with --keys")
	}
	r.closed = append(r.closed, in)
	return nil
}

// maxWarnings is how many warnings about side files and rings are kept.
const maxWarnings = 1000

// warn keeps a warning for the manifest.
func (r *Reader) warn(text string) {
	if len(r.warnings) < maxWarnings {
		r.warnings = append(r.warnings, text)
	}
}

// where describes the first damage of a file and the last one, which ended reading.
func where(list []bundle.Damage) string {
	text := ""
	for i, d := range list {
		if i == 0 || i == len(list)-1 {
			text += fmt.Sprintf("; at %d: %s", d.Offset, d.Detail)
		}
	}
	return text
}

// Describe records the inputs in the manifest, after Run.
func (r *Reader) Describe(m *bundle.Manifest) {
	m.Inputs = r.closed
	if s := r.sources.skippedText(); s != "" {
		m.Warnings = append(m.Warnings, "skipped in a folder: "+s)
	}
	for _, s := range r.sources.odd {
		m.Warnings = append(m.Warnings, "not used beside a segment: "+s)
	}
	m.Warnings = append(m.Warnings, r.warnings...)
	m.SideInputs = append(m.SideInputs, r.sides...)
	for k, n := range r.sideCount {
		source, kind, _ := strings.Cut(k, "/")
		m.Accounts.AddCounter(source, kind, n)
	}
	if r.left > 0 {
		m.Warnings = append(m.Warnings, clip.Count(r.left, "packet", "packets")+" excluded from the tables by filter or time window; the packet files contain them")
	}
	if r.noTime > 0 {
		m.Warnings = append(m.Warnings, clip.Count(r.noTime, "packet has", "packets have")+" no time stamp, or none between 1970 and 2261; their time is 1970 or the nearest of these, and their durations are null")
	}
	for i := range r.closed {
		if n := int64(len(r.closed[i].Damage)) + r.closed[i].DamageMore; n > 0 {
			m.Warnings = append(m.Warnings, r.closed[i].Name+": "+clip.Count(n, "damaged place", "damaged places")+where(r.closed[i].Damage))
		}
	}
	for k, n := range r.nonIP {
		m.Accounts.AddCounter(bundle.NotIP, k, n)
	}
	for k, n := range r.capped {
		m.Accounts.AddCounter("packet", k, n)
	}
	fc := r.decoder.Counts()
	for k, n := range map[string]int64{"fragments": fc.Fragments, "reassembled": fc.Reassembled, "timed_out": fc.TimedOut,
		"evicted": fc.Evicted, "flushed": fc.Flushed, "too_many": fc.TooMany, "dropped": fc.Dropped} {
		if n > 0 {
			m.Accounts.AddCounter("ip_fragments", k, n)
		}
	}
}
