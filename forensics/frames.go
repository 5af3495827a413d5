package forensics

import (
	"context"
	"fmt"
	"path"
	"slices"
	"strings"
	"sync"
	"unicode"

	"github.com/pcapsule/pcapsule/exporter/bundle"
	"github.com/pcapsule/pcapsule/exporter/table"
	"github.com/pcapsule/pcapsule/forensics/internal/cite"
	"github.com/pcapsule/pcapsule/internal/clip"
)

// Cite writes each list of citations as people read them: files, and the numbers that Wireshark gives
// their frames, "node.pcap frames 12-15,20".
func (c *Case) Cite(ctx context.Context, lists ...[]Citation) ([]string, error) {
	found, err := c.locate(ctx, lists)
	if err != nil {
		return nil, err
	}
	out := make([]string, len(lists))
	for i, list := range found {
		out[i] = cite.Text(list)
	}
	return out, nil
}

// CiteRows sets Cited of an answer. A row that does not say in which of several bundles its packets are, or that names
// packets which cannot exist, has no citation: SQL may compute any number.
func (c *Case) CiteRows(ctx context.Context, r *Result) error {
	lists := make([][]Citation, len(r.Citations))
	for i, x := range r.Citations {
		if n := len(x.Packets); x.Bundle >= 0 && x.Bundle < len(c.bundles) && n > 0 && x.Packets[n-1].Last < maxPackets {
			lists[i] = []Citation{x}
		}
	}
	var err error
	r.Cited, err = c.Cite(ctx, lists...)
	return err
}

// CitePacket cites one packet.
func CitePacket(b int, no int64) Citation {
	return Citation{Bundle: b, Packets: table.Cites{{First: no, Last: no}}}
}

// CiteSpans is Cite for spans from a first to a last packet that contain packets of others: a span within
// one file is a range of its frames, otherwise both ends are written.
func (c *Case) CiteSpans(ctx context.Context, ends ...[2]Citation) ([]string, error) {
	lists := make([][]Citation, len(ends))
	for i, e := range ends {
		lists[i] = e[:]
	}
	found, err := c.locate(ctx, lists)
	if err != nil {
		return nil, err
	}
	out := make([]string, len(ends))
	for i, list := range found {
		if len(list) == 2 && list[0].File == list[1].File && list[0].Hidden == list[1].Hidden {
			list = []cite.Frames{{File: list[0].File, First: list[0].First, Last: list[1].Last, Hidden: list[0].Hidden}}
		}
		out[i] = cite.Text(list)
	}
	return out, nil
}

// frameRuns are the runs of each bundle, which are read once.
type frameRuns struct {
	sync.Mutex
	of map[int]*runsOf
}

// runsOf are the runs of one bundle. If they are incomplete, because packets of its files alternate, its
// packets are looked up one by one.
type runsOf struct {
	list     []cite.Run
	complete bool
}

// maxKeptRuns is the highest number of runs that are kept for one bundle.
const maxKeptRuns = 10_000

// locate finds the frames of citations.
func (c *Case) locate(ctx context.Context, lists [][]Citation) ([][]cite.Frames, error) {
	labels := c.fileLabels()
	wanted := make([]numbers, len(c.bundles))
	runs := make([]*runsOf, len(c.bundles))
	for _, list := range lists {
		for _, x := range list {
			if x.Bundle < 0 || x.Bundle >= len(c.bundles) {
				return nil, &bundle.DamagedError{File: "data/tables", What: fmt.Sprintf("a row is of bundle %d, which is not in the case", x.Bundle)}
			}
			if runs[x.Bundle] == nil {
				var err error
				if runs[x.Bundle], err = c.runsOf(ctx, x.Bundle); err != nil {
					return nil, err
				}
			}
			if runs[x.Bundle].complete {
				continue
			}
			for _, r := range x.Packets {
				if err := wanted[x.Bundle].add(r.First, r.Last); err != nil {
					return nil, err
				}
			}
		}
	}
	for b := range wanted {
		if wanted[b].n == 0 {
			continue
		}
		list, err := c.lookRuns(ctx, b, &wanted[b])
		if err != nil {
			return nil, err
		}
		runs[b] = &runsOf{list: list}
	}
	out := make([][]cite.Frames, len(lists))
	for i, list := range lists {
		for _, x := range list {
			for _, r := range x.Packets {
				out[i] = append(out[i], cite.Of(runs[x.Bundle].list, r.First, r.Last, labels[x.Bundle])...)
			}
		}
		out[i] = cite.Join(out[i])
	}
	return out, nil
}

