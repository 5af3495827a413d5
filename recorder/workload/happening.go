package workload

import (
	"encoding/json"
	"net/netip"
	"strconv"
)

// Happening is a line of an events file: an event of the operating system or of Kubernetes.
// Fields that its kind does not have are zero.
type Happening struct {
	TsNs    int64
	Kind    string
	Process Process // UID is -1 if unknown
	Exit    int64   // exit code; -1 without one
	Signal  int64   // that ended the process; 0 without one

	Proto         uint8
	Local, Remote netip.AddrPort
	Cookie        uint64 // of the socket
	Before, After string // TCP states
	Reason        string // the kernel's reason for a drop, or why there is no key
	Length        int64
	Limited       int64 // events of the kind that were omitted before this one

	ClientRandom, Side, Why string // tls_no_key: of the handshake, the process's side, details of Reason

	SetByNs, WithinNs int64 // clock_set: by how much the clock was set, within how long before

	Event *Event // kind k8s
}

// KindKubernetes is the kind of lines about Kubernetes objects.
const KindKubernetes = "k8s"

type wireHappening struct {
	Time string `json:"time"`
	Kind string `json:"kind"`
	wireProcess
	ExitCode *int64 `json:"exit_code,omitempty"`
	Signal   *int64 `json:"signal,omitempty"`
	Protocol string `json:"protocol,omitempty"`
	Local    string `json:"local,omitempty"`
	Remote   string `json:"remote,omitempty"`
	Socket   string `json:"socket,omitempty"`
	Before   string `json:"before,omitempty"`
	After    string `json:"after,omitempty"`
	Reason   string `json:"reason,omitempty"`
	Length   int64  `json:"length,omitempty"`
	Limited  int64  `json:"limited,omitempty"`
	By       int64  `json:"by_ns,omitempty"`
	Within   int64  `json:"within_ns,omitempty"`
	Random   string `json:"client_random,omitempty"`
	Side     string `json:"side,omitempty"`
	Why      string `json:"why,omitempty"`

	Type    string   `json:"type,omitempty"`
	Message string   `json:"message,omitempty"`
	Object  *wireRef `json:"object,omitempty"`
	Count   int64    `json:"count,omitempty"`
	First   string   `json:"first,omitempty"`
	Source  string   `json:"source,omitempty"`
	Node    string   `json:"node,omitempty"`
}

// ParseHappening parses a line of an events file, docs/format/events.md. It returns false
// for an invalid line.
func ParseHappening(line []byte) (Happening, bool) {
	var w wireHappening
	if len(line) > MaxSideLine || json.Unmarshal(line, &w) != nil {
		return Happening{}, false
	}
	h := Happening{TsNs: parseTime(w.Time), Kind: cleanName(w.Kind), Process: w.process(), Exit: -1,
		Before: cleanName(w.Before), After: cleanName(w.After), Reason: cleanName(w.Reason),
		Length: max(w.Length, 0), Limited: max(w.Limited, 0), SetByNs: w.By, WithinNs: max(w.Within, 0),
		ClientRandom: cleanName(w.Random), Side: cleanName(w.Side), Why: cleanName(w.Why)}
	if h.TsNs == 0 || h.Kind == "" {
		return Happening{}, false
	}
	if w.ExitCode != nil {
		h.Exit = max(*w.ExitCode, -1)
	}
	if w.Signal != nil {
		h.Signal = max(*w.Signal, 0)
	}
	ok := true
	if w.Protocol != "" {
		h.Proto, ok = protocolNumber(w.Protocol)
	}
	for _, e := range [...]struct {
		to   *netip.AddrPort
		text string
	}{{&h.Local, w.Local}, {&h.Remote, w.Remote}} {
		if e.text != "" && ok {
			*e.to, ok = parseEnd(e.text)
		}
	}
	if w.Socket != "" && ok {
		n, err := strconv.ParseUint(w.Socket, 10, 64)
		h.Cookie, ok = n, err == nil
	}
	if h.Kind == KindKubernetes {
		h.Event = w.event(h.TsNs)
	}
	return h, ok
}

