package carve

import (
	"context"
	"encoding/hex"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"

	"github.com/pcapsule/pcapsule/recorder/pcapng"
)

// Pick is a packet to write.
type Pick struct {
	File   int // index in the list of files
	Offset int64
	Index  int64  // number in its file, for the comment
	Cited  string // its original file and frame, for one more comment

	Comments []string // more comments
}

// Options of a slice.
type Options struct {
	Application string   // for the section header
	Comments    []string // of the section
	NoPlace     bool     // packets have no comment about their origin
	Secrets     []pcapng.Secrets

	// Clock says which clock stamped the packets of an interface of a file; nil: that of its section.
	Clock func(file int, i *pcapng.Interface) pcapng.ClockMark
}

// Report describes a written slice.
type Report struct {
	Packets    int64
	Bytes      int64 // of the slice
	Interfaces int
	LinkTypes  []uint16 // sorted
	SnapLen    uint32   // common snap length of all interfaces; 0 if they kept their own
	Secrets    int      // blocks of keys
	FirstNs    int64
	LastNs     int64
}

// Write writes the packets of picks as one PCAPNG section: the interfaces that they use, each with the
// mark of its clock, the given secrets, and the packets in the order of picks. It calls picks twice, which must yield the same
// packets both times; only the comments of the second time are read. Secrets precede the packets, because readers do not look ahead. Secrets in the
// packets' own files are not copied.
func Write(ctx context.Context, w io.Writer, files []*File, o Options, picks func(yield func(Pick) error) error) (Report, error) {
	var r Report
	out, err := pcapng.NewWriter(w, pcapng.Section{Application: o.Application, Comments: o.Comments}, pcapng.WriterOptions{})
	if err != nil {
		return r, err
	}
	c := pcapng.NewCopier(out)
	used := make([]map[int32]*pcapng.Interface, len(files))
	err = picks(func(p Pick) error {
		i, err := files[p.File].ifaceAt(p.Offset)
		if err != nil {
			return err
		}
		if used[p.File] == nil {
			used[p.File] = map[int32]*pcapng.Interface{}
		}
		used[p.File][i.Index] = i
		return ctx.Err()
	})
	if err != nil {
		return r, err
	}
	if err := r.heads(out, c, o, files, used); err != nil {
		return r, err
	}
	var more pcapng.OptionList
	err = picks(func(p Pick) error {
		packet, i, err := files[p.File].Packet(p.Offset)
		if err != nil {
			return err
		}
		more.Reset()
		if !o.NoPlace {
			more.Comment(Place(files[p.File].in.SHA256, p.Index))
			if p.Cited != "" {
				more.Comment(p.Cited)
			}
		}
		for _, text := range p.Comments {
			more.Comment(text)
		}
		if err := c.Packet(p.File, i, &packet, &more); err != nil {
			return err
		}
		if r.Packets == 0 {
			r.FirstNs = packet.Time
		}
		r.Packets++
		r.LastNs = packet.Time
		return ctx.Err()
	})
	if err == nil {
		err = out.Flush()
	}
	r.Bytes = out.Offset()
	return r, err
}

// heads writes the blocks before the packets.
func (r *Report) heads(out *pcapng.Writer, c *pcapng.Copier, o Options, files []*File, used []map[int32]*pcapng.Interface) error {
	r.survey(used)
	for n, list := range used {
		for _, k := range slices.Sorted(maps.Keys(list)) {
			m := pcapng.ClockMark{ID: pcapng.ClockOfSection(files[n].in.SHA256, list[k].Section)}
			if o.Clock != nil {
				m = o.Clock(n, list[k])
			}
			i := list[k].Marked(&m)
			if r.SnapLen != 0 {
				i.SnapLen = r.SnapLen
			}
			if _, err := c.Interface(n, &i); err != nil {
				return err
			}
		}
	}
	for _, k := range o.Secrets {
		if err := out.WriteSecrets(k); err != nil {
			return fmt.Errorf("writing keys: %w", err)
		}
		r.Secrets++
	}
	return nil
}

// unlimited replaces a snap length of 0, which means no limit.
const unlimited = 262144

// survey counts the interfaces. If all have the same link type but different snap lengths, they get
// the longest one; otherwise libpcap rejects the file.
func (r *Report) survey(used []map[int32]*pcapng.Interface) {
	var snaps []uint32
	for _, list := range used {
		for _, i := range list {
			r.Interfaces++
			r.LinkTypes = append(r.LinkTypes, i.LinkType)
			snaps = append(snaps, i.SnapLen)
		}
	}
	slices.Sort(r.LinkTypes)
	r.LinkTypes = slices.Compact(r.LinkTypes)
	slices.Sort(snaps)
	snaps = slices.Compact(snaps)
	if len(r.LinkTypes) != 1 || len(snaps) < 2 {
		return
	}
	r.SnapLen = snaps[len(snaps)-1]
	if snaps[0] == 0 {
		r.SnapLen = max(r.SnapLen, unlimited)
	}
}

// Place is the comment that locates a packet: the hash of its file and its number in it.
func Place(sha256 []byte, index int64) string {
	return "pcapsule:" + hex.EncodeToString(sha256[:4]) + "#" + strconv.FormatInt(index, 10)
}
