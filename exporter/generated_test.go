package exporter

import (
	"context"
	"fmt"
	"math/rand"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/pcapsule/pcapsule/exporter/internal/flow"
	"github.com/pcapsule/pcapsule/exporter/internal/read"
	"github.com/pcapsule/pcapsule/exporter/internal/round"
)

// generated is a capture of true conversations, and the changes that were made to it.
type generated struct {
	convs []string
	ops   []op
}

func (x generated) String() string {
	var ops []string
	for _, o := range x.ops {
		ops = append(ops, o.String())
	}
	return fmt.Sprintf("{[]string{%q}, []op{%s}},", x.convs, strings.Join(ops, ", "))
}

// saidOf is what a capture gives for one pair of ends.
type saidOf struct {
	rows  []saidRow
	kinds map[string]int // anomalies, and "gap"
}

type saidRow struct {
	text     string // what must not change
	ts       int64
	complete bool
	unread   bool // its protocol is unknown
	cites    []int64
}

// saidColumns are the columns that a capture's changes leave as they are.
var saidColumns = []string{"protocol", "method", "host", "path", "query_string", "status_code", "status_text", "request_bytes", "response_bytes",
	"request_body_sha256", "response_body_sha256", "complete", "error", "stream_id"}

// tell reads a capture. Ends are sorted; odd are inconsistent accounts.
func tell(t testing.TB, data []byte) (by map[string]*saidOf, odd []string) {
	path := filepath.Join(t.TempDir(), "a.pcapng")
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	defer os.Remove(path)
	sources, err := read.Open([]string{path}, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer sources.Close()
	by = map[string]*saidOf{}
	get := func(key string) *saidOf {
		if by[key] == nil {
			by[key] = &saidOf{kinds: map[string]int{}}
		}
		return by[key]
	}
	ends, conns, accounts := map[flow.ID]string{}, map[flow.ID]flow.ID{}, map[flow.ID][2]int64{}
	end := func(e flow.End) string { return netip.AddrPortFrom(e.Addr.Netip(), e.Port).String() }
	o := Options{Repanic: true, Jobs: 1}
	_, err = pipe(context.Background(), o.reads(sources, nil, Protocols), false, Protocols, o, func(r *round.Round) error {
		for _, a := range r.Facts.Anomalies {
			get("").kinds[a.Kind]++
		}
		for s := range r.Out {
			b := &r.Out[s]
			for _, f := range b.Started {
				conns[f.Flow], ends[f.Flow] = f.Conn, sortedEnds(end(f.Dialled[0]), end(f.Dialled[1]))
			}
			for _, c := range b.Calls {
				v, base := callOf(&c, func(no int64) int64 { return no }), c.Row.Base()
				row := saidRow{ts: base.TsNs, complete: base.Complete, unread: isUnknown(c.Row)}
				for _, name := range saidColumns {
					if text := v.columns[name]; !strings.HasSuffix(text, "false}") && (name != "error" || base.Complete) { // a close explains errors
						row.text += name + "=" + text + "\t"
					}
				}
				for _, x := range base.Cites {
					for no := x.First; no <= x.Last; no++ {
						row.cites = append(row.cites, no)
					}
				}
				src, _ := netip.ParseAddr(base.SrcIP)
				dst, _ := netip.ParseAddr(base.DstIP)
				of := get(sortedEnds(netip.AddrPortFrom(src, uint16(base.SrcPort)).String(), netip.AddrPortFrom(dst, uint16(base.DstPort)).String()))
				of.rows = append(of.rows, row)
			}
			for _, a := range b.Anomalies {
				get(ends[a.Flow]).kinds[a.Row.Kind]++
			}
			for _, e := range b.Events {
				if e.Row.Event == "gap" {
					get(ends[e.Flow]).kinds["gap"]++
				}
			}
			for _, f := range b.Flows {
				a := accounts[conns[f.Flow]]
				a[0] += f.Row.SrcPayloadBytes + f.Row.DstPayloadBytes
				a[1] += f.Row.CutBytes + f.Row.RowBytes + f.Row.AnomalyBytes + f.Row.DuplicateBytes
				accounts[conns[f.Flow]] = a
			}
			for _, c := range b.Conns {
				if a := accounts[c.Conn]; a[0] != a[1] {
					odd = append(odd, fmt.Sprintf("%s:%d to %s:%d: %d payload bytes, %d accounted for", c.Row.SrcIP, c.Row.SrcPort, c.Row.DstIP, c.Row.DstPort, a[0], a[1]))
				}
				delete(accounts, c.Conn)
			}
		}
		return nil
	})
	if err != nil {
		odd = append(odd, "error: "+err.Error())
	}
	return by, odd
}

func sortedEnds(a, b string) string {
	if b < a {
		a, b = b, a
	}
	return a + " " + b
}

// changesNothing are the anomalies that say that something has no effect. They excuse no difference.
var changesNothing = strings.Fields("stray_syn reset_out_of_window reset_refused bad_checksum time_outlier time_back unfinished_checksums equal_datagrams")

// faults says what is wrong with the rows of a generated capture.
func (x generated) faults(t testing.TB) (list []string) {
	g := &scene{gone: make([]bool, len(x.convs)), moved: make([]int64, len(x.convs)), views: make([]int, len(x.convs))}
	var truth []*conversation
	for k, name := range x.convs {
		c := &conversation{}
		if name != "" {
			c = conversationNamed(t, name, k)
		}
		truth = append(truth, c)
		g.convs = append(g.convs, &conversation{c.name, slices.Clone(c.pieces)})
	}
	plain, from := composed(truth)
	want, odd := tell(t, plain)
	list = append(list, odd...)
	all, touched := make([][loud + 1]bool, len(x.convs)), map[[2]int]bool{}
	retimed := map[[2]int]int{} // by how many packets
	for _, o := range x.ops {
		k := kindOf(o)
		if len(g.convs[o.conv].pieces) == 0 {
			continue
		}
		k.make(g, o)
		all[o.conv][k.effect] = true
		if o.kind == "synack" && slices.ContainsFunc(x.ops, func(p op) bool { return p.kind == "syn" && p.conv == o.conv }) {
			all[o.conv][loud] = true // a handshake
		}
		switch o.kind {
		case "begins":
			for i := range o.pkt {
				touched[[2]int{o.conv, i}] = true
			}
			has := func(kind string) bool {
				return slices.ContainsFunc(x.ops, func(p op) bool { return p.kind == kind && p.conv == o.conv })
			}
			all[o.conv][more] = all[o.conv][more] || has("translated late") && has("bytes") // a view in other segments, see docs/design/017
		case "ends":
			for i := range truth[o.conv].pieces[min(o.pkt+1, len(truth[o.conv].pieces)):] {
				touched[[2]int{o.conv, i + o.pkt + 1}] = true
			}
		case "late": // what was sent again comes first, then
			if slices.ContainsFunc(x.ops, func(p op) bool { return p.kind == "repacked" && p.conv == o.conv }) {
				retimed[[2]int{o.conv, o.pkt}] = 1
			}
			all[o.conv][loud] = all[o.conv][loud] || slices.ContainsFunc(x.ops, func(p op) bool {
				return p.conv == o.conv && (p.kind == "bytes" || p.kind == "keep-alive" && p.b == 1) // later than the stream waits; a byte that contradicts a FIN that comes later
			})
		case "time":
			retimed[[2]int{o.conv, o.pkt}] = 1
			if slices.ContainsFunc(x.ops, func(p op) bool {
				return (strings.HasPrefix(p.kind, "fragment") || p.kind == "twice") && p.conv == o.conv && p.pkt == o.pkt
			}) {
				retimed[[2]int{o.conv, o.pkt}] = 2
			}
		default:
			if k.effect == lossy {
				touched[[2]int{o.conv, o.pkt}] = true
			}
			if o.kind == "lost" && slices.ContainsFunc(x.ops, func(p op) bool { return kindOf(p).effect == loud && p.conv == o.conv && p.pkt == o.pkt }) {
				all[o.conv][more] = true // a forged packet that nothing contradicts takes its place, whatever follows
				for i := range truth[o.conv].pieces[o.pkt:] {
					touched[[2]int{o.conv, i + o.pkt}] = true
				}
			}
		}
	}
	for at := range touched { // only what was sent again shows these
		if slices.ContainsFunc(x.ops, func(p op) bool { return (p.kind == "resent" || p.kind == "repacked") && p.conv == at[0] }) {
			retimed[at] = 1
		}
	}
	data, _ := composed(g.convs)
	got, odd := tell(t, data)
	list = append(list, odd...)
	for k := range x.convs {
		if k > 0 && g.gone[k] || len(truth[k].pieces) == 0 || len(g.convs[k].pieces) == 0 {
			continue
		}
		effects, members := all[k], []int{k}
		for j := k + 1; j < len(x.convs) && g.gone[j]; j++ {
			members = append(members, j)
			for e, has := range all[j] {
				effects[e] = effects[e] || has
			}
		}
		f := fault{datagrams: !truth[k].tcp(), got: got, effects: effects, name: fmt.Sprintf("conversation %d, %s", k, x.convs[k])}
		first := truth[k].pieces[0]
		f.ends = append(f.ends, endsOf(first, false), endsOf(first, true), sortedEnds(first.dst.String(), translatedEnd(first.src).String())) // of the client, if the server's packets begin
		base := map[string]int{}
		for _, j := range members {
			if len(truth[j].pieces) == 0 {
				continue
			}
			w := want[endsOf(truth[j].pieces[0], false)]
			if w == nil {
				continue
			}
			for kind, n := range w.kinds {
				base[kind] += n
			}
			for _, row := range w.rows {
				n := 0
				for _, no := range row.cites {
					n += retimed[[2]int{from[no].conv, from[no].piece.no}]
				}
				f.want = append(f.want, wantedRow{row, g.moved[j], slices.ContainsFunc(row.cites, func(no int64) bool { return touched[[2]int{from[no].conv, from[no].piece.no}] }),
					n})
			}
		}
		f.base = base
		list = append(list, f.find()...)
	}
	return list
}

func endsOf(p piece, translated bool) string {
	dst := p.dst
	if translated {
		dst = translatedEnd(dst)
	}
	return sortedEnds(p.src.String(), dst.String())
}

type wantedRow struct {
	saidRow
	moved   int64
	touched bool // packets that it cites were lost
	retimed int  // packets that it cites got another time
}

// fault compares the rows of one conversation with the true ones.
type fault struct {
	name    string
	got     map[string]*saidOf
	want    []wantedRow
	ends    []string
	base    map[string]int
	effects [loud + 1]bool

	datagrams bool // so nothing shows that one of them is missing
}

func (f *fault) find() (list []string) {
	var rows []saidRow
	var excuses []string
	have := map[string]int{}
	for _, e := range f.ends {
		if x := f.got[e]; x != nil {
			rows = append(rows, x.rows...)
			for kind, n := range x.kinds {
				have[kind] += n
			}
		}
	}
	for kind, n := range have {
		if n > f.base[kind] && !slices.Contains(changesNothing, kind) {
			excuses = append(excuses, kind)
		}
	}
	slices.Sort(excuses)
	left := slices.Clone(f.want)
	slices.SortStableFunc(left, func(a, b wantedRow) int { // what was lost has what the others leave
		switch {
		case a.touched == b.touched:
			return 0
		case a.touched:
			return 1
		}
		return -1
	})
	for _, fits := range [...]func(r saidRow, w wantedRow) bool{ // the closest first: rows of equal text differ only in their times
		func(r saidRow, w wantedRow) bool { return r.text == w.text && atTimeOf(r, w) },
		func(r saidRow, w wantedRow) bool { return f.effects[lossy] && r.within(w.text) && atTimeOf(r, w) },
		func(r saidRow, w wantedRow) bool { return r.text == w.text && w.retimed > 0 },
		func(r saidRow, w wantedRow) bool { return f.effects[lossy] && r.within(w.text) && w.retimed > 0 },
	} {
		var rest []wantedRow
		for _, w := range left {
			if i := slices.IndexFunc(rows, func(r saidRow) bool { return fits(r, w) }); i >= 0 {
				rows = slices.Delete(rows, i, i+1)
			} else {
				rest = append(rest, w)
			}
		}
		left = rest
	}
	excused := f.effects != [loud + 1]bool{quiet: f.effects[quiet]} && len(excuses) > 0
	unread := slices.ContainsFunc(rows, func(r saidRow) bool { return r.unread })
	for _, w := range left {
		if !excused && !w.touched && w.retimed < 2 && !(f.effects[lossy] && (unread || f.halved(rows, w))) {
			list = append(list, fmt.Sprintf("%s: missing %s at %d; anomalies %v", f.name, w.text, w.ts-generatedStart, have))
		}
	}
	for _, r := range rows {
		silent := strings.Contains(r.text, "response_bytes=0\t") // only a failure is answered, as in NATS
		if (f.datagrams || silent) && slices.ContainsFunc(left, func(w wantedRow) bool { return w.touched && (w.ts+w.moved == r.ts || w.retimed > 0) }) {
			continue
		}
		if !excused && !f.effects[more] && (!f.effects[lossy] || r.complete) && !(f.effects[lossy] && r.unread) {
			list = append(list, fmt.Sprintf("%s: false %s at %d; anomalies %v", f.name, r.text, r.ts-generatedStart, have))
		}
	}
	return list
}

// atTimeOf reports whether a row has the time of a true one, or that of its packet under other addresses.
func atTimeOf(r saidRow, w wantedRow) bool {
	return max(r.ts-w.ts-w.moved, w.ts+w.moved-r.ts) < 15
}

// halved reports whether rows has one of the same time that is not complete.
func (f *fault) halved(rows []saidRow, w wantedRow) bool {
	return slices.ContainsFunc(rows, func(r saidRow) bool { return !r.complete && atTimeOf(r, w) })
}

// within reports whether the row says nothing that text does not. What only lost packets said is absent.
func (r *saidRow) within(text string) bool {
	for part := range strings.SplitSeq(r.text, "\t") {
		if !strings.Contains(text, part) && !strings.HasPrefix(part, "method=") {
			return false
		}
	}
	return true
}

// generate makes a case.
func generate(t testing.TB, seed int64) (x generated) {
	all, err := conversations()
	if err != nil {
		t.Fatal(err)
	}
	r := rand.New(rand.NewSource(seed))
	samples := map[string][]*conversation{}
	for _, c := range all {
		name, _, _ := strings.Cut(c.name, " ")
		samples[name] = append(samples[name], c)
	}
	used := map[string]bool{}
	add := func(sample string) {
		c := samples[sample][r.Intn(len(samples[sample]))]
		if used[c.name] {
			return
		}
		used[c.name] = true
		name := c.name
		if r.Intn(4) == 0 {
			name += " six"
		}
		x.convs = append(x.convs, name)
	}
	for range 2 + r.Intn(3) {
		sample := generatedFrom[r.Intn(len(generatedFrom))]
		add(sample)
		if r.Intn(3) == 0 {
			add(sample)
		}
	}
	hostile := 1 + r.Intn(len(x.convs)) // the others are bystanders
	sizes := make([]int, len(x.convs))
	for k := range x.convs {
		sizes[k] = len(conversationNamed(t, x.convs[k], k).pieces)
	}
	calm := r.Intn(2) == 0
	for range 1 + r.Intn(12) {
		o := op{kind: anyKind(r).name, conv: r.Intn(hostile)}
		k := kindOf(o)
		if calm && k.effect != quiet {
			continue
		}
		times := 1
		if !k.every {
			times = 1 + r.Intn(4)
		}
		for range times {
			o.pkt = r.Intn(sizes[o.conv])
			if k.pick != nil {
				k.pick(r, &o)
			}
			x.ops = append(x.ops, o)
		}
	}
	return x
}

// smallest removes changes and conversations as long as something is wrong.
func (x generated) smallest(t testing.TB) generated {
	bad := func(y generated) bool { return len(y.faults(t)) > 0 }
	for n := len(x.ops); n > 0; n /= 2 {
		for at := 0; at+n <= len(x.ops); {
			y := generated{x.convs, slices.Delete(slices.Clone(x.ops), at, at+n)}
			if bad(y) {
				x = y
			} else {
				at += n
			}
		}
	}
	for k := range x.convs {
		y := generated{slices.Clone(x.convs), x.ops}
		if y.convs[k] = ""; bad(y) {
			x = y
		}
	}
	return x
}

// generatedCases are small cases that are read rightly.
var generatedCases = []generated{
	{[]string{"postgresql.pcapng 0"}, []op{{"again", 0, 102, 2018, 1}, {"translated late", 0, 6, 11709, 0}}},
	{[]string{"cassandra.pcapng 0 six"}, []op{{"again", 0, 6, 237, 0}, {"translated", 0, 18, 1, 0}}},
	{[]string{"redis.pcap 1", "redis.pcap 2"}, []op{{"never closed", 0, 0, 0, 0}, {"reused", 0, 0, 10, 0}, {"lost", 1, 1, 0, 0}}},
	{[]string{"tls.pcapng 1"}, []op{{"again", 0, 3, 5725, 1}, {"syn", 0, 15, 1073741824, 0}}},
	{[]string{"imap.pcapng 2"}, []op{{"synack", 0, 17, 1, 0}, {"again", 0, 22, 18357, 1}}},
	{[]string{"memcached.pcapng 4"}, []op{{"syn", 0, 6, -5000, 1}, {"again", 0, 11, 18638, 0}}},
	{[]string{"redis.pcap 8"}, []op{{"late handshake", 0, 0, 4, 1}}},
	{[]string{"http1.pcapng 8"}, []op{{"translated late", 0, 2, 7165, 1}}},
	{[]string{"kafka.pcapng 7"}, []op{{"syn", 0, 9, 1073741824, 0}, {"translated", 0, 10, 1, 0}}},
	{[]string{"stun.pcapng 3"}, []op{{"synack", 0, 16, 0, 1}, {"translated", 0, 8, 1, 0}}},
	{[]string{"mongodb.pcapng 0"}, []op{{"bytes", 0, 5, 0, 0}, {"bytes", 0, 3, 0, 0}}},
	{[]string{"snmp.pcapng 7 six"}, []op{{"translated", 0, 0, 1, 1}, {"checksum", 0, 1, 1, 0}}},
	{[]string{"modbus.pcapng 0"}, []op{{"syn", 0, 24, -100000, 1}, {"translated", 0, 1, 2, 1}}},
	{[]string{"amqp.pcapng 0"}, []op{{"synack", 0, 80, 1, 1}, {"translated late", 0, 61, 4604, 0}}},
	{[]string{"grpc.pcapng 0"}, []op{{"translated late", 0, 16, 1768, 0}, {"translated", 0, 18, 1, 0}}},
	{[]string{"sip.pcapng 3"}, []op{{"translated", 0, 3, 3, 0}, {"translated late", 0, 1, 7524, 1}}},
	{[]string{"cassandra.pcapng 8 six"}, []op{{"bytes", 0, 3, 0, 0}, {"translated late", 0, 5, 5787, 1}}},
	{[]string{"memcached.pcapng 0"}, []op{{"translated late", 0, 43, 17095, 0}, {"syn", 0, 4, -100000, 1}}},
	{[]string{"smtp.pcapng 1"}, []op{{"late handshake", 0, 5, 6, 0}}},
	{[]string{"smtp.pcapng 1 six"}, []op{{"ends", 0, 25, 0, 0}}},
	{[]string{"modbus.pcapng 0 six"}, []op{{"second answer", 0, 7, 862, 0}, {"second answer", 0, 21, 541, 1}}},
	{[]string{"amqp.pcapng 1", "amqp.pcapng 0"}, []op{{"syn", 0, 9, 5000, 1}, {"reused", 0, 6, 93, 1}}},
	{[]string{"mysql.pcapng 1"}, []op{{"repacked", 0, 8, 1, 0}, {"late", 0, 6, 4, 1}, {"late", 0, 5, 1, 1}}},
	{[]string{"redis.pcap 6"}, []op{{"bytes", 0, 5, 0, 0}, {"half-close", 0, 4, 0, 0}}},
	{[]string{"", "radius.pcapng 3 six", "", "memcached.pcapng 3 six", "memcached.pcapng 1 six"}, []op{{"time", 3, 0, 3, 0}, {"translated late", 1, 0, 3744, 0}}},
	{[]string{"sip.pcapng 0 six"}, []op{{"fragment twice", 0, 8, 0, 0}}},
	{[]string{"radius.pcapng 6", "", "", ""}, []op{{"long header", 0, 0, 2, 0}, {"begins", 0, 2, 0, 0}}},
	{[]string{"grpc.pcapng 0 six"}, []op{{"lost", 0, 7, 0, 0}, {"begins", 0, 7, 0, 0}, {"translated", 0, 28, 3, 1}}},
	{[]string{"mysql.pcapng 1"}, []op{{"begins", 0, 11, 0, 0}, {"translated", 0, 6, 3, 0}}},
	{[]string{"tds.pcapng 1"}, []op{{"syn", 0, 11, 0, 1}, {"translated late", 0, 1, 1665, 1}}},
	{[]string{"tds.pcapng 1"}, []op{{"repacked", 0, 7, 1, 0}, {"late", 0, 3, 6, 0}}},
	{[]string{"grpc.pcapng 0"}, []op{{"repacked", 0, 16, 2, 0}, {"late", 0, 15, 6, 0}}},
	{[]string{"imap.pcapng 1 six"}, []op{{"translated", 0, 9, 3, 1}, {"lost", 0, 1, 0, 0}}},
	{[]string{"imap.pcapng 1"}, []op{{"translated", 0, 4, 1, 1}, {"second answer", 0, 1, 677, 0}}},
	{[]string{"postgresql.pcapng 4"}, []op{{"lost", 0, 1, 0, 0}, {"lost", 0, 5, 0, 0}}},
	{[]string{"thrift.pcapng 1 six"}, []op{{"syn", 0, 4, 5000, 0}, {"reset", 0, 3, 1073741824, 0}, {"translated", 0, 14, 1, 0}}},
	{[]string{"kafka.pcapng 7"}, []op{{"translated late", 0, 8, 2663, 0}, {"syn", 0, 6, 1000, 1}}},
	{[]string{"redis.pcap 6"}, []op{{"late", 0, 3, 6, 0}, {"late", 0, 4, 4, 1}, {"syn", 0, 4, 0, 1}, {"translated", 0, 1, 1, 0}}},
	{[]string{"mongodb.pcapng 3"}, []op{{"syn", 0, 7, 0, 1}, {"bytes", 0, 7, 0, 0}, {"translated", 0, 6, 1, 0}, {"again", 0, 1, 12228, 1}}},
	{[]string{"http2.pcap 0"}, []op{{"again", 0, 18, 18395, 0}, {"syn", 0, 13, 10, 0}}},
	{[]string{"tds.pcapng 0 six"}, []op{{"keep-alive", 0, 6, 2, 1}, {"late", 0, 3, 6, 1}}},
	{[]string{"postgresql.pcapng 3 six"}, []op{{"late", 0, 3, 6, 0}, {"keep-alive", 0, 6, 1, 1}}},
	{[]string{"http1.pcapng 8"}, []op{{"twice", 0, 0, 38, 1}, {"translated late", 0, 0, 7076, 1}}},
	{[]string{"postgresql.pcapng 1"}, []op{{"syn", 0, 4, 0, 0}, {"translated", 0, 7, 3, 1}, {"late", 0, 3, 6, 0}}},
	{[]string{"cassandra.pcapng 0"}, []op{{"time", 0, 3, 5, 0}, {"begins", 0, 13, 0, 0}}},
	{[]string{"sip.pcapng 0"}, []op{{"time", 0, 1, 3, 1}, {"begins", 0, 2, 0, 0}}},
	{[]string{"", "cassandra.pcapng 8", "sip.pcapng 0"}, []op{{"time", 2, 4, 1, 0}, {"lost", 2, 5, 0, 0}}},
	{[]string{"imap.pcapng 2"}, []op{{"bytes before", 0, 19, 0, 0}, {"lost", 0, 19, 0, 0}}},
	{[]string{"stomp.pcapng 0 six"}, []op{{"repacked", 0, 15, 2, 0}, {"lost", 0, 15, 0, 0}}},
	{[]string{"amqp.pcapng 1 six"}, []op{{"resent", 0, 5, 250, 0}, {"ends", 0, 3, 0, 0}}},
	{[]string{"http2.pcap 0"}, []op{{"fragments", 0, 70, 1, 0}}},
	{[]string{"tls.pcapng 8"}, []op{{"keep-alive", 0, 9, 2, 1}, {"late", 0, 7, 3, 0}}},
	{[]string{"tds.pcapng 0"}, []op{{"synack", 0, 25, -5000, 1}, {"synack", 0, 33, -5000, 1}, {"reset", 0, 24, -5000, 0}, {"again", 0, 26, 4253, 1}}},
	{[]string{"http1.pcapng 4", "http1.pcapng 0"}, []op{{"reused", 0, 2, 11, 0}, {"synack", 0, 8, -1, 1}, {"twice", 0, 8, 34, 0}}},
	{[]string{"redis.pcap 5"}, []op{{"begins", 0, 16, 0, 0}, {"lost", 0, 18, 0, 0}, {"translated late", 0, 2, 8462, 0}}},
	{[]string{"postgresql.pcapng 1 six"}, []op{{"translated late", 0, 5, 18671, 1}, {"begins", 0, 3, 0, 0}}},
	{[]string{"stomp.pcapng 0"}, []op{{"translated late", 0, 8, 15058, 0}, {"begins", 0, 9, 0, 0}, {"bytes", 0, 11, 0, 0}}},
	{[]string{"mysql.pcapng 1", "mysql.pcapng 2"}, []op{{"ends", 0, 4, 0, 0}, {"reused", 0, 6, 48, 1}}},
	{[]string{"postgresql.pcapng 0"}, []op{{"ends", 0, 89, 0, 0}}},
	{[]string{"nats.pcapng 5"}, []op{{"ends", 0, 8, 0, 0}}},
	{[]string{"amqp.pcapng 1"}, []op{{"translated late", 0, 2, 12953, 0}, {"begins", 0, 2, 0, 0}, {"bytes", 0, 3, 0, 0}}},
	{[]string{"snmp.pcapng 4", "", "", "redis.pcap 1"}, []op{{"time", 0, 0, 2, 1}, {"fragments", 0, 0, 6, 0}}},
	{[]string{"ntp.pcapng 2", "smtp.pcapng 1"}, []op{{"time", 0, 0, 2, 0}, {"twice", 0, 0, 17, 1}}},
	{[]string{"diameter.pcapng 0"}, []op{{"translated late", 0, 10, 8121, 0}, {"lost", 0, 0, 0, 0}}},
	{[]string{"postgresql.pcapng 5"}, []op{{"syn", 0, 4, 1073741824, 1}, {"bytes ahead", 0, 5, -10, 0}}},
	{[]string{"", "", "redis.pcap 2 six"}, []op{{"translated late", 2, 4, 660, 1}, {"lost", 2, 1, 0, 0}, {"bytes", 2, 5, 0, 0}}},
}

func TestGeneratedCases(t *testing.T) {
	for _, x := range generatedCases {
		if list := x.faults(t); len(list) > 0 {
			t.Errorf("%v\n\t%s", x, strings.Join(list, "\n\t"))
		}
	}
}

// TestGeneratedAttacks changes conversations of samples at random. PCAPSULE_SEEDS=from-to runs others.
func TestGeneratedAttacks(t *testing.T) {
	from, to := int64(0), int64(150)
	if s := os.Getenv("PCAPSULE_SEEDS"); s != "" {
		a, b, _ := strings.Cut(s, "-")
		from, _ = strconv.ParseInt(a, 10, 64)
		to, _ = strconv.ParseInt(b, 10, 64)
	}
	failed := 0
	for seed := from; seed < to && failed < 16; seed++ {
		x := generate(t, seed)
		if list := x.faults(t); len(list) > 0 {
			failed++
			x = x.smallest(t)
			t.Errorf("seed %d: %v\n\t%s", seed, x, strings.Join(x.faults(t), "\n\t"))
		}
	}
}
