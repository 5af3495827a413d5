package workload

import (
	"encoding/json"
	"net/netip"
	"strconv"
	"strings"
)

// Limits of a line in a side file.
const (
	MaxSideLine = 64 << 10 // bytes of a line
	maxPath     = 512      // bytes of a path or an argument
	maxArgs     = 64       // arguments of a command
)

// Process is one program that ran, as described in an owners file.
type Process struct {
	Key         string // number and start, unique on its node
	PID, Parent int64
	Start       int64 // ns; 0 if unknown, like the next two
	From, To    int64 // when it began and ceased to be this program
	Name, Exe   string
	Script      string   // that Exe runs
	Args        []string // secrets in them were masked when they were recorded
	ArgsCut     bool
	UID         int64 // -1 if unknown
	User        string
	Cgroup      string
	Container   string // id
	PodUID      string
}

// UserName is the process's user name, or the user's number, or empty.
func (p *Process) UserName() string {
	if p.User == "" && p.UID >= 0 {
		return strconv.FormatInt(p.UID, 10)
	}
	return p.User
}

// GroupOwner is the workload of a control group for a time.
type GroupOwner struct {
	Comment  InterfaceComment
	From, To int64 // ns; 0 if open
}

// AddressOwner is the owner of an address for a time, as known to a recorder: a pod or
// service on any node.
type AddressOwner struct {
	Addr    netip.Addr
	Comment InterfaceComment // Identity has the time for which it is valid
}

// Owned is the owner of a socket according to a packet.
type Owned struct {
	PID     int64
	Process int32 // of Owners.PID; 0 if nothing else is known of it
	Known   Knowledge
}

// OwnerLine is a line of an owners file. One of the pointers is set.
type OwnerLine struct {
	Process *Process
	Address *AddressOwner
	Group   *GroupOwner
}

type wireOwnerLine struct {
	wireProcess
	Address  string          `json:"address,omitempty"`
	Workload json.RawMessage `json:"workload,omitempty"`
}

// wireProcess is a process in an owners or events file.
type wireProcess struct {
	Process   string   `json:"process,omitempty"`
	PID       int64    `json:"pid,omitempty"`
	Parent    int64    `json:"parent_pid,omitempty"`
	Start     string   `json:"start,omitempty"`
	From      string   `json:"from,omitempty"`
	To        string   `json:"to,omitempty"`
	Name      string   `json:"name,omitempty"`
	Exe       string   `json:"exe,omitempty"`
	Script    string   `json:"script,omitempty"`
	Args      []string `json:"args,omitempty"`
	ArgsCut   bool     `json:"args_cut,omitempty"`
	UID       *int64   `json:"uid,omitempty"`
	User      string   `json:"user,omitempty"`
	Cgroup    string   `json:"cgroup,omitempty"`
	Container string   `json:"container,omitempty"`
	PodUID    string   `json:"pod_uid,omitempty"`
}

func (w *wireProcess) process() Process {
	p := Process{
		Key: cleanName(w.Process), PID: max(w.PID, 0), Parent: max(w.Parent, 0), Start: parseTime(w.Start), From: parseTime(w.From),
		To: parseTime(w.To), Name: cleanName(w.Name), Exe: cleanPath(w.Exe), Script: cleanPath(w.Script), ArgsCut: w.ArgsCut, UID: -1, User: cleanName(w.User),
		Cgroup: cleanPath(w.Cgroup), Container: cleanName(w.Container), PodUID: cleanName(w.PodUID),
	}
	if w.UID != nil && *w.UID >= 0 {
		p.UID = *w.UID
	}
	for i, a := range w.Args {
		if i == maxArgs {
			p.ArgsCut = true
			break
		}
		a, cut := clean(a, maxPath)
		p.Args, p.ArgsCut = append(p.Args, a), p.ArgsCut || cut
	}
	return p
}

func wireProcessOf(p *Process) wireProcess {
	w := wireProcess{
		Process: p.Key, PID: p.PID, Parent: p.Parent, Start: formatTime(p.Start), From: formatTime(p.From), To: formatTime(p.To),
		Name: p.Name, Exe: p.Exe, Script: p.Script, Args: p.Args, ArgsCut: p.ArgsCut, User: p.User, Cgroup: p.Cgroup, Container: p.Container, PodUID: p.PodUID,
	}
	if p.UID >= 0 {
		uid := p.UID
		w.UID = &uid
	}
	return w
}

// ParseOwnerLine parses a line of an owners file, docs/format/owners.md. It returns false
// for an invalid line.
func ParseOwnerLine(line []byte) (OwnerLine, bool) {
	var w wireOwnerLine
	if len(line) > MaxSideLine || json.Unmarshal(line, &w) != nil {
		return OwnerLine{}, false
	}
	switch {
	case w.Process != "":
		p := w.process()
		return OwnerLine{Process: &p}, p.Key != ""
	case w.Address != "":
		a, ok := w.address()
		return OwnerLine{Address: a}, ok
	case len(w.Workload) > 0:
		g, ok := w.group()
		return OwnerLine{Group: g}, ok
	}
	return OwnerLine{}, false
}

