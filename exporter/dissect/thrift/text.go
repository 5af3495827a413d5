package thrift

// brackets surround the values of containers.
var brackets = map[kind][2]string{kindStruct: {"{", "}"}, kindMap: {"{", "}"}, kindSet: {"{", "}"}, kindList: {"[", "]"}}

// elementBegins writes the separator between the elements of a container.
func (v *values) elementBegins() {
	top := &v.stack[len(v.stack)-1]
	switch {
	case top.kind == kindStruct:
	case top.kind == kindMap && top.left%2 == 1:
		v.put(": ")
	default:
		v.separate(top)
	}
}

func (v *values) separate(top *level) {
	if top.some {
		v.put(", ")
	}
	top.some = true
}

// put appends to the text while there is room.
func (v *values) put(s string) {
	switch {
	case v.full:
	case len(v.text)+len(s) > maxText:
		v.full = true
		v.text = append(v.text, "…"...)
	default:
		v.text = append(v.text, s...)
	}
}
