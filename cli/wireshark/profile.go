// Package wireshark writes profiles of Wireshark for slices whose packets have comments about their calls: columns,
// colours, display filters, names of hosts, and the protocols of ports that pcapsule recognized by content. Names and
// addresses come from captures, so they are hostile: none can add a line, a preference or a filter. Wireshark itself
// resolves no names, so that opening evidence sends nothing.
package wireshark

import (
	_ "embed"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"unicode"

	"github.com/pcapsule/pcapsule/forensics"
	"github.com/pcapsule/pcapsule/internal/clip"
)

// Script is the name of the Lua script that gives Wireshark fields for the comments.
const Script = "pcapsule.lua"

// Profile is what a profile says about a slice.
type Profile struct {
	Label   string // of the comments: Case.PacketLabel
	Hosts   []Host
	Ports   []Port
	Filters []Filter // after those of the labels
}

// Host is a name of an address.
type Host struct {
	Address netip.Addr
	Name    string
}

// Port is the protocol that Wireshark is to decode at a port.
type Port struct {
	Table    string // tcp.port, udp.port, sctp.port or tls.port
	Port     int64
	Protocol string // Wireshark's short name
}

// Filter is a display filter with a name.
type Filter struct{ Name, Filter string }

// labels are the labels of packets with their display filters and colours, those of higher precedence first.
var labels = []struct{ label, name, colour string }{
	{forensics.LabelUndelivered, "Undelivered calls", "[65535,50372,32896][6425,6425,6425]"},
	{forensics.LabelFailed, "Failed calls", "[65535,39321,39321][6425,0,0]"},
	{forensics.LabelResent, "Retransmitted calls", "[65535,64250,42405][6425,6425,6425]"},
	{forensics.LabelMatch, "Selected calls", ""},
}

// labelFilter is the display filter of a label. A comment of the capture cannot be equal to it.
func (p *Profile) labelFilter(label string) string {
	return `frame.comment == "` + p.Label + " " + label + `"`
}

// filters are all display filters of the profile.
func (p *Profile) filters() (list []Filter) {
	for _, l := range labels {
		list = append(list, Filter{l.name, p.labelFilter(l.label)})
	}
	return append(list, p.Filters...)
}

// columns are preferences: the comments of a packet end with its service, process, call and outcome.
const columns = `# Profile for a slice of pcapsule
gui.column.format:
	"No.", "%m",
	"Time (UTC)", "%Yut",
	"Source", "%s",
	"Destination", "%d",
	"Protocol", "%p",
	"Service", "%Cus:frame.comment:-4:R",
	"Process", "%Cus:frame.comment:-3:R",
	"Call", "%Cus:frame.comment:-2:R",
	"Outcome", "%Cus:frame.comment:-1:R",
	"Length", "%L",
	"Info", "%i"
nameres.network_name: TRUE
nameres.hosts_file_handling: TRUE
nameres.dns_pkt_addr_resolution: FALSE
nameres.use_external_name_resolver: FALSE
`

//go:embed pcapsule.lua
var script string

// Write writes the files of the profile into a folder that exists.
func (p *Profile) Write(dir string) error {
	for name, text := range map[string]string{
		"preferences": columns, "colorfilters": p.colours(), "decode_as_entries": p.decodeAs(), "hosts": p.hosts(),
		"dfilters": p.saved(), "dfilter_buttons": p.buttons(), Script: strings.Replace(script, "LABEL", p.Label, 1),
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			return err
		}
	}
	return nil
}

func (p *Profile) colours() string {
	var b strings.Builder
	for _, l := range labels {
		if l.colour != "" {
			fmt.Fprintf(&b, "@%s@%s@%s\n", l.name, p.labelFilter(l.label), l.colour)
		}
	}
	return b.String()
}

func (p *Profile) decodeAs() string {
	var b strings.Builder
	for _, x := range p.Ports {
		fmt.Fprintf(&b, "decode_as_entry: %s,%d,(none),%s\n", x.Table, x.Port, x.Protocol)
	}
	return b.String()
}

func (p *Profile) hosts() string {
	var b strings.Builder
	for _, h := range p.Hosts {
		fmt.Fprintf(&b, "%s\t%s\n", h.Address, h.Name)
	}
	return b.String()
}

// saved are the filters in the list of display filters, which Wireshark reads with a backslash before " and \ of a name.
func (p *Profile) saved() string {
	var b strings.Builder
	for _, f := range p.filters() {
		fmt.Fprintf(&b, "\"%s\" %s\n", strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(oneLine(f.Name)), oneLine(f.Filter))
	}
	return b.String()
}

// buttons are the filters in the toolbar. Wireshark reads codes for characters in it.
func (p *Profile) buttons() string {
	code := func(s string) string {
		var b strings.Builder
		for _, c := range []byte(oneLine(s)) {
			if c < ' ' || c > '~' || c == '"' || c == '\\' {
				fmt.Fprintf(&b, `\x%02x`, c)
			} else {
				b.WriteByte(c)
			}
		}
		return b.String()
	}
	var b strings.Builder
	for _, f := range p.filters() {
		fmt.Fprintf(&b, "\"TRUE\",\"%s\",\"%s\",\"\"\n", code(f.Name), code(f.Filter))
	}
	return b.String()
}

// oneLine replaces what could end a line.
func oneLine(s string) string {
	return strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return ' '
		}
		return r
	}, s)
}

// maxHostName is the length of a name, in bytes: Wireshark cuts longer ones.
const maxHostName = 63

// hostName is a name as a file of hosts can have it: of letters, digits, dots, hyphens, underscores and slashes. A name
// that looks like another address is none.
func hostName(s string) string {
	name := strings.Map(func(r rune) rune {
		if r < 0x80 && (unicode.IsLetter(r) || unicode.IsDigit(r) || strings.ContainsRune("._/-", r)) {
			return r
		}
		return '_'
	}, s)
	name = clip.Cut(name, maxHostName)
	if _, err := netip.ParseAddr(name); err == nil || strings.Trim(name, "._/-") == "" {
		return ""
	}
	if !strings.ContainsFunc(name, unicode.IsLetter) { // such as 10.1, which may be read as an address
		return ""
	}
	return name
}

// mergeHosts makes one entry of the names that an address had one after the other.
func mergeHosts(list []Host) []Host {
	names := map[netip.Addr][]string{}
	var order []netip.Addr
	for _, h := range list {
		name := hostName(h.Name)
		if name == "" || slices.Contains(names[h.Address], name) {
			continue
		}
		if names[h.Address] == nil {
			order = append(order, h.Address)
		}
		names[h.Address] = append(names[h.Address], name)
	}
	slices.SortFunc(order, netip.Addr.Compare)
	var out []Host
	for _, a := range order {
		all := names[a]
		slices.Sort(all)
		name := strings.Join(all[:min(2, len(all))], "_or_")
		if len(all) > 2 {
			name = all[0] + fmt.Sprintf("_or_%d_others", len(all)-1)
		}
		out = append(out, Host{a, clip.Cut(name, maxHostName)})
	}
	return out
}
