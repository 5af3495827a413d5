package read

import (
	"context"
	"io"
	"path/filepath"

	"github.com/pcapsule/pcapsule/exporter/bundle/sha"
	"github.com/pcapsule/pcapsule/recorder/pcapng"
)

// Hashed is an input's name and the SHA-256 of its original bytes; nil for a stream that can be
// read only once.
type Hashed struct {
	Name   string
	SHA256 []byte
}

// Hash reads all inputs completely.
func (in *Inputs) Hash(ctx context.Context) ([]Hashed, error) {
	var list []Hashed
	for _, x := range in.files {
		h := Hashed{Name: x.name}
		if x.path == "-" {
			h.Name = "standard input"
		}
		var err error
		if h.SHA256, err = x.hash(ctx); err != nil {
			return nil, &InputError{x.path, err}
		}
		list = append(list, h)
	}
	return list, nil
}

// unpackedName is the base name without the extension of the compression.
func unpackedName(name string, c pcapng.Compression) string {
	if name == "-" {
		return "stdin"
	}
	if ext := filepath.Ext(name); c != pcapng.CompressionNone && len(ext) > 1 && len(ext) < len(name) {
		return name[:len(name)-len(ext)]
	}
	return name
}

// hash is the SHA-256 of the original input; nil for a stream that can be read only once.
func (x *input) hash(ctx context.Context) ([]byte, error) {
	if x.stdin != nil && x.spool == nil {
		return nil, nil
	}
	r, f, err := x.raw()
	if err != nil {
		return nil, err
	}
	if f != nil {
		defer f.Close()
	}
	h := sha.New()
	buf := make([]byte, 1<<20)
	for {
		n, err := r.Read(buf)
		h.Write(buf[:n])
		if err == io.EOF {
			return h.Sum(nil), nil
		}
		if err == nil {
			err = context.Cause(ctx)
		}
		if err != nil {
			return nil, err
		}
	}
}
