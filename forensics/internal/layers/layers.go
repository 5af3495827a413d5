// Package layers splits the bytes of a packet into layers and fields, each with the range of bytes that it
// was read from, as people know it from Wireshark. It reads one packet at a time: it reassembles and
// decrypts nothing. Fields have the names of Wireshark's display filters.
//
// Input is hostile: a field that does not lie within the packet is left out, and the numbers of layers and
// fields are limited.
package layers

// Limits of one packet.
const (
	maxLayers = 32
	maxFields = 1000
)

// Layer is one header of a packet, or what follows the headers.
type Layer struct {
	Name       string // as Wireshark abbreviates it
	Start, End int
	Content    bool // sent by an application, not a header of the network
	Fields     []Field
}

// Field is a value and the bytes that it was read from.
type Field struct {
	Name, Value string
	Start, End  int
}

// Split returns the layers of a packet, outermost first. They never overlap, and the last one ends where the
// packet does.
func Split(link uint32, data []byte) []Layer {
	s := &splitter{data: data, end: len(data)}
	s.link(link)
	if s.at < len(data) && s.at < s.end {
		s.rest(s.at, s.end, "data")
	}
	if s.end < len(data) {
		s.rest(s.end, len(data), "padding")
	}
	return s.out
}

type splitter struct {
	data   []byte
	at     int // where the next layer begins
	end    int // where a length field says that the layers end; padding follows
	out    []Layer
	fields int
}

// spec is a field at a fixed place of a header.
type spec struct {
	name     string
	at, size int
	show     func(b []byte) string
}

// header adds a layer of size bytes with fields at fixed places. It returns its bytes, or nil if there are too few.
func (s *splitter) header(name string, size int, specs []spec) []byte {
	if size < 0 || s.at+size > s.end || len(s.out) >= maxLayers {
		return nil
	}
	b := s.data[s.at : s.at+size]
	s.out = append(s.out, Layer{Name: name, Start: s.at, End: s.at + size})
	for _, f := range specs {
		if f.at+f.size <= size {
			s.field(f.name, f.show(b[f.at:f.at+f.size]), s.at+f.at, s.at+f.at+f.size)
		}
	}
	s.at += size
	return b
}

// field adds a field to the last layer.
func (s *splitter) field(name, value string, start, end int) {
	if s.fields >= maxFields || start < 0 || end > len(s.data) || start > end {
		return
	}
	s.fields++
	l := &s.out[len(s.out)-1]
	l.Fields = append(l.Fields, Field{name, value, start, end})
}

// content adds a layer of an application's bytes.
func (s *splitter) content(name string, start, end int) bool {
	if len(s.out) >= maxLayers || start >= end {
		return false
	}
	s.out = append(s.out, Layer{Name: name, Start: start, End: end, Content: true})
	return true
}

// rest adds what is not understood.
func (s *splitter) rest(start, end int, name string) {
	s.out = append(s.out, Layer{Name: name, Start: start, End: end, Content: true}) // even after maxLayers: every byte belongs to a layer
	s.at = end
}

// limit takes note of a length field: what follows n bytes after from is padding.
func (s *splitter) limit(from, n int) {
	if n >= 0 && from+n < s.end {
		s.end = from + n
	}
}
