package dissect

import (
	"crypto/sha256"
	"strings"

	"github.com/pcapsule/pcapsule/exporter/dissect/internal/coding"
	"github.com/pcapsule/pcapsule/exporter/dissect/object"
	"github.com/pcapsule/pcapsule/exporter/table"
	"github.com/pcapsule/pcapsule/internal/clip"
)

// File marks a body as a file. A dissector sets Body.File before it emits the call; the file's type
// by content, its size and its hash come from the body. If the body is a MIME message, its parts
// are files too.
type File struct {
	Name    string           // in the protocol's own words; may be empty
	NamedBy string           // value of column named_by; empty without a name
	Offset  table.Opt[int64] // where the body begins in the file, if only a part was requested
	Why     string           // why a body without gaps is not the whole file: a value of column why; empty if it is
}

// objects lists the files of a finished body. Column call_no is still missing, and so are others that
// the call has.
func (b *Body) objects(side string, kinds fileKinds) []table.Object {
	if b == nil || b.size == 0 || b.File == nil && !b.Large {
		return nil
	}
	scan, container := b.scan, strings.HasPrefix(object.MediaType(b.ContentType), "multipart/")
	if scan == nil && !b.Large && (b.Codings != "" || coding.List(b.Encoding) == nil) {
		if scan = object.NewScanner(b.ContentType); scan != nil {
			scan.Write(b.Bytes())
		}
	}
	var list []table.Object
	if !container || b.Large || scan == nil {
		list = append(list, b.object(side, kinds))
	}
	if scan == nil || b.File == nil {
		return list
	}
	files, more := scan.Close(b.why())
	for i := range files {
		list = append(list, b.part(&files[i], side))
	}
	if more && len(list) > 0 {
		list[0].Why = table.Some(object.Limit)
	}
	return list
}

// why is the reason why the body is not complete; "" if it is.
func (b *Body) why() string {
	switch {
	case b.missing > 0:
		return object.Gap
	case !b.Complete:
		return object.Cut
	}
	return ""
}

// object is the body as a file.
func (b *Body) object(side string, kinds fileKinds) table.Object {
	o := table.Object{SHA256: b.Hash, Size: b.decoded, Complete: b.why() == "", Side: side, ContentType: table.NonEmpty(b.ContentType), Why: table.NonEmpty(b.why())}
	if b.Large {
		o.Size, o.Encoding, o.Kind = b.size, table.NonEmpty(b.Encoding), table.NonEmpty(b.kind)
	} else {
		o.BodySHA256, o.Kind = table.Some(b.Hash), table.NonEmpty(kinds.of(b))
		if coding.List(b.Encoding) != nil && b.Codings == "" {
			o.Encoding, o.Kind = table.NonEmpty(b.Encoding), table.Opt[string]{}
		}
	}
	o.BodySize = o.Size
	if f := b.File; f != nil {
		o.Name, o.NamedBy, o.FileFrom = fileName(f.Name), table.NonEmpty(f.NamedBy), f.Offset
		if f.Offset.OK && o.Complete {
			o.Complete, o.Why = false, table.Some(object.Range)
		}
		if f.Why != "" && o.Complete {
			o.Complete, o.Why = false, table.Some(f.Why)
		}
	}
	return o
}

// fileKinds are the types of recent bodies by their hashes: many responses are equal, and finding the type
// of a text costs as much as reading it.
type fileKinds map[table.Hash]string

const maxFileKinds = 1024

func (k fileKinds) of(b *Body) string {
	kind, ok := k[b.Hash]
	if !ok {
		if len(k) == maxFileKinds {
			clear(k)
		}
		kind = object.KindOf(b.Bytes())
		k[b.Hash] = kind
	}
	return kind
}

// fileName is a name that a sender chose, on one line.
func fileName(name string) table.Opt[string] {
	return table.NonEmpty(clip.Line([]byte(name), object.MaxName))
}

// part is a file within the body.
func (b *Body) part(f *object.File, side string) table.Object {
	why := f.Why
	if why == object.Gap && f.Offset+f.Size <= b.gapAt && b.Codings == "" {
		why = ""
	}
	if why == "" && b.missing > 0 && f.Offset+f.Size > b.gapAt {
		why = object.Gap
	}
	o := table.Object{SHA256: table.Hash(f.SHA256), Size: f.Length, Complete: why == "", Why: table.NonEmpty(why), Side: side, ContentType: table.NonEmpty(clip.Text(f.ContentType, object.MaxType)),
		Name: fileName(f.Name), NamedBy: table.NonEmpty(f.NamedBy), Kind: table.NonEmpty(f.Kind), Part: table.Some(f.Part),
		BodyFrom: f.Offset, BodySize: f.Size, Transfer: table.NonEmpty(f.Transfer)}
	if !b.Large {
		o.BodySHA256 = table.Some(b.Hash)
	}
	return o
}

// NameObjects sets the fields that objects have from their call, once the call is numbered.
func NameObjects(list []table.Object, c *table.Call) {
	for i := range list {
		o := &list[i]
		o.CallNo, o.CallID, o.Protocol, o.TsNs, o.Ts, o.Cites = c.CallNo, c.CallID, c.Protocol, c.TsNs, c.Ts, c.Cites
		sum := sha256.Sum256(append(append(c.CallID[:len(c.CallID):len(c.CallID)], o.Side...), "/"+o.Part.V...))
		copy(o.ObjectID[:], sum[:])
	}
}
