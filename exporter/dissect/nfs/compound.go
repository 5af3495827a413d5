package nfs

import (
	"strings"

	"github.com/pcapsule/pcapsule/exporter/dissect"
	"github.com/pcapsule/pcapsule/exporter/table"
)

// Operations of NFS 4 that are not read by a list of fields, RFC 7530 section 16.
const (
	opClose     = 4
	opCreate    = 6
	opGetFH     = 10
	opLink      = 11
	opLock      = 12
	opLookup    = 15
	opLookupP   = 16
	opOpen      = 18
	opPutFH     = 22
	opPutRoot   = 24
	opRead      = 25
	opRemove    = 28
	opRename    = 29
	opRestoreFH = 31
	opSaveFH    = 32
	opSecinfo   = 33
	opWrite     = 38
	opReadPlus  = 68
)

// arguments4 are the fields of operations, see reader.skip.
var arguments4 = map[int64]string{3: "i", 4: "iS", 5: "hi", 7: "h", 8: "S", 9: "b", 10: "", 13: "ihhho", 14: "iiShh", 16: "", 17: "f", 19: "i", 20: "Si", 21: "Siii", 23: "", 26: "hhiib", 27: "",
	30: "h", 34: "Sf", 35: "hoiooi", 36: "hh", 37: "f", 39: "ho", 41: "Sii", 44: "S", 45: "S", 52: "i", 53: "Siiii", 57: "h", 58: "i", 59: "Shh", 62: "Shh", 69: "Shi"}

// results4 are the fields of results.
var results4 = map[int64]string{3: "ii", 5: "h", 6: "ihhb", 7: "", 8: "", 9: "f", 11: "ihh", 12: "S", 13: "", 14: "S", 15: "", 16: "", 17: "", 19: "", 20: "S", 21: "S", 22: "", 23: "", 24: "", 28: "ihh",
	29: "ihhihh", 30: "", 31: "", 32: "", 34: "b", 35: "hh", 36: "", 37: "", 38: "iih", 39: "", 41: "Sii", 44: "", 45: "", 53: "Siiiii", 57: "", 58: "", 59: "", 62: ""}

// compound reads the operations of a call. What follows one of an unknown form is not read.
func (k *conn) compound(in *dissect.Input, c *call, r *reader) {
	r.opaque() // tag
	c.row.Minor = table.Some(int32(r.u32()))
	n := r.u32()
	path, saved := "", ""
	for range min(n, maxOps) {
		op := r.u32()
		if r.short {
			return
		}
		c.row.Operations = append(c.row.Operations, tables()["operation"].Name(op, "operation_"))
		if !k.operation(in, c, r, op, &path, &saved) || r.short {
			return
		}
		c.steps = append(c.steps, step{op, path})
	}
}

// operation reads the arguments of an operation, and follows the current file. It returns false if their
// form is unknown.
func (k *conn) operation(in *dissect.Input, c *call, r *reader, op int64, path, saved *string) bool {
	row := c.row
	show := func(p string) { row.File = table.NonEmpty(p) }
	switch op {
	case opPutFH:
		h := string(r.opaque())
		*path, c.handle = k.paths[h], h
		row.Handle = handleText(h)
		show(*path)
	case opPutRoot:
		*path = "/"
		show("/")
	case opLookup:
		*path = join(*path, r.name())
		show(*path)
	case opLookupP:
		*path = (*path)[:max(strings.LastIndexByte(*path, '/'), 0)]
	case opSaveFH:
		*saved = *path
	case opRestoreFH:
		*path = *saved
	case opRemove, opSecinfo:
		show(join(*path, r.name()))
	case opRename:
		show(join(*saved, r.name()))
		row.NewName = table.NonEmpty(join(*path, r.name()))
	case opLink:
		show(*saved)
		row.NewName = table.NonEmpty(join(*path, r.name()))
	case opCreate:
		switch r.u32() {
		case 5: // a link
			r.opaque()
		case 3, 4: // a device
			r.u64()
		}
		*path = join(*path, r.name())
		show(*path)
		r.skip("f")
	case opOpen:
		*path = k.open(r, *path)
		show(*path)
	case opLock:
		r.skip("iihh")
		if r.u32() != 0 {
			r.skip("iSiho")
		} else {
			r.skip("Si")
		}
	case opRead, opReadPlus:
		r.skip("S")
		row.Offset, row.Length = table.Some(r.u64()), table.Some(r.u32())
	case opWrite:
		r.skip("S")
		row.Offset = table.Some(r.u64())
		r.u32()
		n := r.u32()
		row.Length = table.Some(n)
		k.carries(in, c, r, n)
		r.take(int(min((n+3)&^3, maxMessage)))
	default:
		fields, ok := arguments4[op]
		r.skip(fields)
		return ok
	}
	return true
}

// open reads the arguments of OPEN and returns the path of the file, RFC 7530 section 16.16.
func (k *conn) open(r *reader, path string) string {
	r.skip("iiiho")
	if r.u32() == 1 { // create
		switch r.u32() {
		case 0, 1:
			r.skip("f")
		case 2:
			r.skip("h")
		case 3:
			r.skip("hf")
		}
	}
	switch r.u32() {
	case 0, 3:
		return join(path, r.name())
	case 1:
		r.u32()
	case 2:
		r.skip("S")
		return join(path, r.name())
	case 5:
		r.skip("S")
	}
	return path
}

// compounded reads the results of a compound: which operation failed, and the handles of files.
func (k *conn) compounded(in *dissect.Input, c *call, r *reader) {
	r.opaque() // tag
	n := r.u32()
	if c.row.Status.V != 0 && n > 0 && n <= int64(len(c.row.Operations)) {
		c.row.FailedOp = table.Some(c.row.Operations[n-1])
	}
	for i := range min(n, int64(len(c.steps))) {
		op, status := r.u32(), r.u32()
		if s := c.steps[i]; r.short || op != s.op || status != 0 {
			if op == opWrite && !r.short {
				k.failed(c.handle)
			}
			return
		}
		switch op {
		case opGetFH:
			h := string(r.opaque())
			c.row.Handle = handleText(h)
			k.remember(h, c.steps[i].path)
		case opRead:
			c.eof = r.u32() != 0
			c.row.Bytes = table.Some(r.u32())
			k.carries(in, c, r, c.row.Bytes.V)
			r.take(int(min((c.row.Bytes.V+3)&^3, maxMessage)))
		case opClose:
			c.ends = true
			r.take(16)
		case opWrite:
			c.row.Bytes = table.Some(r.u32())
			r.skip("ih")
		case opOpen:
			r.skip("Sihhib")
			if kind := r.u32(); kind != 0 { // a delegation
				return
			}
		default:
			fields, ok := results4[op]
			if r.skip(fields); !ok {
				return
			}
		}
	}
}
