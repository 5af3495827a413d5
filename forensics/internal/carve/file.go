// Package carve reads single packets from a bundle's packet files, and writes selected packets as a
// PCAPNG slice.
//
// A slice keeps the bytes, time, original length and options of a packet and the description of its
// interface; a comment states the origin of each packet. It contains only the secrets that the
// caller passes. Carve only reads the files and does not trust the tables: an offset without a packet
// is an error.
package carve

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"sort"

	"github.com/pcapsule/pcapsule/recorder/pcapng"
)

// Source describes a packet file of a bundle.
type Source struct {
	Path       string      // inside the bundle
	SHA256     []byte      // of the file
	Interfaces []Interface // all interfaces, if the file has one section and the bundle lists them all; otherwise none
}

// Interface locates the description of an interface.
type Interface struct{ Index, Offset int64 }

// File is a packet file of a bundle. It must be used by one goroutine only.
type File struct {
	in       Source
	src      *window
	size     int64
	sections []section
	buf      []byte
	loaded   bool
}

// section is a part of a PCAPNG file with its own interfaces; a classic pcap is one section.
type section struct {
	offset    int64
	bigEndian bool
	ifaces    []pcapng.Interface // by number in the section
}

// NewFile returns a File for the packet file that in describes.
func NewFile(src io.ReaderAt, size int64, in Source) *File {
	return &File{in: in, src: &window{src: src}, size: size}
}

// load reads the interfaces at the places in bundle.json if these are complete, otherwise it scans
// the file.
func (f *File) load() error {
	if f.loaded {
		return nil
	}
	if !f.listed() {
		if err := f.walk(); err != nil {
			return fmt.Errorf("reading %s: %w", f.in.Path, err)
		}
	}
	index := int32(0)
	for s := range f.sections {
		for i := range f.sections[s].ifaces {
			f.sections[s].ifaces[i].Index = index
			index++
		}
	}
	f.loaded = true
	return nil
}

// listed reads the interfaces at the places in bundle.json. It returns false if these are incomplete
// or wrong.
func (f *File) listed() bool {
	if len(f.in.Interfaces) == 0 {
		return false
	}
	one := section{}
	for k := range f.in.Interfaces {
		i, err := pcapng.ReadInterfaceAt(f.src, 0, f.in.Interfaces[k].Offset, uint32(k))
		if err != nil || int64(k) != f.in.Interfaces[k].Index {
			return false
		}
		one.bigEndian = i.BigEndian
		one.ifaces = append(one.ifaces, i)
	}
	f.sections = []section{one}
	return true
}

// walk scans the file from its start.
func (f *File) walk() error {
	r, err := pcapng.NewReader(io.NewSectionReader(f.src.src, 0, f.size), pcapng.Options{})
	if err != nil {
		return err
	}
	var b pcapng.Batch
	for err == nil {
		err = r.Next(&b)
	}
	if !errors.Is(err, io.EOF) {
		return err
	}
	for _, i := range r.Interfaces() {
		if n := len(f.sections); n == 0 || f.sections[n-1].offset != i.SectionOffset {
			f.sections = append(f.sections, section{offset: i.SectionOffset, bigEndian: i.BigEndian})
		}
		s := &f.sections[len(f.sections)-1]
		for len(s.ifaces) < int(min(i.ID, 1<<16)) { // numbers without a description
			s.ifaces = append(s.ifaces, pcapng.Interface{ID: uint32(len(s.ifaces))})
		}
		s.ifaces = append(s.ifaces, i)
	}
	return nil
}

// section returns the section that contains off.
func (f *File) section(off int64) *section {
	n := sort.Search(len(f.sections), func(i int) bool { return f.sections[i].offset > off })
	if n == 0 {
		return nil
	}
	return &f.sections[n-1]
}

// ifaceAt returns the interface of the packet that begins at off.
func (f *File) ifaceAt(off int64) (*pcapng.Interface, error) {
	if err := f.load(); err != nil {
		return nil, err
	}
	s := f.section(off)
	if s == nil || len(s.ifaces) == 0 {
		return nil, fmt.Errorf("reading %s at %d: no interface is described before it", f.in.Path, off)
	}
	if len(s.ifaces) == 1 {
		return &s.ifaces[0], nil
	}
	var head [12]byte
	if _, err := f.src.ReadAt(head[:], off); err != nil {
		return nil, fmt.Errorf("reading %s at %d: %w", f.in.Path, off, err)
	}
	var order binary.ByteOrder = binary.LittleEndian
	if s.bigEndian {
		order = binary.BigEndian
	}
	id := uint32(0)
	switch pcapng.BlockType(order.Uint32(head[:])) {
	case pcapng.BlockEnhanced:
		id = order.Uint32(head[8:])
	case pcapng.BlockPacket:
		id = uint32(order.Uint16(head[8:]))
	}
	if int64(id) >= int64(len(s.ifaces)) {
		return nil, fmt.Errorf("reading %s at %d: interface %d of %d", f.in.Path, off, id, len(s.ifaces))
	}
	return &s.ifaces[id], nil
}

// Packet reads the packet that begins at off. It is valid until the next call.
func (f *File) Packet(off int64) (pcapng.Packet, *pcapng.Interface, error) {
	i, err := f.ifaceAt(off)
	if err != nil {
		return pcapng.Packet{}, nil, err
	}
	p, buf, err := pcapng.ReadPacketAt(f.src, i, off, f.buf)
	f.buf = buf
	if err != nil {
		return p, nil, fmt.Errorf("reading %s: %w", f.in.Path, err)
	}
	return p, i, nil
}

// window reads ahead: packets are requested one by one, mostly in file order.
type window struct {
	src io.ReaderAt
	buf []byte
	off int64
	end int64 // end of the last read, to distinguish sequential reads from jumps
}

const (
	readAhead = 256 << 10
	readJump  = 4 << 10
)

// ReadAt reads through the window.
func (w *window) ReadAt(p []byte, off int64) (int, error) {
	if off < 0 {
		return 0, fmt.Errorf("offset %d is below zero", off)
	}
	if at := off - w.off; at >= 0 && at <= int64(len(w.buf)-len(p)) {
		return copy(p, w.buf[at:]), nil
	}
	size := readJump
	if near := off - w.end; near >= -readAhead && near <= readAhead {
		size = readAhead
	}
	if len(p) >= size {
		return w.src.ReadAt(p, off)
	}
	if cap(w.buf) < size {
		w.buf = make([]byte, size)
	}
	n, err := w.src.ReadAt(w.buf[:size], off)
	w.buf, w.off, w.end = w.buf[:n], off, off+int64(n)
	if n < len(p) && err == nil {
		err = io.ErrUnexpectedEOF
	}
	n = copy(p, w.buf)
	if n == len(p) {
		return n, nil
	}
	return n, err
}
