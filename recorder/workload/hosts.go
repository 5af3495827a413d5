package workload

import (
	"bufio"
	"bytes"
	"cmp"
	"errors"
	"io"
	"net/netip"
)

// hostName is a name of an address in a hosts file or a capture.
type hostName struct {
	name, source, how string
	order             int // in its source
}

// compareHostNames orders the names of one address: hosts files before captures, then by
// the sources' names, then by position in the source.
func compareHostNames(a, b hostName) int {
	return cmp.Or(rank(a.how)-rank(b.how), cmp.Compare(a.source, b.source), a.order-b.order)
}

var errLongLine = errors.New("a line is longer than 64 KiB")

// AddHosts reads a hosts file: an address, its name and other names on a line, comments
// after #. Only the first name is used. Lines without a valid address are counted as
// malformed, those for 0.0.0.0 and ::, which are used to block names, as unused.
func (x *Index) AddHosts(name string, r io.Reader) (Stats, error) {
	x.view.Store(nil)
	source := cleanName(name)
	in := bufio.NewReaderSize(r, maxLine)
	var stats Stats
	for first := true; ; first = false {
		line, err := in.ReadSlice('\n')
		if err == bufio.ErrBufferFull {
			return stats, &SyntaxError{Name: source, Offset: stats.Bytes, Err: errLongLine}
		}
		if first {
			line = bytes.TrimPrefix(line, []byte("\xef\xbb\xbf"))
		}
		x.hostLine(line, source, &stats)
		stats.Bytes += int64(len(line))
		if err == io.EOF {
			return stats, nil
		}
		if err != nil {
			return stats, &SyntaxError{Name: source, Offset: stats.Bytes, Err: err}
		}
	}
}

func (x *Index) hostLine(line []byte, source string, stats *Stats) {
	if i := bytes.IndexByte(line, '#'); i >= 0 {
		line = line[:i]
	}
	fields := bytes.Fields(line)
	if len(fields) == 0 {
		return
	}
	stats.Objects++
	addr, err := netip.ParseAddr(string(fields[0]))
	switch {
	case err != nil || len(fields) < 2:
		stats.Malformed++
	case addr.Unmap().IsUnspecified():
		stats.Unused++
	case !x.addName(addr, string(fields[1]), source, "hosts"):
		stats.Limited++
	default:
		stats.Kept++
	}
}

// AddName adds the name of an address from a Name Resolution Block of a capture.
func (x *Index) AddName(addr netip.Addr, name, source string) {
	x.addName(addr, name, cleanName(source), "nrb")
}

// maxNames is the maximum number of names of one address.
const maxNames = 16

func (x *Index) addName(addr netip.Addr, name, source, how string) bool {
	name = cleanName(name)
	addr = addr.Unmap().WithZone("")
	if name == "" || !addr.IsValid() || addr.IsUnspecified() {
		return true
	}
	x.view.Store(nil)
	names := x.names[addr]
	order := 0
	for _, n := range names {
		if n.source == source && n.how == how {
			if n.name == name {
				return true
			}
			order++
		}
	}
	cost := int64(len(name) + 160)
	if order >= maxNames || len(names) >= maxNames*16 || x.kept+cost > maxKept {
		return false
	}
	x.kept += cost
	x.names[addr] = append(names, hostName{name, source, how, order})
	return true
}

// AddIdentity adds a recorder's statement about an address: the identity of a segment's interface,
// or a pod in a comment of another recorder. HowKnown distinguishes them.
func (x *Index) AddIdentity(addr netip.Addr, id Identity) bool {
	addr = addr.Unmap().WithZone("")
	if !addr.IsValid() || addr.IsUnspecified() {
		return false
	}
	if id.HowKnown == knownAsPeer && x.mergePeer(addr, &id) {
		return true
	}
	for _, was := range x.said[addr] {
		if compareSaid(was, id) == 0 {
			return true
		}
	}
	cost := int64(512 + 64*len(id.Labels))
	if len(x.said[addr]) >= maxNames*64 || x.kept+cost > maxKept {
		return false
	}
	x.kept += cost
	x.view.Store(nil)
	x.said[addr] = append(x.said[addr], id)
	return true
}

// knownAsPeer is HowKnown of owners that a recorder knew by their address, not by their
// packets.
const knownAsPeer = "peer"

// mergePeer merges statements about the same pod or service at an address: segments report
// its end later than its beginning, and nodes learn at different times.
func (x *Index) mergePeer(addr netip.Addr, id *Identity) bool {
	for i := range x.said[addr] {
		was := &x.said[addr][i]
		if was.HowKnown != knownAsPeer || was.Kind != id.Kind || was.Namespace != id.Namespace || was.Name != id.Name || was.PodUID != id.PodUID ||
			id.PodUID == "" && was.ValidFrom != id.ValidFrom {
			continue
		}
		now := *was
		now.ValidFrom = min(was.ValidFrom, id.ValidFrom)
		if now.ValidTo == 0 || id.ValidTo != 0 && id.ValidTo < now.ValidTo {
			now.ValidTo = id.ValidTo
		}
		if now.Source > id.Source { // so the order does not matter
			now.Source = id.Source
		}
		now.fill(id)
		if now.ValidFrom != was.ValidFrom || now.ValidTo != was.ValidTo || now.Source != was.Source || len(now.Labels) != len(was.Labels) || len(now.Services) != len(was.Services) || len(now.Fronts) != len(was.Fronts) {
			x.view.Store(nil)
		}
		*was = now
		return true
	}
	return false
}

func compareSaid(a, b Identity) int {
	return cmp.Or(
		cmp.Compare(a.ValidFrom, b.ValidFrom), rank(b.HowKnown)-rank(a.HowKnown), cmp.Compare(a.Namespace, b.Namespace),
		cmp.Compare(a.Name, b.Name), cmp.Compare(a.PodUID, b.PodUID), cmp.Compare(a.Container, b.Container),
		cmp.Compare(a.Process, b.Process), cmp.Compare(a.PID, b.PID), cmp.Compare(a.Source, b.Source),
	)
}
