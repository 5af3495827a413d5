package tools

import (
	"cmp"
	"context"
	"encoding/hex"
	"fmt"
	"maps"
	"strings"

	"github.com/pcapsule/pcapsule/forensics"
	"github.com/pcapsule/pcapsule/forensics/ask"
	"github.com/pcapsule/pcapsule/internal/plural"
	"github.com/pcapsule/pcapsule/internal/when"
	"github.com/pcapsule/pcapsule/mcp/object"
)

var toolGetAPICall = Tool{Name: "get_api_call", set: "calls", core: true, Short: true, title: "One call in full",
	doc: "Show one call in full: endpoints, headers, decoded bodies, times, flow, packets, anomalies.", other: map[string]string{"id": "call_id"}}

type GetAPICallIn struct {
	ID      string `json:"call_id" jsonschema:"call_id, at least 8 digits of it, or # and call_no, such as #42"`
	MaxBody int    `json:"max_body,omitempty" jsonschema:"bytes of each body, at most 16384; default 4096"`
}

// GetAPICallOut is the answer of get_api_call.
type GetAPICallOut struct {
	Call       map[string]any   `json:"call" jsonschema:"the columns that are not null; see describe_schema"`
	Client     map[string]any   `json:"client"`
	Server     map[string]any   `json:"server"`
	Request    *message         `json:"request,omitempty"`
	Response   *message         `json:"response,omitempty"`
	Flow       map[string]any   `json:"flow,omitempty"`
	TLS        map[string]any   `json:"tls,omitempty"`
	Delivery   string           `json:"delivery,omitempty" jsonschema:"whether request and response were delivered, and the packets that show it"`
	Anomalies  []map[string]any `json:"anomalies,omitempty"`
	Packets    string           `json:"packets" jsonschema:"file and frames that carry the call, as Wireshark counts them"`
	Places     []place          `json:"places" jsonschema:"the location of the first of these packets"`
	Coverage   ask.Coverage     `json:"coverage"`
	Truncated  bool             `json:"truncated,omitempty" jsonschema:"parts were omitted to fit max_bytes: see notes"`
	Notes      []string         `json:"notes,omitempty"`
	Verified   bool             `json:"verified"`
	Provenance string           `json:"provenance"`
}

type message struct {
	Headers     []headerLine `json:"headers,omitempty"`
	ContentType string       `json:"content_type,omitempty"`
	SHA256      string       `json:"sha256,omitempty"`
	Size        int64        `json:"size"`
	Complete    bool         `json:"complete"`
	Text        string       `json:"text,omitempty"`
	Hex         string       `json:"hex,omitempty" jsonschema:"first bytes of a binary body"`
	Truncated   bool         `json:"truncated,omitempty"`
}

type headerLine struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

type place struct {
	Packet int64  `json:"packet_no"`
	File   string `json:"file"`
	Frame  int64  `json:"frame" jsonschema:"frame number in Wireshark"`
	Time   string `json:"ts"`
	Len    int64  `json:"len"`
}

// Limits of one call in an answer.
const (
	defaultBody  = 4 << 10
	maxPlaces    = 12
	maxAnomalies = 50
	maxHex       = 256
	framing      = 300 // bytes that the answer gets around it
)

func (s *Invocation) getAPICall(ctx context.Context, in GetAPICallIn) (GetAPICallOut, error) {
	most := cmp.Or(in.MaxBody, min(defaultBody, s.Max/4))
	x, err := s.Case.Call(ctx, in.ID, forensics.CallOptions{MaxBody: most})
	if err != nil {
		return GetAPICallOut{}, err
	}
	// If it does not fit, shorten the bodies first, then headers and the rest.
	for cell := maxCell; ; cell /= 2 {
		out := s.exchange(x, most, cell)
		if out.Coverage, err = s.coverageAt(x); err != nil {
			return out, err
		}
		raw, err := object.Marshal(out)
		if err != nil || len(raw)+framing <= s.Max || cell < 32 {
			return out, err
		}
		most /= 2
	}
}

