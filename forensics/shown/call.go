// Package shown shapes calls and packets for answers: with masked texts, within sizes that fit a conversation and a page. It
// asks no questions itself, so the server and the viewer show the same.
package shown

import (
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"mime"
	"slices"
	"strings"
	"time"

	"github.com/pcapsule/pcapsule/forensics"
	"github.com/pcapsule/pcapsule/forensics/redact"
	"github.com/pcapsule/pcapsule/internal/plural"
	"github.com/pcapsule/pcapsule/internal/protoview"
	"github.com/pcapsule/pcapsule/internal/when"
)

// MaxCell is how many bytes of one text of a row an answer has, unless it must be shorter.
const MaxCell = 2 << 10

// Limits of one call in an answer.
const (
	maxPlaces    = 12
	maxAnomalies = 50
	maxHex       = 256
)

// OneCall is one call in full.
type OneCall struct {
	Call       map[string]any   `json:"call" jsonschema:"the columns that are not null; see describe_schema"`
	Client     map[string]any   `json:"client"`
	Server     map[string]any   `json:"server"`
	Request    *Message         `json:"request,omitempty"`
	Response   *Message         `json:"response,omitempty"`
	Flow       map[string]any   `json:"flow,omitempty"`
	TLS        map[string]any   `json:"tls,omitempty"`
	Delivery   string           `json:"delivery,omitempty" jsonschema:"whether request and response were delivered, and the packets that show it"`
	Anomalies  []map[string]any `json:"anomalies,omitempty"`
	Packets    string           `json:"packets" jsonschema:"file and frames that carry the call, as Wireshark counts them"`
	Places     []Place          `json:"places" jsonschema:"the location of the first of these packets"`
	Truncated  bool             `json:"truncated,omitempty" jsonschema:"parts were omitted to fit max_bytes: see notes"`
	Notes      []string         `json:"notes,omitempty"`
	Verified   bool             `json:"verified"`
	Provenance string           `json:"provenance"`
}

// Message is a message of a call.
type Message struct {
	Headers     []HeaderLine `json:"headers,omitempty"`
	ContentType string       `json:"content_type,omitempty"`
	SHA256      string       `json:"sha256,omitempty"`
	Size        int64        `json:"size"`
	Complete    bool         `json:"complete"`
	Text        string       `json:"text,omitempty"`
	Hex         string       `json:"hex,omitempty" jsonschema:"first bytes of a binary body"`
	Decoded     string       `json:"decoded,omitempty" jsonschema:"fields of a protobuf message by number, guessed without its schema"`
	Truncated   bool         `json:"truncated,omitempty"`
}

// HeaderLine is a header.
type HeaderLine struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

// Place is where a packet is.
type Place struct {
	Packet int64  `json:"packet_no"`
	File   string `json:"file"`
	Frame  int64  `json:"frame" jsonschema:"frame number in Wireshark"`
	Time   string `json:"ts"`
	Len    int64  `json:"len"`
}

// Cells converts values of rows.
type Cells struct {
	Policy *redact.Policy // nil: nothing is masked
	Size   int            // bytes of one text

	Exact func(dst []byte, v any) []byte // writes other values, such as numbers without loss; nil: they are as they are
}

func (s Cells) mask(column string, v any) any {
	if s.Policy == nil {
		return v
	}
	return s.Policy.Value(column, v)
}

// Value converts a value of a row to what commands print as JSON (encode.JSON), with texts that fit a
// conversation.
func (s Cells) Value(v any) any {
	switch v := v.(type) {
	case string:
		return forensics.Clip(v, s.Size)
	case []byte:
		return forensics.Clip(hex.EncodeToString(v), s.Size)
	case time.Time:
		return v.UTC().Format(when.Layout)
	case []any:
		out := make([]any, len(v))
		for i := range v {
			out[i] = s.Value(v[i])
		}
		return out
	case forensics.Struct:
		if v.Nameless() {
			return s.Value(v.Values())
		}
		out := make(map[string]any, len(v))
		for _, f := range v {
			out[f.Name] = s.Value(f.Value)
		}
		return out
	case forensics.Map:
		out := make([]any, len(v))
		for i, e := range v {
			out[i] = map[string]any{"key": s.Value(e.Key), "value": s.Value(e.Value)}
		}
		return out
	case nil, bool, int64:
		return v
	}
	if s.Exact != nil {
		return json.RawMessage(s.Exact(nil, v)) // a number without loss
	}
	return v
}

