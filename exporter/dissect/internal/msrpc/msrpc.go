// Package msrpc names the interfaces and operations of DCE/RPC, which is read over TCP and in named pipes of SMB.
package msrpc

import (
	_ "embed" // for the tables
	"encoding/binary"
	"fmt"
	"strings"
	"sync"

	"github.com/pcapsule/pcapsule/exporter/dissect/internal/names"
)

//go:embed interfaces.txt
var interfacesText string

//go:embed operations.txt
var operationsText string

var operations = names.Lazy(operationsText)

// interfaces are the names of interfaces by their UUIDs.
var interfaces = sync.OnceValue(func() map[string]string {
	all := map[string]string{}
	for line := range strings.Lines(interfacesText) {
		if uuid, name, ok := strings.Cut(strings.TrimSpace(line), " "); ok && uuid != "#" {
			all[uuid] = name
		}
	}
	return all
})

// Interface is the name of the interface with a UUID in 16 bytes, or else the UUID as text.
func Interface(uuid []byte, order binary.ByteOrder) string {
	text := UUID(uuid, order)
	if name := interfaces()[text]; name != "" {
		return name
	}
	return text
}

// Operation is the name of an operation of an interface, or "op_" and its number.
func Operation(name string, number int) string {
	return operations()[name].Name(int64(number), "op_")
}

// UUID is the text form of 16 bytes, whose first three fields have the byte order of the message (C706 appendix A).
func UUID(b []byte, order binary.ByteOrder) string {
	return fmt.Sprintf("%08x-%04x-%04x-%x-%x", order.Uint32(b), order.Uint16(b[4:]), order.Uint16(b[6:]), b[8:10], b[10:16])
}