// frameSQL is the SQL for the number of a packet as people count it, and whether it is the one of Wireshark.
func (c *Case) frameSQL() (frame, hidden string) {
	if v := c.views["packets"]; v != nil && hasColumn(v.raw, "frame") {
		return "CASE WHEN coalesce(frame, 0) > 0 THEN frame ELSE file_index + 1 END", "coalesce(frame, 0) = 0"
	}
	return "file_index + 1", "true"
}

// runsOf reads the runs of a bundle.
func (c *Case) runsOf(ctx context.Context, b int) (*runsOf, error) {
	c.runs.Lock()
	defer c.runs.Unlock()
	if r := c.runs.of[b]; r != nil {
		return r, nil
	}
	r := &runsOf{complete: true}
	if c.views["packets"] != nil {
		frame, hidden := c.frameSQL()
		rows, err := c.db.Query(ctx, "SELECT file_id, "+frame+" - packet_no AS step, "+hidden+" AS hidden, min(packet_no) AS first, max(packet_no) AS last, count(*) AS n FROM packets_raw WHERE true"+c.ofBundle(b)+
			fmt.Sprintf(" GROUP BY ALL ORDER BY first LIMIT %d", maxKeptRuns+1))
		if err != nil {
			return nil, err
		}
		defer rows.Close()
		for rows.Next() {
			hidden, err := rows.Value(2)
			if err != nil {
				return nil, err
			}
			x := cite.Run{First: rows.Int(3), Last: rows.Int(4), File: rows.Int(0), Frame: rows.Int(1) + rows.Int(3), Hidden: hidden == true}
			if r.complete = len(r.list) < maxKeptRuns && rows.Int(5) == x.Last-x.First+1; !r.complete {
				break
			}
			r.list = append(r.list, x)
		}
		if err := rows.Err(); err != nil {
			return nil, err
		}
	}
	if !r.complete {
		r.list = nil
	}
	if c.runs.of == nil {
		c.runs.of = map[int]*runsOf{}
	}
	c.runs.of[b] = r
	return r, nil
}

