// Package winerror names the results of operations of Windows, and says which of them are failures: NTSTATUS, Win32
// errors, HRESULT, and the values of Exchange.
package winerror

import (
	_ "embed" // for the tables
	"fmt"

	"github.com/pcapsule/pcapsule/exporter/dissect/internal/names"
	"github.com/pcapsule/pcapsule/exporter/table"
)

//go:embed ntstatus.txt
var ntstatusText string

//go:embed win32.txt
var win32Text string

//go:embed hresult.txt
var hresultText string

//go:embed mapi.txt
var mapiText string

var ntstatus, win32, hresult, mapi = names.Lazy(ntstatusText), names.Lazy(win32Text), names.Lazy(hresultText), names.Lazy(mapiText)

// Kind is how a result is to be read.
type Kind string

// The kinds of results.
const (
	NTStatus Kind = "ntstatus"
	Win32    Kind = "win32"
	HResult  Kind = "hresult"
	MAPI     Kind = "mapi"
)

// Parts of an HRESULT, MS-ERREF section 2.1.
const (
	failed       = 0x80000000
	ofNTStatus   = 0x10000000 // the rest is an NTSTATUS
	facility     = 0xffff0000
	facilityWin  = 0x80070000 // the rest is a Win32 error
	severityMask = 3 << 30
)

// Read returns the name of a result, and its outcome if it is a failure, else "". A result without a known name has its
// number. The name of a plain success is that of its kind, or "" if the kind has none.
func Read(kind Kind, n uint32) (name, outcome string) {
	switch kind {
	case NTStatus:
		return read(ntstatus(), n, n&severityMask == severityMask)
	case HResult:
		return readHResult(n)
	case MAPI:
		return read(mapi(), n, n != 0)
	}
	if n&failed != 0 { // operations that return Win32 errors also pass on what others returned
		if name := ntstatus()["name"][int64(n)]; name != "" {
			return Read(NTStatus, n)
		}
		return readHResult(n)
	}
	return read(win32(), n, n != 0)
}

func readHResult(n uint32) (name, outcome string) {
	switch id := int64(n); {
	case hresult()["name"][id] != "":
	case n&facility == facilityWin && win32()["name"][id&^facility] != "":
		return Read(Win32, n&^facility)
	case n&failed != 0 && ntstatus()["name"][id&^ofNTStatus] != "":
		return Read(NTStatus, n&^ofNTStatus)
	}
	return read(hresult(), n, n&failed != 0)
}

func read(t map[string]names.Table, n uint32, isError bool) (name, outcome string) {
	id := int64(n)
	if name = t["name"][id]; name == "" && n != 0 {
		name = fmt.Sprintf("0x%08x", n)
	}
	switch {
	case !isError || t["ok"][id] != "":
		return name, ""
	case t[table.Refused][id] != "":
		return name, table.Refused
	case t[table.ServerError][id] != "":
		return name, table.ServerError
	}
	return name, table.ClientError
}
