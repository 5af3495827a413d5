package msrpc

import (
	_ "embed" // for the tables
	"encoding/binary"

	"github.com/pcapsule/pcapsule/exporter/dissect/internal/names"
	"github.com/pcapsule/pcapsule/exporter/dissect/internal/winerror"
	"github.com/pcapsule/pcapsule/exporter/table"
)

//go:embed results.txt
var resultsText string

//go:embed faults.txt
var faultsText string

var results, faults = names.Lazy(resultsText), names.Lazy(faultsText)

// valueSize is the size of a return value, in NDR and NDR64 alike.
const valueSize = 4

// Statuses with a meaning of their own.
const (
	notRegistered = 0x16c9a0d6 // ept_s_not_registered
	faultCancel   = 0x1c00000d // nca_s_fault_cancel
	accessDenied  = 5
)

// Call is a request of which a result is to be read.
type Call struct {
	Interface string // name, "" if its bind was not captured
	Operation int
	Object    bool // its arguments begin like those of a method of an object
}

// IsORPC reports whether arguments begin with ORPCTHIS of version 5 (MS-DCOM section 2.2.13.3), as those of methods of
// objects do.
func IsORPC(stub []byte, order binary.ByteOrder) bool {
	return len(stub) >= 8 && order.Uint16(stub) == 5 && order.Uint16(stub[2:]) <= 7 && order.Uint32(stub[4:]) <= 1
}

// Tail is the end of a response, which may come in several messages.
type Tail struct {
	last   [valueSize]byte
	size   int  // bytes of last
	Sealed bool // a part of the response is encrypted
}

// Add adds the next bytes.
func (t *Tail) Add(stub []byte) {
	all := append(append(make([]byte, 0, 2*valueSize), t.last[:t.size]...), stub[max(0, len(stub)-valueSize):]...)
	t.size = copy(t.last[:], all[max(0, len(all)-valueSize):])
}

// Result is how an operation ended.
type Result struct {
	Value   table.Opt[int64]
	Name    string // of the value, "" if it is a plain success
	Outcome string // a failure or unread, else ""
	Why     string // why the value is not known
}

// Result reads the return value at the end of a response. Byte order is the response's.
func (c Call) Result(t *Tail, order binary.ByteOrder) Result {
	kind := c.kind()
	unread := func(why string) Result { return Result{Outcome: table.Unread, Why: why} }
	switch {
	case kind == "void":
		return Result{}
	case t.Sealed:
		return unread("encrypted result")
	case kind == "" || kind == "unknown":
		return unread("result not known")
	case t.size < valueSize:
		return unread("result missing")
	}
	n := order.Uint32(t.last[:])
	r := Result{Value: table.Some(int64(n))}
	if kind == "list" {
		if kind = "win32"; n == notRegistered {
			r.Name = "ept_s_not_registered"
			return r
		}
	}
	if n != 0 {
		r.Name, r.Outcome = winerror.Read(winerror.Kind(kind), n)
	}
	return r
}

// kind is the word for an operation in results.txt, "" if there is none.
func (c Call) kind() string {
	t := results()[c.Interface]
	if t == nil && c.Object {
		t = results()["object"]
	}
	if kind := t[int64(c.Operation)]; kind != "" {
		return kind
	}
	return t[-1]
}

// Fault is how a call ended that the server did not execute, or that failed in it. A client that cancelled the call caused
// the fault.
func Fault(status uint32, cancelled bool) Result {
	r := Result{Value: table.Some(int64(status)), Name: faults()["status"].Name(int64(status), "fault_"), Outcome: table.ServerError}
	switch status {
	case faultCancel:
		if cancelled {
			r.Outcome = table.ClientError
		}
	case accessDenied:
		r.Outcome = table.Refused
	case 0x1c010002, 0x1c010003, 0x1c01000b, 0x6f7, 0x721, 0x1c000006, 0x1c000007, 0x1c00001a, 0x1c00001c, 0x1c00001d, 0x1c000024, 0x80070057, 0x80010113:
		r.Outcome = table.ClientError
	}
	return r
}