func (w *wireHappening) event(at int64) *Event {
	message, _ := clean(w.Message, maxMessage)
	e := &Event{TsNs: at, FirstNs: parseTime(w.First), Type: cleanName(w.Type), Reason: cleanName(w.Reason), Message: message,
		Count: max(w.Count, 0), Source: cleanName(w.Source), Node: cleanName(w.Node)}
	if o := w.Object; o != nil {
		e.Kind, e.Namespace, e.Name, e.UID = cleanName(o.Kind), cleanName(o.Namespace), cleanName(o.Name), cleanName(o.UID)
	}
	return e
}

// AppendHappening appends a line that ParseHappening reads, with its line end.
func AppendHappening(b []byte, h *Happening) []byte {
	w := wireHappening{Time: formatTime(h.TsNs), Kind: h.Kind, wireProcess: wireProcessOf(&h.Process), Before: h.Before, After: h.After,
		Reason: h.Reason, Length: h.Length, Limited: h.Limited, By: h.SetByNs, Within: h.WithinNs,
		Random: h.ClientRandom, Side: h.Side, Why: h.Why}
	if h.Exit >= 0 {
		w.ExitCode = &h.Exit
	}
	if h.Signal != 0 {
		w.Signal = &h.Signal
	}
	if h.Proto != 0 {
		w.Protocol = ProtocolName(h.Proto)
	}
	if h.Local.IsValid() {
		w.Local = h.Local.String()
	}
	if h.Remote.IsValid() {
		w.Remote = h.Remote.String()
	}
	if h.Cookie != 0 {
		w.Socket = strconv.FormatUint(h.Cookie, 10)
	}
	if e := h.Event; e != nil {
		w.First, w.Type, w.Message, w.Count, w.Source, w.Node, w.Reason = formatTime(e.FirstNs), e.Type, e.Message, e.Count, e.Source, e.Node, e.Reason
		w.Object = &wireRef{e.Kind, e.Namespace, e.Name, e.UID}
	}
	text, err := json.Marshal(&w)
	if err != nil {
		return b // strings, numbers and lists always encode
	}
	return append(append(b, text...), '\n')
}

// Detail returns the fields of the line that have no column in os_events, as JSON. It is empty if
// there are none.
func (h *Happening) Detail() string {
	p := &h.Process
	d := struct {
		Process  string   `json:"process,omitempty"`
		Start    string   `json:"start,omitempty"`
		Args     []string `json:"args,omitempty"`
		ArgsCut  bool     `json:"args_cut,omitempty"`
		UID      *int64   `json:"uid,omitempty"`
		Socket   string   `json:"socket,omitempty"`
		Length   int64    `json:"length,omitempty"`
		SetByNs  int64    `json:"by_ns,omitempty"`
		WithinNs int64    `json:"within_ns,omitempty"`
		Random   string   `json:"client_random,omitempty"`
		Side     string   `json:"side,omitempty"`
		Why      string   `json:"why,omitempty"`
	}{Process: p.Key, Start: formatTime(p.Start), Args: p.Args, ArgsCut: p.ArgsCut, Length: h.Length, SetByNs: h.SetByNs, WithinNs: h.WithinNs,
		Random: h.ClientRandom, Side: h.Side, Why: h.Why}
	if p.UID >= 0 {
		d.UID = &p.UID
	}
	if h.Cookie != 0 {
		d.Socket = strconv.FormatUint(h.Cookie, 10)
	}
	text, err := json.Marshal(&d)
	if err != nil || string(text) == "{}" {
		return "" // strings, numbers and lists always encode
	}
	for len(text) > maxDetail && len(d.Args) > 0 {
		d.Args, d.ArgsCut = d.Args[:len(d.Args)/2], true
		if text, err = json.Marshal(&d); err != nil {
			return ""
		}
	}
	return string(text)
}

const maxDetail = 8 << 10 // bytes of Detail
