package forensics

import (
	"context"
	"fmt"
	"math/bits"
	"strconv"
	"strings"

	"github.com/pcapsule/pcapsule/exporter/bundle"
	"github.com/pcapsule/pcapsule/forensics/internal/carve"
	"github.com/pcapsule/pcapsule/forensics/internal/cite"
	"github.com/pcapsule/pcapsule/forensics/internal/duck"
)

// maxSpans is the highest number of ranges in a query for packets; more are joined.
const maxSpans = 64

// fewPackets is the highest number of packets that are selected by number. DuckDB then filters the
// packets between them, which is faster than filtering rows here.
const fewPackets = 200_000

// picks yields the marked packets by time, and within one bundle by number. With labels they have the comments of CallComments.
func (c *Case) picks(ctx context.Context, m *marks, files *packetFiles, labelled bool, yield func(carve.Pick) error) error {
	var sources []*picking
	labels := c.fileLabels()
	defer func() {
		for _, s := range sources {
			s.close()
		}
	}()
	for b := range m.bundles {
		s, err := c.picking(ctx, m, b, labels)
		if err != nil {
			return err
		}
		if s == nil {
			continue
		}
		sources = append(sources, s)
		if labelled {
			if s.calls, err = c.callsByPacket(ctx, m, b); err != nil {
				return err
			}
		}
		if err := s.next(m); err != nil {
			return err
		}
	}
	for {
		var first *picking
		for _, s := range sources {
			if !s.done && (first == nil || s.time < first.time) {
				first = s
			}
		}
		if first == nil {
			return nil
		}
		p, err := first.pick(files)
		if err != nil {
			return err
		}
		if err := yield(p); err != nil {
			return err
		}
		if err := first.next(m); err != nil {
			return err
		}
	}
}

// picking iterates over the rows of packets in one bundle.
type picking struct {
	bundle int
	rows   *duck.Rows
	time   int64
	done   bool
	owners bool
	labels map[int64]string // of its files, by file_id
	calls  *callsByPacket   // nil: packets have no comments about calls
}

func (s *picking) close() {
	s.rows.Close()
	if s.calls != nil {
		s.calls.rows.Close()
	}
}

// picking queries the packets of one bundle; nil if none is marked.
func (c *Case) picking(ctx context.Context, m *marks, b int, labels []map[int64]string) (*picking, error) {
	var where []string
	var args []any
	var or []string
	if m.all {
		from, to := m.window()
		or, args = append(or, "p.ts_ns BETWEEN ? AND ?"), append(args, from, to)
	}
	for _, s := range m.bundles[b].set.spans() {
		or, args = append(or, "p.packet_no BETWEEN ? AND ?"), append(args, s.first, s.last)
	}
	if len(or) == 0 {
		return nil, nil
	}
	where = append(where, "("+strings.Join(or, " OR ")+")")
	few := !m.all && m.bundles[b].set.n <= fewPackets
	if few {
		where, args = append(where, "p.packet_no IN (SELECT unnest(string_split(?, ',')::BIGINT[]))"), append(args, m.bundles[b].set.list())
	}
	if c.several() {
		where, args = append(where, "p.bundle = ?"), append(args, int64(b))
	}
	frame, hidden := c.frameSQL()
	sql := "SELECT p.packet_no, p.file_id, p.\"offset\", p.file_index, p.ts_ns, " + frame + " AS counted, CASE WHEN " + hidden + " THEN 1 ELSE 0 END::BIGINT AS hidden"
	from := " FROM packets_raw p"
	if m.owners || m.labels != "" {
		and := ""
		if c.several() {
			and = " AND f.bundle = p.bundle"
		}
		sql += ", p.flags"
		if m.owners {
			sql += ", f.src_name, f.src_namespace, f.dst_name, f.dst_namespace"
		} else {
			sql += ", " + c.sideSQL("flows", "f.")
		}
		from += " LEFT JOIN flows f ON f.flow_id = p.flow_id" + and
	}
	if len(where) > 0 {
		from += " WHERE " + strings.Join(where, " AND ")
	}
	if m.owners || m.labels != "" || few { // otherwise they are stored by number
		from += " ORDER BY p.packet_no"
	}
	rows, err := c.db.Query(ctx, sql+from, args...)
	if err != nil {
		return nil, err
	}
	return &picking{bundle: b, rows: rows, owners: m.owners, labels: labels[b]}, nil
}

