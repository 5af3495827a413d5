// Package media connects the media that SDP describes with the RTP streams that carry them, which
// are other connections; see dissect.IDNamer.
package media

import (
	"crypto/sha256"
	_ "embed" // for formats.txt
	"fmt"
	"net/netip"
	"strconv"
	"strings"
	"sync"

	"github.com/pcapsule/pcapsule/exporter/dissect"
	"github.com/pcapsule/pcapsule/exporter/dissect/internal/names"
)

//go:embed formats.txt
var formatsText string

var formats = sync.OnceValue(func() names.Table { return names.Read(formatsText)["format"] })

// Format is the name of a static payload type with its clock rate, such as PCMU/8000; else "".
func Format(payloadType int64) string { return formats()[payloadType] }

// Rate is the clock rate in a name such as opus/48000/2, or 0.
func Rate(format string) int64 {
	_, rate, _ := strings.Cut(format, "/")
	rate, _, _ = strings.Cut(rate, "/")
	n, err := strconv.ParseUint(rate, 10, 24)
	if err != nil {
		return 0
	}
	return int64(n)
}

// Offer is a format that SDP names for an address.
type Offer struct {
	Address     string
	Port        int32
	PayloadType int64
	Format      string
	Call        string // Call-ID
}

// Put adds an offer to the names of a bundle, by its address and by its port alone.
func Put(all *dissect.IDNames, o Offer) {
	if o.Port == 0 {
		return
	}
	if a, err := netip.ParseAddr(o.Address); err == nil {
		o.Address = a.String()
	}
	for _, address := range [...]string{o.Address, ""} {
		all.Put(key(address, o.Port, o.PayloadType), o.Format+"\x00"+o.Call)
	}
}

// Find is the latest offer for an address and port, or, if the address is empty, for a port at any address.
func Find(all *dissect.IDNames, address string, port int32, payloadType int64) (o Offer, ok bool) {
	o.Format, o.Call, ok = strings.Cut(all.Name(key(address, port, payloadType)), "\x00")
	return o, ok
}

func key(address string, port int32, payloadType int64) (id dissect.ID) {
	sum := sha256.Sum256(fmt.Appendf(nil, "rtp\x00%s\x00%d\x00%d", address, port, payloadType))
	copy(id[:], sum[:])
	return id
}