// coverageAt returns the coverage of a call's time.
func (s *Invocation) coverageAt(x *forensics.Exchange) (ask.Coverage, error) {
	from := number(x.Call.Get("ts_ns"))
	cov, err := s.Case.Coverage(from, from+1000*number(x.Call.Get("elapsed_us")))
	return ask.CoverageOf(cov), err
}

// exchange returns a call with at most most bytes of each body and cell bytes of each text.
func (s *Invocation) exchange(x *forensics.Exchange, most, cell int) GetAPICallOut {
	short := &Invocation{Env: s.Env, Case: s.Case, Max: s.Max, cell: cell}
	var out GetAPICallOut
	out.Call = short.fields(x.Call, "headers", "cites", "ts")
	out.Call["ts"] = when.Stamp(number(x.Call.Get("ts_ns")))
	out.Client, out.Server = short.fields(x.Client), short.fields(x.Server)
	out.Flow = short.fields(x.Flow, "ts")
	if cell < maxCell { // omit what is 0 or false first
		for _, row := range []map[string]any{out.Client, out.Server, out.Flow} {
			maps.DeleteFunc(row, func(_ string, v any) bool { return v == int64(0) || v == false })
		}
	}
	out.TLS = short.fields(x.TLS)
	out.Request = short.message(x, x.Request, "request", most)
	out.Response = short.message(x, x.Response, "response", most)
	places, anomalies := maxPlaces, maxAnomalies
	if cell < maxCell {
		places, anomalies = 2, 5
		out.Truncated = true
		out.Notes = append(out.Notes, fmt.Sprintf("cut to fit max_bytes: texts to %d bytes, bodies to %d; ask again with a larger max_bytes", cell, most))
	}
	for i, a := range x.Anomalies {
		if i == anomalies {
			out.Notes = append(out.Notes, fmt.Sprintf("only %d of %d anomalies are listed", i, len(x.Anomalies)))
			break
		}
		out.Anomalies = append(out.Anomalies, short.fields(a, "ts"))
	}
	out.Packets, out.Delivery = x.Frames, x.Delivery
	out.Places = []place{}
	for i, p := range x.Packets {
		if i == places {
			break
		}
		out.Places = append(out.Places, place{p.PacketNo, p.File, p.Frame, when.Stamp(p.TsNs), p.Len})
	}
	out.Verified = s.Case.Verified()
	out.Provenance = plural.Sprintf("%d {packet carries|packets carry} this call; export_pcap with call_ids writes them", x.Cites.Count())
	return out
}

// fields returns the values of a row that are not null.
func (s *Invocation) fields(row forensics.Struct, without ...string) map[string]any {
	if row == nil {
		return nil
	}
	out := map[string]any{}
next:
	for _, f := range row {
		for _, w := range without {
			if f.Name == w {
				continue next
			}
		}
		if v := s.value(s.maskCell(f.Name, f.Value)); v != nil {
			out[f.Name] = v
		}
	}
	return out
}

func (s *Invocation) message(x *forensics.Exchange, b *forensics.Body, side string, most int) *message {
	m := &message{Complete: true}
	list, _ := x.Call.Get("headers").([]any)
	for _, h := range list {
		if f, ok := h.(forensics.Struct); ok {
			if kind := text(f.Get("kind")); kind == side || kind == side+"_trailer" {
				m.Headers = append(m.Headers, headerLine{ask.Clip(text(f.Get("name")), 200), ask.Clip(text(f.Get("value")), s.cellSize())})
			}
		}
	}
	if b == nil {
		if len(m.Headers) == 0 {
			return nil
		}
		return m
	}
	m.ContentType, m.SHA256, m.Size, m.Complete, m.Truncated = b.ContentType, b.SHA256, b.Size, b.Complete, b.Truncated
	if b.IsText {
		data := b.Data[:min(len(b.Data), most)]
		m.Text = strings.ToValidUTF8(string(data), "")
		m.Truncated = m.Truncated || len(data) < len(b.Data)
	} else {
		m.Hex = hex.EncodeToString(b.Data[:min(len(b.Data), maxHex)])
		m.Truncated = m.Truncated || len(b.Data) > maxHex
	}
	return m
}
