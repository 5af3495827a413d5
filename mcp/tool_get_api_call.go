package mcp

import (
	"context"
	"encoding/hex"
	"fmt"

	"github.com/pcapsule/pcapsule/forensics"
)

var toolGetAPICall = tool{name: "get_api_call", title: "One call whole",
	doc: "Show one call whole: both ends, headers, decoded bodies, times, flow, packets, anomalies. id is a call_id, a unique beginning of one, or # and call_no."}

type getAPICallIn struct {
	ID      string `json:"id" jsonschema:"call_id, at least 8 digits of it, or # and call_no, such as #42"`
	MaxBody int    `json:"max_body,omitempty" jsonschema:"bytes of each body, at most 16384; 4096 where not given"`
}

type getAPICallOut struct {
	Call       map[string]any   `json:"call" jsonschema:"columns that are not null; see describe_schema"`
	Client     map[string]any   `json:"client"`
	Server     map[string]any   `json:"server"`
	Request    *message         `json:"request,omitempty"`
	Response   *message         `json:"response,omitempty"`
	Flow       map[string]any   `json:"flow,omitempty"`
	TLS        map[string]any   `json:"tls,omitempty"`
	Anomalies  []map[string]any `json:"anomalies,omitempty"`
	Packets    string           `json:"packets" jsonschema:"numbers of the packets that carry the call"`
	Places     []place          `json:"places" jsonschema:"where the first of these packets lie"`
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
	Hex         string       `json:"hex,omitempty" jsonschema:"first bytes of a body that is no text"`
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
	defaultBody = 4 << 10
	mostBody    = 16 << 10
	maxPlaces   = 12
	maxHex      = 256
)

func (s *server) getAPICall(ctx context.Context, in getAPICallIn) (getAPICallOut, error) {
	var out getAPICallOut
	most := in.MaxBody
	if most <= 0 {
		most = defaultBody
	}
	x, err := s.c.Call(ctx, in.ID, forensics.CallOptions{MaxBody: min(most, mostBody)})
	if err != nil {
		return out, err
	}
	out.Call = s.fields(x.Call, "headers", "cites", "ts")
	out.Call["ts"] = stamp(number(x.Call.Get("ts_ns")))
	out.Client, out.Server = s.fields(x.Client), s.fields(x.Server)
	out.Flow = s.fields(x.Flow, "ts")
	out.TLS = s.fields(x.TLS)
	out.Request = s.message(x, x.Request, "request")
	out.Response = s.message(x, x.Response, "response")
	for _, a := range x.Anomalies {
		out.Anomalies = append(out.Anomalies, s.fields(a, "ts"))
	}
	out.Packets = packets(x.Cites)
	out.Places = []place{}
	for i, p := range x.Packets {
		if i == maxPlaces {
			break
		}
		out.Places = append(out.Places, place{p.PacketNo, p.File, p.Frame, stamp(p.TsNs), p.Len})
	}
	out.Verified = s.verified()
	out.Provenance = fmt.Sprintf("%d packets carry this call; export_pcap with call_ids writes them", x.Cites.Count())
	return out, nil
}

// fields are a row's values that are not null.
func (s *server) fields(row forensics.Struct, without ...string) map[string]any {
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
		if v := s.value(f.Value); v != nil {
			out[f.Name] = v
		}
	}
	return out
}

func (s *server) message(x *forensics.Exchange, b *forensics.Body, side string) *message {
	m := &message{Complete: true}
	list, _ := x.Call.Get("headers").([]any)
	for _, h := range list {
		if f, ok := h.(forensics.Struct); ok {
			if kind := text(f.Get("kind")); kind == side || kind == side+"_trailer" {
				m.Headers = append(m.Headers, headerLine{clip(text(f.Get("name")), 200), clip(text(f.Get("value")), maxCell)})
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
		m.Text = string(b.Data)
	} else {
		m.Hex = hex.EncodeToString(b.Data[:min(len(b.Data), maxHex)])
		m.Truncated = m.Truncated || len(b.Data) > maxHex
	}
	return m
}