func (w *wireOwnerLine) address() (*AddressOwner, bool) {
	a, ok := parseAddr(w.Address)
	if !ok {
		return nil, false
	}
	comment, ok := w.comment()
	if !ok {
		return nil, false
	}
	id := &comment.Identity
	id.ValidFrom, id.ValidTo = parseTime(w.From), parseTime(w.To)
	id.HowKnown = knownAsPeer
	if id.ValidTo != 0 && id.ValidTo < id.ValidFrom {
		return nil, false
	}
	return &AddressOwner{a, comment}, id.Kind != ""
}

// comment parses the member workload.
func (w *wireOwnerLine) comment() (InterfaceComment, bool) {
	var c wireComment
	if len(w.Workload) > maxComment || json.Unmarshal(w.Workload, &c) != nil {
		return InterfaceComment{}, false
	}
	if c.Cgroup == "" {
		c.Cgroup = w.Cgroup
	}
	if c.Ring == "" {
		c.Ring = "-"
	}
	// Cut it as the writer does, so that writing and reading it again changes nothing.
	return ParseInterfaceComment(FormatInterfaceComment(c.comment()))
}

func (w *wireOwnerLine) group() (*GroupOwner, bool) {
	comment, ok := w.comment()
	if !ok {
		return nil, false
	}
	g := &GroupOwner{Comment: comment, From: parseTime(w.From), To: parseTime(w.To)}
	if g.To != 0 && g.To < g.From || g.Comment.Cgroup == "" && g.Comment.Identity.PodUID == "" {
		return nil, false
	}
	return g, g.Comment.Identity.Kind != ""
}

// AppendOwnerLine appends a line that ParseOwnerLine reads, with its line end.
func AppendOwnerLine(b []byte, l OwnerLine) []byte {
	var w wireOwnerLine
	switch {
	case l.Process != nil:
		w.wireProcess = wireProcessOf(l.Process)
	case l.Address != nil:
		c := l.Address.Comment
		w.Address, w.From, w.To = l.Address.Addr.String(), formatTime(c.Identity.ValidFrom), formatTime(c.Identity.ValidTo)
		c.Identity.ValidFrom = 0
		w.Workload = json.RawMessage(FormatInterfaceComment(c))
	case l.Group != nil:
		g := l.Group
		w.Workload = json.RawMessage(FormatInterfaceComment(g.Comment))
		w.Cgroup, w.From, w.To = g.Comment.Cgroup, formatTime(g.From), formatTime(g.To)
	default:
		return b
	}
	text, err := json.Marshal(&w)
	if err != nil {
		return b // strings, numbers and lists always encode
	}
	return append(append(b, text...), '\n')
}

// ParseOwnerComment parses the optional comment of recorders on packets:
// pcapsule process="nginx" pid=7 tid=7 known=writer.
func ParseOwnerComment(s string) (o Owned, name string, ok bool) {
	s, ok = strings.CutPrefix(s, "pcapsule ")
	if !ok || len(s) > maxComment {
		return o, "", false
	}
	if rest, named := strings.CutPrefix(s, "process="); named {
		quoted, err := strconv.QuotedPrefix(rest)
		if err != nil {
			return o, "", false
		}
		if name, err = strconv.Unquote(quoted); err != nil {
			return o, "", false
		}
		name, s = cleanName(name), rest[len(quoted):]
	}
	for _, field := range strings.Fields(s) {
		key, value, _ := strings.Cut(field, "=")
		switch n, err := strconv.ParseUint(value, 10, 32); {
		case key == "pid" && err == nil:
			o.PID = int64(n)
		case key == "known":
			o.Known = parseKnowledge(value)
		}
	}
	return o, name, o.PID != 0 && o.Known != KnownNot
}

func cleanPath(s string) string {
	out, _ := clean(s, maxPath)
	return out
}

// parseEnd parses address:port. An IPv4 address inside IPv6 becomes IPv4; zones are dropped.
func parseEnd(s string) (netip.AddrPort, bool) {
	if len(s) > 128 {
		return netip.AddrPort{}, false
	}
	e, err := netip.ParseAddrPort(s)
	if err != nil {
		return netip.AddrPort{}, false
	}
	return netip.AddrPortFrom(e.Addr().Unmap().WithZone(""), e.Port()), true
}

var protocolWords = [...]struct {
	name string
	no   uint8
}{{"tcp", 6}, {"udp", 17}, {"icmp", 1}, {"icmpv6", 58}, {"sctp", 132}}

func protocolNumber(s string) (uint8, bool) {
	for _, p := range protocolWords {
		if p.name == s {
			return p.no, true
		}
	}
	n, err := strconv.ParseUint(s, 10, 8)
	return uint8(n), err == nil && !strings.HasPrefix(s, "+")
}

// ProtocolName is the name of an IP protocol in side files.
func ProtocolName(no uint8) string {
	for _, p := range protocolWords {
		if p.no == no {
			return p.name
		}
	}
	return strconv.Itoa(int(no))
}
