package bundle

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"time"
)

// LiveCut is a point at which a live run publishes its rows so far.
type LiveCut struct {
	No   int64
	At   time.Time // when it was made
	Now  int64     // newest capture time that was read, ns since 1970 UTC
	Idle bool      // everything in the ring was read
}

// LiveView is a bundle of the last part of a live run. Its folder stays for at least a minute, and
// until two newer views were made.
type LiveView struct {
	Path   string
	Bundle *Bundle
	Cut    int64 // the last cut whose rows it has
	Empty  bool  // it has no call and no coverage row
}

// Within limits what is shown to the traffic within namespaces.
type Within struct {
	Namespaces []string
	Owners     *Owners // what other sources know of ends that have no name here; nil: nothing
}

// Owners are the namespaces of addresses in a time range, from sources other than a bundle's own names: bundles of other
// nodes, and the cluster's API. They do not change once they are used.
type Owners struct {
	// Until is the time (ns since 1970 UTC) until which an address that is missing here was of no pod and no service of
	// the cluster; 0: it may have been of one at any time.
	Until int64

	spaces map[netip.Addr][]string
	ranges map[netip.Prefix]bool
}

// Ranges around an address of a pod in which other pods may have theirs: networks of clouds are up to this large, and a
// site's IPv6 prefix is (RFC 6177, section 2).
const (
	rangeBits4 = 16
	rangeBits6 = 48
)

// Add adds a namespace of an address.
func (o *Owners) Add(a netip.Addr, namespace string) {
	a = a.Unmap().WithZone("")
	if !a.IsValid() || namespace == "" || slices.Contains(o.spaces[a], namespace) {
		return
	}
	if o.spaces == nil {
		o.spaces, o.ranges = map[netip.Addr][]string{}, map[netip.Prefix]bool{}
	}
	o.spaces[a] = append(o.spaces[a], namespace)
	o.ranges[around(a)] = true
}

// Of lists the namespaces that an address was in.
func (o *Owners) Of(a netip.Addr) []string {
	if o == nil {
		return nil
	}
	return o.spaces[a.Unmap().WithZone("")]
}

// MayOwn reports whether an address without a namespace may have been that of a pod or a service that nobody named, when
// a connection began (ns since 1970 UTC). external says that it is outside all private and known ranges.
func (o *Owners) MayOwn(a netip.Addr, external bool, began int64) bool {
	a = a.Unmap().WithZone("")
	switch {
	case !a.IsValid(), a.Is6() && a.IsLinkLocalUnicast(): // every pod has one, which the API does not list
		return true
	case a.IsLoopback(), a.IsLinkLocalUnicast(), a.IsMulticast(), a.IsUnspecified(), a == netip.AddrFrom4([4]byte{255, 255, 255, 255}):
		return false
	case o != nil && began < o.Until:
		return false
	}
	return !external || o != nil && o.ranges[around(a)]
}

func around(a netip.Addr) netip.Prefix {
	bits := rangeBits6
	if a.Is4() {
		bits = rangeBits4
	}
	p, _ := a.Prefix(bits) // valid for an address of that family
	return p
}

// LiveGap is a time of which a live run lacks packets.
type LiveGap struct {
	From, To       int64  // ns since 1970 UTC
	Reason, Detail string // as in table coverage
}

// FirstOpenCall is the number of the first call of a live view that waits for its answer. It gets its final number, and
// keeps its call_id, when it is finished.
const FirstOpenCall = int64(1) << 40

// ErrNothingLive is the error of a view in whose time nothing was recorded.
var ErrNothingLive = errors.New("nothing was recorded in this time")

// Assemble returns a bundle of files below dir that no manifest lists, such as a view of a live run. It
// writes bundle.json. Packet files are read from packets. Such a bundle has no hashes of its tables and
// cannot be verified.
func Assemble(dir string, m *Manifest, files []string, packets Packets) (*Bundle, error) {
	text, err := m.Encode()
	if err != nil {
		return nil, err
	}
	if err := os.WriteFile(filepath.Join(dir, filepath.FromSlash(jsonName)), text, 0o600); err != nil {
		return nil, fmt.Errorf("writing %s: %w", jsonName, err)
	}
	b := &Bundle{Dir: dir, Manifest: m, packets: packets}
	for _, f := range files {
		b.files = append(b.files, line{path: f})
	}
	sortLines(b.files)
	return b, nil
}
