package tools

import (
	"context"
	"errors"

	"github.com/pcapsule/pcapsule/forensics"
	"github.com/pcapsule/pcapsule/forensics/ask"
)

var toolExportPCAP = Tool{Name: "export_pcap", set: "calls", title: "Export packets", writes: true,
	doc: "Write the packets of calls, selected by kfl, sql or call_ids, to a PCAPNG file for Wireshark."}

var errNoExport = errors.New("this server must not write files; start it with --export-dir to allow them")

type exportPCAPIn struct {
	KFL     string   `json:"kfl,omitempty" jsonschema:"KFL filter for calls"`
	SQL     string   `json:"sql,omitempty" jsonschema:"a query that selects a column cites, packet_no, call_no or flow_id"`
	CallIDs []string `json:"call_ids,omitempty" jsonschema:"calls by call_id"`
	From    string   `json:"from,omitempty" jsonschema:"start: a time such as 2026-01-31T14:15:00Z or 14:15:00, or a duration such as 15m before the end of the recording"`
	To      string   `json:"to,omitempty" jsonschema:"end, inclusive; same forms as from"`
	Context string   `json:"context,omitempty" jsonschema:"default: only cited packets; context: also earlier packets of their connections; connections: whole connections"`
	Name    string   `json:"name,omitempty" jsonschema:"file name ending in .pcapng; default slice.pcapng"`
}

// ExportPCAPOut is the answer of export_pcap.
type ExportPCAPOut struct {
	Path     string       `json:"path" jsonschema:"the file that was written"`
	Packets  int64        `json:"packets"`
	Bytes    int64        `json:"bytes"`
	Calls    int64        `json:"calls" jsonschema:"selected calls"`
	Notes    []string     `json:"notes,omitempty"`
	Coverage ask.Coverage `json:"coverage"`
}

func (s *Invocation) exportPCAP(ctx context.Context, in exportPCAPIn) (ExportPCAPOut, error) {
	var out ExportPCAPOut
	name := in.Name
	if name == "" {
		name = "slice.pcapng"
	}
	path, err := s.exportPath(name)
	if err != nil {
		return out, err
	}
	sel := forensics.Selection{KFL: in.KFL, SQL: in.SQL, CallIDs: in.CallIDs, Context: forensics.Context(in.Context)}
	if sel.From, sel.To, err = s.times(in.From, in.To); err != nil {
		return out, err
	}
	r, err := s.Case.PacketsFile(ctx, sel, path)
	if err != nil {
		return out, err
	}
	if s.Policy != nil {
		r.Notes = append(r.Notes, "the file contains the packets as recorded: values that answers mask are not masked in it")
	}
	return ExportPCAPOut{Path: path, Packets: r.Packets, Bytes: r.Bytes, Calls: r.Calls, Notes: r.Notes, Coverage: ask.CoverageOf(r.Coverage)}, nil
}