// lookRuns looks up the runs of some packets of a bundle.
func (c *Case) lookRuns(ctx context.Context, b int, set *numbers) ([]cite.Run, error) {
	frame, hidden := c.frameSQL()
	var or []string
	var args []any
	for _, s := range set.spans() {
		or, args = append(or, "packet_no BETWEEN ? AND ?"), append(args, s.first, s.last)
	}
	where := "(" + strings.Join(or, " OR ") + ")"
	if set.n <= fewPackets {
		where, args = where+" AND packet_no IN (SELECT unnest(string_split(?, ',')::BIGINT[]))", append(args, set.list())
	}
	rows, err := c.db.Query(ctx, "SELECT packet_no, file_id, "+frame+" AS frame, "+hidden+" AS hidden FROM packets_raw WHERE "+where+c.ofBundle(b)+" ORDER BY packet_no", args...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var list []cite.Run
	for rows.Next() {
		no, file, frame := rows.Int(0), rows.Int(1), rows.Int(2)
		if !set.has(no) {
			continue
		}
		v, err := rows.Value(3)
		if err != nil {
			return nil, err
		}
		hidden := v == true
		list = cite.Extend(list, no, file, frame, hidden)
	}
	return list, rows.Err()
}

// markFrames marks the packets of frames as Cite writes them.
func (c *Case) markFrames(ctx context.Context, m *marks, texts []string) error {
	if c.views["packets"] == nil {
		return usagef("the case has no table packets")
	}
	type place struct {
		bundle int
		file   int64
	}
	files := map[string][]place{}
	var names []string
	add := func(name string, at place) {
		if files[name] == nil {
			names = append(names, name)
		}
		if !slices.Contains(files[name], at) {
			files[name] = append(files[name], at)
		}
	}
	only := len(c.bundles) == 1 && len(c.bundles[0].Manifest.Inputs) == 1
	for b, labels := range c.fileLabels() {
		for _, in := range c.bundles[b].Manifest.Inputs {
			at := place{b, int64(in.FileID)}
			add(labels[at.file], at)
			if !only {
				add(path.Base(in.Path), at)
			}
		}
	}
	frame, hidden := c.frameSQL()
	for _, text := range texts {
		list, err := cite.Parse(text, names)
		if err != nil {
			return usagef("%v", err)
		}
		for _, f := range list {
			at := files[f.File][0]
			if len(files[f.File]) > 1 {
				for _, other := range files[f.File][1:] {
					if c.input(other.bundle, other.file).SHA256 != c.input(at.bundle, at.file).SHA256 {
						return usagef("several files are named %s", f.File)
					}
				}
			}
			found, err := c.markRange(ctx, m, at.bundle, fmt.Sprintf("file_id = %d AND (%s) = %t AND %s BETWEEN %d AND %d", at.file, hidden, f.Hidden, frame, f.First, f.Last))
			if err != nil {
				return err
			}
			if !found {
				return fmt.Errorf("%s: %w", cite.Text([]cite.Frames{f}), ErrNotFound)
			}
		}
	}
	m.count()
	return c.findFlows(ctx, m)
}

// markRange marks the packets of a bundle that match a condition, and reports whether there are any.
func (c *Case) markRange(ctx context.Context, m *marks, b int, where string) (found bool, err error) {
	rows, err := c.db.Query(ctx, "SELECT packet_no FROM packets_raw WHERE "+where+c.ofBundle(b))
	if err != nil {
		return false, err
	}
	defer rows.Close()
	for rows.Next() {
		found = true
		if err := m.bundles[b].set.add(rows.Int(0), rows.Int(0)); err != nil {
			return false, err
		}
	}
	return found, rows.Err()
}

func (c *Case) input(b int, file int64) *bundle.Input {
	for i := range c.bundles[b].Manifest.Inputs {
		if in := &c.bundles[b].Manifest.Inputs[i]; int64(in.FileID) == file {
			return in
		}
	}
	return &bundle.Input{}
}

// maxLabel is the longest name of a file in a citation, in bytes.
const maxLabel = 120

// fileLabels are the names of the files in citations, by bundle and file_id: the name of the file, or, if files
// of different content have one name, its path in the bundle, or that with the number of the bundle.
func (c *Case) fileLabels() []map[int64]string { return FileLabels(c.bundles) }

// FileLabels are the names of the files of bundles in citations.
func FileLabels(bundles []*bundle.Bundle) []map[int64]string {
	forms := []func(b int, in *bundle.Input) string{
		func(_ int, in *bundle.Input) string {
			if in.Name == "-" || in.Name == "" || len(in.Name) > maxLabel {
				return path.Base(in.Path)
			}
			return in.Name
		},
		func(_ int, in *bundle.Input) string { return strings.TrimPrefix(in.Path, "data/packets/") },
		func(b int, in *bundle.Input) string {
			return fmt.Sprintf("bundle %d %s", b+1, strings.TrimPrefix(in.Path, "data/packets/"))
		},
	}
	out := make([]map[int64]string, len(bundles))
	for b := range out {
		out[b] = map[int64]string{}
	}
	for _, form := range forms {
		of := map[string]map[bundle.Digest]bool{}
		for b := range bundles {
			for i := range bundles[b].Manifest.Inputs {
				in := &bundles[b].Manifest.Inputs[i]
				name := clip.Text(strings.Map(visible, form(b, in)), 2*maxLabel)
				if of[name] == nil {
					of[name] = map[bundle.Digest]bool{}
				}
				of[name][in.SHA256] = true
			}
		}
		for b := range bundles {
			for i := range bundles[b].Manifest.Inputs {
				in := &bundles[b].Manifest.Inputs[i]
				name := clip.Text(strings.Map(visible, form(b, in)), 2*maxLabel)
				if out[b][int64(in.FileID)] == "" && len(of[name]) == 1 {
					out[b][int64(in.FileID)] = name
				}
			}
		}
	}
	return out
}

// visible replaces characters that a reader could not see.
func visible(r rune) rune {
	if !unicode.IsPrint(r) {
		return '�'
	}
	return r
}
