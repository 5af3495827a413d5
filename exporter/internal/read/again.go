package read

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/pcapsule/pcapsule/exporter/bundle"
	"github.com/pcapsule/pcapsule/recorder/pcapng"
)

// OfBundle are the inputs that a bundle holds, in the order that their content gives. What
// only the files that were imported could tell, their names and how they were packed, is
// taken from bundle.json.
func OfBundle(b *bundle.Bundle) (*Inputs, error) {
	in := &Inputs{again: true}
	for i := range b.Manifest.Inputs {
		m := &b.Manifest.Inputs[i]
		x := &input{path: b.Path(m.Path), name: m.Name, size: m.Size, claim: m}
		in.files = append(in.files, x)
		in.total += m.Size
	}
	sidesOf(b, in)
	if err := firstTimes(in.files); err != nil {
		return nil, err
	}
	slices.SortStableFunc(in.files, inOrder)
	return in, nil
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

// unreadable is the kind of damage where a packed file could not be unpacked further.
const unreadable = "unreadable"

// compression is how the input came, also where a bundle holds it unpacked.
func (o *opened) compression() pcapng.Compression {
	if o.claim != nil && o.src.Compression == pcapng.CompressionNone {
		return pcapng.Compression(o.claim.Compression)
	}
	return o.src.Compression
}

// unpacked gives what src gives. Where a bundle says that its input could not be unpacked
// to the end, the end is the error that it was then: a packet cut by the end of a packed
// file is told otherwise than one in a file that ends there.
func (x *input) unpacked(src *pcapng.Source) io.Reader {
	if x.claim == nil || src.Compression != pcapng.CompressionNone || x.claim.Compression == "" {
		return src
	}
	for _, d := range slices.Backward(x.claim.Damage) {
		if d.Kind == unreadable && d.Offset == x.claim.Size {
			return &endsIn{src, &unpackError{d.Detail}}
		}
	}
	return src
}

// unpackError is why an input could not be unpacked further, when the bundle was made.
type unpackError struct{ detail string }

// Error implements error.
func (e *unpackError) Error() string { return e.detail }

// Is tells a cut file from a damaged one.
func (e *unpackError) Is(target error) bool {
	return target == io.ErrUnexpectedEOF && strings.HasSuffix(e.detail, io.ErrUnexpectedEOF.Error())
}

// endsIn gives another error than io.EOF at the end.
type endsIn struct {
	io.Reader
	end error
}

// Read implements io.Reader.
func (r *endsIn) Read(p []byte) (int, error) {
	n, err := r.Reader.Read(p)
	if errors.Is(err, io.EOF) {
		err = r.end
	}
	return n, err
}