func text(v any) string { s, _ := v.(string); return s }

func number(v any) int64 { n, _ := v.(int64); return n }

// Exchange returns a call with at most most bytes of each body. It does not set Verified.
func (s Cells) Exchange(x *forensics.Exchange, most int) OneCall {
	cell := s.Size
	var out OneCall
	out.Call = s.fields(x.Call, "headers", "cites", "ts")
	out.Call["ts"] = when.Stamp(number(x.Call.Get("ts_ns")))
	out.Client, out.Server = s.fields(x.Client), s.fields(x.Server)
	out.Flow = s.fields(x.Flow, "ts")
	if cell < MaxCell { // omit what is 0 or false first
		for _, row := range []map[string]any{out.Client, out.Server, out.Flow} {
			maps.DeleteFunc(row, func(_ string, v any) bool { return v == int64(0) || v == false })
		}
	}
	out.TLS = s.fields(x.TLS)
	out.Request = s.Message(x, x.Request, "request", most)
	out.Response = s.Message(x, x.Response, "response", most)
	places, anomalies := maxPlaces, maxAnomalies
	if cell < MaxCell {
		places, anomalies = 2, 5
		out.Truncated = true
		out.Notes = append(out.Notes, fmt.Sprintf("cut to fit max_bytes: texts to %d bytes, bodies to %d; ask again with a larger max_bytes", cell, most))
	}
	for i, a := range x.Anomalies {
		if i == anomalies {
			out.Notes = append(out.Notes, fmt.Sprintf("only %d of %d anomalies are listed", i, len(x.Anomalies)))
			break
		}
		out.Anomalies = append(out.Anomalies, s.fields(a, "ts"))
	}
	out.Packets, out.Delivery = x.Frames, x.Delivery
	out.Places = []Place{}
	for i, p := range x.Packets {
		if i == places {
			break
		}
		out.Places = append(out.Places, Place{p.PacketNo, p.File, p.Frame, when.Stamp(p.TsNs), p.Len})
	}
	out.Provenance = plural.Sprintf("%d {packet carries|packets carry} this call; export_pcap with call_ids writes them", x.Cites.Count())
	return out
}

// fields returns the values of a row that are not null.
func (s Cells) fields(row forensics.Struct, without ...string) map[string]any {
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
		if v := s.Value(s.mask(f.Name, f.Value)); v != nil {
			out[f.Name] = v
		}
	}
	return out
}

// Message returns one side of a call; nil if there is none.
func (s Cells) Message(x *forensics.Exchange, b *forensics.Body, side string, most int) *Message {
	m := &Message{Complete: true}
	list, _ := x.Call.Get("headers").([]any)
	for _, h := range list {
		if f, ok := h.(forensics.Struct); ok {
			if kind := text(f.Get("kind")); kind == side || kind == side+"_trailer" {
				m.Headers = append(m.Headers, HeaderLine{forensics.Clip(text(f.Get("name")), 200), forensics.Clip(text(f.Get("value")), s.Size)})
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
		if isProtobuf(b.ContentType) && b.Complete {
			m.Decoded = string(protoview.Append(nil, b.Data[:min(len(b.Data), most)], most))
		}
	}
	return m
}

// isProtobuf reports whether a content type is one of a single protobuf message; gRPC has its own columns.
func isProtobuf(contentType string) bool {
	kind, _, err := mime.ParseMediaType(contentType)
	if err != nil {
		return false
	}
	return slices.Contains([]string{"application/proto", "application/protobuf", "application/x-protobuf", "application/vnd.google.protobuf", "application/x-google-protobuf"}, kind)
}
