package read

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/pcapsule/pcapsule/exporter/bundle"
	"github.com/pcapsule/pcapsule/recorder/pcapng"
)

// OfBundle returns the inputs in a bundle, ordered by content. Facts that only the imported files
// had, such as their names and compression, come from bundle.json.
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

// Keep makes a run copy the packets of a bundle's inputs into the bundle that it makes, as for
// other captures, or move them.
func (in *Inputs) Keep(move bool) {
	for _, x := range in.files {
		x.keep, x.move = true, move
	}
}

// adopt moves a packet file, which is never compressed, into the bundle.
func (x *input) adopt(o *opened, b *bundle.Builder) (err error) {
	rel := fmt.Sprintf("data/packets/import/%03d-%s", o.id, bundle.SafeName(unpackedName(x.name, pcapng.CompressionNone)))
	if o.copy, err = b.Adopt(rel, x.path); err == nil {
		x.moved = b.Path(rel)
	}
	return err
}

// Paths lists where the inputs are, by their file_id.
func (in *Inputs) Paths() (list []string) {
	for _, x := range in.files {
		list = append(list, x.path)
	}
	return list
}

// sidesOf assigns the side files kept in a bundle to its inputs.
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

// firstTimes reads the time of each file's first packet, like openInputs did.
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

// unreadable is the kind of damage for a compressed file that could not be decompressed further.
const unreadable = "unreadable"

// compression is the compression of the original input, even if a bundle holds it uncompressed.
func (o *opened) compression() pcapng.Compression {
	if o.claim != nil && o.src.Compression == pcapng.CompressionNone {
		return pcapng.Compression(o.claim.Compression)
	}
	return o.src.Compression
}

// unpacked returns the bytes of src. If a bundle says that its input could not be decompressed
// to the end, the reader ends with the original error: a packet cut by the end of a compressed
// file is reported differently from one at the end of a plain file.
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

// unpackError is the reason why an input could not be decompressed further when the bundle was
// made.
type unpackError struct{ detail string }

// Error implements error.
func (e *unpackError) Error() string { return e.detail }

// Is distinguishes a truncated file from a damaged one.
func (e *unpackError) Is(target error) bool {
	return target == io.ErrUnexpectedEOF && strings.HasSuffix(e.detail, io.ErrUnexpectedEOF.Error())
}

// endsIn is a reader that ends with an error other than io.EOF.
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
