package shown

import (
	"bytes"
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/pcapsule/pcapsule/forensics"
	"github.com/pcapsule/pcapsule/forensics/redact"
	"github.com/pcapsule/pcapsule/internal/when"
)

// Limits of packets in an answer.
const (
	MaxPacketBytes = 64 << 10
	maxFound       = 200 // values of a call that are searched in a packet
	leastFound     = 4   // bytes of such a value
)

// CallPackets are packets of a call.
type CallPackets struct {
	List  []PacketRow `json:"list"`
	Total int64       `json:"total" jsonschema:"packets of the call"`
	More  bool        `json:"truncated" jsonschema:"there are more, from start on"`
	Next  int64       `json:"next,omitempty" jsonschema:"from of the next packets"`
}

// PacketRow is one packet in a list.
type PacketRow struct {
	No       int64  `json:"packet_no"`
	File     string `json:"file"`
	Frame    int64  `json:"frame" jsonschema:"frame number in Wireshark"`
	Time     string `json:"ts"`
	Len      int64  `json:"len" jsonschema:"bytes on the wire"`
	From     string `json:"sender" jsonschema:"client, server or network"`
	Src      string `json:"src_ip,omitempty"`
	Dst      string `json:"dst_ip,omitempty"`
	Protocol string `json:"protocol" jsonschema:"innermost layer"`
	Info     string `json:"summary"`
}

// PacketDetail is a packet with its layers and bytes.
type PacketDetail struct {
	PacketRow
	LinkType int64         `json:"link_type" jsonschema:"number of the link type"`
	Layers   []PacketLayer `json:"layers" jsonschema:"outermost first; they divide the packet, but for the layer call: values of the call that its bytes contain exactly once"`
	Bytes    []*int64      `json:"bytes" jsonschema:"from 0 to 255; null: masked"`
	Hidden   int64         `json:"masked_bytes" jsonschema:"number of masked bytes"`
	Notes    []string      `json:"notes,omitempty"`
}

// PacketLayer is one layer of a packet.
type PacketLayer struct {
	Name   string        `json:"layer"`
	Start  int64         `json:"start" jsonschema:"first byte, from 0"`
	End    int64         `json:"end" jsonschema:"behind the last byte"`
	Fields []PacketField `json:"fields"`
}

// PacketField is one field of a layer.
type PacketField struct {
	Name  string `json:"field" jsonschema:"name of the field in Wireshark's filters; in the layer call, of the call"`
	Value string `json:"value"`
	Start int64  `json:"start"`
	End   int64  `json:"end"`
}

// Packets lists packets of a call, of which list begins with the from-th.
func (m Mask) Packets(x *forensics.Exchange, list []forensics.Packet, from int) CallPackets {
	out := CallPackets{List: []PacketRow{}, Total: int64(len(x.Packets)) + x.MoreRefs}
	for i := range list {
		out.List = append(out.List, m.Row(&list[i]))
	}
	if next := from + len(list); next < len(x.Packets) {
		out.More, out.Next = true, int64(next)
	}
	return out
}

// Packet returns the layers and bytes of a packet of a call. Unless recorded is set, it masks the bytes
// that were sent by applications, except those of values that other answers show, too.
func (m Mask) Packet(x *forensics.Exchange, p *forensics.Packet, recorded bool) PacketDetail {
	out := PacketDetail{PacketRow: m.Row(p), LinkType: int64(p.LinkType), Layers: []PacketLayer{}, Bytes: []*int64{}}
	shown := make([]bool, len(p.Data))
	show := func(start, end int) {
		for i := start; i < end; i++ {
			shown[i] = true
		}
	}
	for _, l := range p.Layers {
		layer := PacketLayer{l.Name, int64(l.Start), int64(l.End), []PacketField{}}
		if !l.Content {
			show(l.Start, l.End)
		}
		for _, f := range l.Fields {
			value, clean := m.field(&f)
			if clean {
				show(f.Start, f.End)
			}
			layer.Fields = append(layer.Fields, PacketField{f.Name, forensics.Clip(value, MaxCell), int64(f.Start), int64(f.End)})
		}
		out.Layers = append(out.Layers, layer)
	}
	if found := m.valuesIn(x, p); len(found) > 0 {
		layer := PacketLayer{Name: "call", Start: found[0].Start, End: found[0].End, Fields: found}
		for _, f := range found {
			show(int(f.Start), int(f.End))
			layer.Start, layer.End = min(layer.Start, f.Start), max(layer.End, f.End)
		}
		out.Layers = append(out.Layers, layer)
	}
	for _, l := range p.Layers {
		for i := l.Start; i < l.End && l.Name == "http"; i++ {
			shown[i] = shown[i] || strings.IndexByte(" \r\n", p.Data[i]) >= 0 // what separates values
		}
	}
	for i, b := range p.Data[:min(len(p.Data), MaxPacketBytes)] {
		if m.Policy != nil && !recorded && !shown[i] {
			out.Bytes = append(out.Bytes, nil)
			out.Hidden++
			continue
		}
		out.Bytes = append(out.Bytes, new(int64(b)))
	}
	if len(p.Data) > MaxPacketBytes {
		out.Notes = append(out.Notes, fmt.Sprintf("only the first %d of %d bytes are listed", MaxPacketBytes, len(p.Data)))
	}
	if int64(len(p.Data)) < p.Len {
		out.Notes = append(out.Notes, fmt.Sprintf("%d of %d bytes were recorded", len(p.Data), p.Len))
	}
	return out
}