// list writes the numbers, separated by commas.
func (s *numbers) list() string {
	var b []byte
	for w, word := range s.words {
		for ; word != 0; word &= word - 1 {
			if len(b) > 0 {
				b = append(b, ',')
			}
			b = strconv.AppendInt(b, int64(w*64+bits.TrailingZeros64(word)), 10)
		}
	}
	return string(b)
}

// next advances to the next marked packet.
func (s *picking) next(m *marks) error {
	from, to := m.window()
	for s.rows.Next() {
		if ns := s.rows.Int(4); m.all && ns >= from && ns <= to || m.bundles[s.bundle].set.has(s.rows.Int(0)) {
			s.time = s.rows.Int(4)
			return nil
		}
	}
	s.done = true
	return s.rows.Err()
}

func (s *picking) pick(files *packetFiles) (carve.Pick, error) {
	file, err := files.find(s.bundle, s.rows.Int(1))
	if err != nil {
		return carve.Pick{}, err
	}
	p := carve.Pick{File: file, Offset: s.rows.Int(2), Index: s.rows.Int(3)}
	n := s.rows.Int(5)
	p.Cited = cite.Text([]cite.Frames{{File: s.labels[s.rows.Int(1)], First: n, Last: n, Hidden: s.rows.Int(6) != 0}})
	if s.owners {
		from, to := owner(s.rows.Text(8), s.rows.Text(9)), owner(s.rows.Text(10), s.rows.Text(11))
		if s.rows.Int(7)&0x100 != 0 {
			from, to = to, from
		}
		if from != "" && to != "" {
			p.Comments = []string{from + " → " + to}
		}
	}
	if s.calls != nil {
		p.Comments, err = s.calls.comments(s.rows.Int(0), readSides(s.rows, 8))
	}
	return p, err
}

func owner(name, namespace string) string {
	if namespace == "" {
		return name
	}
	return namespace + "/" + name
}

// packetFiles are the packet files of a case, opened on first read. Each operation has its own.
type packetFiles struct {
	list   []*carve.File
	places []map[int64]int // by bundle: file_id to index in list
	opened []*lazyFile
}

func (c *Case) openFiles() *packetFiles {
	p := &packetFiles{}
	for _, b := range c.bundles {
		places := map[int64]int{}
		for i := range b.Manifest.Inputs {
			in := &b.Manifest.Inputs[i]
			l := &lazyFile{bundle: b, in: in}
			places[int64(in.FileID)] = len(p.list)
			p.opened = append(p.opened, l)
			p.list = append(p.list, carve.NewFile(l, in.Size, PacketSource(in)))
		}
		p.places = append(p.places, places)
	}
	return p
}

// find returns the index of a file, or an error if bundle.json lacks a file of table packets.
func (p *packetFiles) find(bundleNo int, fileID int64) (int, error) {
	if bundleNo >= 0 && bundleNo < len(p.places) {
		if at, ok := p.places[bundleNo][fileID]; ok {
			return at, nil
		}
	}
	return 0, &bundle.DamagedError{File: "data/tables/packets", What: fmt.Sprintf("file_id %d is not in bundle.json", fileID)}
}

func (p *packetFiles) close() {
	for _, l := range p.opened {
		if l.f != nil {
			l.f.Close() // read-only, so an error cannot lose data
		}
	}
}

// lazyFile opens its file on first read.
type lazyFile struct {
	bundle *bundle.Bundle
	in     *bundle.Input
	f      bundle.InputFile
}

// ReadAt reads from the file.
func (l *lazyFile) ReadAt(b []byte, off int64) (int, error) {
	if l.f == nil {
		var err error
		if l.f, err = l.bundle.OpenInput(l.in); err != nil {
			return 0, err
		}
	}
	return l.f.ReadAt(b, off)
}

// PacketSource describes a packet file for carving. It lists interfaces only if the file has one section
// and the manifest has all its interfaces.
func PacketSource(in *bundle.Input) carve.Source {
	s := carve.Source{Path: in.Path, SHA256: in.SHA256[:]}
	if in.Sections > 1 || in.InterfacesMore > 0 {
		return s
	}
	for i := range in.Interfaces {
		s.Interfaces = append(s.Interfaces, carve.Interface{Index: in.Interfaces[i].Index, Offset: in.Interfaces[i].Offset})
	}
	return s
}
