package read

import (
	"os"
	"path/filepath"

	"github.com/pcapsule/pcapsule/exporter/bundle"
)

// OfBundle are the inputs that a bundle holds, in the order of the run that made it.
func OfBundle(b *bundle.Bundle) (*Inputs, error) {
	in := &Inputs{again: true}
	for i := range b.Manifest.Inputs {
		m := &b.Manifest.Inputs[i]
		x := &input{path: b.Path(m.Path), name: m.Name, size: m.Size, first: 1<<63 - 1}
		if m.FirstNs != nil {
			x.first = int64(*m.FirstNs)
		}
		in.files = append(in.files, x)
		in.total += m.Size
	}
	sidesOf(b, in)
	// The order of the file ids is the order in which the inputs were opened.
	return in, firstTimes(in.files)
}

// sidesOf gives the inputs of a bundle what the bundle keeps of the files beside them.
func sidesOf(b *bundle.Bundle, sources *Inputs) {
	for _, s := range b.Manifest.SideInputs {
		if s.Kind == "seals" {
			sources.rings = append(sources.rings, &ringFolder{dir: filepath.Dir(b.Path(s.Path))})
		}
		if s.FileID == nil || s.Path == "" || int(*s.FileID) >= len(sources.files) || *s.FileID < 0 {
			continue
		}
		x := sources.files[*s.FileID]
		switch s.Kind {
		case "owners":
			x.sides.owners = b.Path(s.Path)
		case "events":
			x.sides.events = b.Path(s.Path)
		}
	}
}

// firstTimes reads the time of each file's first packet, as openInputs did.
func firstTimes(files []*input) error {
	for _, x := range files {
		f, err := os.Open(x.path)
		if err != nil {
			return &InputError{x.path, err}
		}
		err = x.peek(f)
		f.Close()
		if err != nil {
			return &InputError{x.path, err}
		}
	}
	return nil
}