// Mask says what of a packet answers show.
type Mask struct {
	Policy *redact.Policy // nil: nothing is masked
	Known  *redact.Known  // values that are secret elsewhere in the case
}

// text masks a text in a column, and reports whether it is unchanged.
func (m Mask) text(column, value string) (string, bool) {
	if m.Policy == nil {
		return value, true
	}
	out, _ := m.Policy.Value(column, value).(string)
	out = m.Known.Mask(m.Policy.Sentence(out))
	return out, out == value
}

// columns are the columns whose rules apply to fields of packets.
var columns = map[string]string{"http.request.uri": "http1_target"}

// field masks the value of a field, and reports whether it is unchanged.
func (m Mask) field(f *forensics.LayerField) (string, bool) {
	if name, value, ok := strings.Cut(f.Value, ":"); ok && m.Policy != nil && strings.HasSuffix(f.Name, ".line") {
		value = strings.TrimLeft(value, " \t")
		if out := m.Known.Mask(m.Policy.Header(name, value)); out != value {
			return name + ": " + out, false
		}
	}
	return m.text(cmp.Or(columns[f.Name], f.Name), f.Value)
}

// Row describes a packet in one line.
func (m Mask) Row(p *forensics.Packet) PacketRow {
	out := PacketRow{No: p.PacketNo, File: p.File, Frame: p.Frame, Time: when.Stamp(p.TsNs), Len: p.Len, From: p.From}
	value := map[string]string{}
	for i, l := range p.Layers {
		if l.Name != "data" && l.Name != "padding" || i == 0 {
			out.Protocol = l.Name
		}
		for _, f := range l.Fields {
			if text, _ := m.field(&f); !strings.HasSuffix(f.Name, ".line") {
				value[f.Name] = text
			}
		}
		if l.Name == "ip" || l.Name == "ipv6" || l.Name == "arp" {
			out.Src, out.Dst = cmp.Or(value[l.Name+".src"], value[l.Name+".src.proto_ipv4"]), cmp.Or(value[l.Name+".dst"], value[l.Name+".dst.proto_ipv4"])
		}
	}
	words := func(names ...string) string {
		var list []string
		for _, n := range names {
			if v := value[n]; v != "" {
				list = append(list, v)
			}
		}
		return strings.Join(list, " ")
	}
	switch out.Protocol {
	case "http":
		out.Info = words("http.request.method", "http.request.uri", "http.request.version", "http.response.version", "http.response.code", "http.response.phrase")
	case "dns":
		out.Info = strings.TrimSpace(words("dns.qry.name") + " " + words("dns.a", "dns.aaaa", "dns.cname"))
	case "tls":
		out.Info = cmp.Or(value["tls.handshake.extensions_server_name"], "content type "+value["tls.record.content_type"])
	case "tcp":
		_, flags, _ := strings.Cut(value["tcp.flags"], " ")
		out.Info = fmt.Sprintf("%s → %s %s seq %s ack %s, %d bytes", value["tcp.srcport"], value["tcp.dstport"], flags, value["tcp.seq_raw"], value["tcp.ack_raw"], p.Payload)
	case "udp":
		out.Info = fmt.Sprintf("%s → %s, %d bytes", value["udp.srcport"], value["udp.dstport"], p.Payload)
	case "icmp", "icmpv6":
		out.Info = "type " + value[out.Protocol+".type"] + " code " + value[out.Protocol+".code"]
	}
	return out
}

// valuesIn finds values of a call that the content of a packet has exactly once, so that their place is certain.
func (m Mask) valuesIn(x *forensics.Exchange, p *forensics.Packet) []PacketField {
	at := len(p.Data)
	for _, l := range slices.Backward(p.Layers) {
		if l.Content && l.Name != "padding" {
			at = l.Start
		}
	}
	content := p.Data[at:]
	var out []PacketField
	tried := 0
	seek := func(name, column, value string) {
		if tried++; len(value) < leastFound || tried > maxFound || len(value) > len(content) {
			return
		}
		i := bytes.Index(content, []byte(value))
		if i < 0 || bytes.Contains(content[i+1:], []byte(value)) {
			return
		}
		if _, clean := m.text(column, value); clean {
			out = append(out, PacketField{name, forensics.Clip(value, MaxCell), int64(at + i), int64(at + i + len(value))})
		}
	}
	for _, f := range x.Call {
		switch v := f.Value.(type) {
		case string:
			seek(f.Name, f.Name, v)
		case []any:
			for _, e := range v {
				if h, ok := e.(forensics.Struct); ok && f.Name == "headers" {
					name, value := text(h.Get("name")), text(h.Get("value"))
					if m.Policy == nil || m.Policy.Header(name, value) == value {
						seek(name, "value", value)
					}
				}
			}
		}
	}
	for side, b := range map[string]*forensics.Body{"request body": x.Request, "response body": x.Response} {
		if b != nil && b.IsText && !b.Truncated {
			seek(side, "text", string(b.Data))
		}
	}
	slices.SortStableFunc(out, func(a, b PacketField) int {
		return cmp.Or(cmp.Compare(a.Start, b.Start), cmp.Compare(b.End, a.End), cmp.Compare(a.Name, b.Name))
	})
	// Several columns may have the same value.
	return slices.CompactFunc(out, func(a, b PacketField) bool { return a.Start == b.Start && a.End == b.End })
}
