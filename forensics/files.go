package forensics

import (
	"fmt"

	"github.com/pcapsule/pcapsule/exporter/bundle"
	"github.com/pcapsule/pcapsule/forensics/internal/carve"
)

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
			p.list = append(p.list, carve.NewFile(l, in.Size, sourceOf(in)))
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

// sourceOf describes a packet file for carving. It lists interfaces only if the file has one section
// and the manifest has all its interfaces.
func sourceOf(in *bundle.Input) carve.Source {
	s := carve.Source{Path: in.Path, SHA256: in.SHA256[:]}
	if in.Sections > 1 || in.InterfacesMore > 0 {
		return s
	}
	for i := range in.Interfaces {
		s.Interfaces = append(s.Interfaces, carve.Interface{Index: in.Interfaces[i].Index, Offset: in.Interfaces[i].Offset})
	}
	return s
}
