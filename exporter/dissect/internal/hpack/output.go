package hpack

import "unsafe"

// Output is the fields of the block that a decoder decodes, within limits. Strings that are not kept in a table
// share one text.
type Output struct {
	Unknown int    // fields with Unknown set
	Dropped int    // fields over the limits, not returned
	Scratch []byte // names and values, end to end

	fields []Field
	list   int // size of fields
	shared []span
}

// span is the part of Scratch with a field's name or value.
type span struct {
	field    int
	value    bool
	from, to int
}

// Begin begins a block. The fields of the last one are no longer valid.
func (o *Output) Begin() {
	clear(o.fields)
	*o = Output{fields: o.fields[:0], Scratch: o.Scratch[:0], shared: o.shared[:0]}
}

// Fields returns the fields of the block.
func (o *Output) Fields() []Field {
	if len(o.shared) > 0 {
		text := string(o.Scratch)
		for _, s := range o.shared {
			if s.value {
				o.fields[s.field].Value = text[s.from:s.to]
			} else {
				o.fields[s.field].Name = text[s.from:s.to]
			}
		}
	}
	if cap(o.Scratch) > maxTable {
		o.Scratch = nil
	}
	return o.fields
}

// Fits reports whether a field with n bytes of name and value fits, and counts it.
func (o *Output) Fits(n int) bool {
	if len(o.fields) >= MaxFields || o.list+n+entryCost > MaxList {
		o.Dropped++
		return false
	}
	o.list += n + entryCost
	return true
}

// Name has the next field of Put get its name from Scratch.
func (o *Output) Name(from, to int) {
	o.shared = append(o.shared, span{len(o.fields), false, from, to})
}

// Value has the next field of Put get its value from Scratch.
func (o *Output) Value(from, to int) {
	o.shared = append(o.shared, span{len(o.fields), true, from, to})
}

// Put appends a field that fits.
func (o *Output) Put(f Field) {
	if f.Unknown {
		o.Unknown++
	}
	o.fields = append(o.fields, f)
}

// Memory is the memory of the last block in bytes.
func (o *Output) Memory() int {
	return cap(o.fields)*int(unsafe.Sizeof(Field{})) + o.list + cap(o.Scratch)
}
