// Package tools declares the tools of an assistant: each with its arguments, its answer and the
// function that computes the answer.
//
// An answer cites its packets, states what was recorded, fits max_bytes, and continues at a cursor.
// Tools do not know the client, never wait for other clients and log nothing; rows are masked by
// their columns, and the rest of an answer by the server that sends it.
package tools

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/google/jsonschema-go/jsonschema"

	"github.com/pcapsule/pcapsule/forensics"
	"github.com/pcapsule/pcapsule/forensics/ask"
	"github.com/pcapsule/pcapsule/forensics/redact"
	"github.com/pcapsule/pcapsule/forensics/shown"
	"github.com/pcapsule/pcapsule/mcp/cases"
)

// Env is the state that the answers of a server share.
type Env struct {
	Cases     *cases.Cases
	Policy    *redact.Policy          // what is masked; nil: nothing
	ExportDir string                  // folder for files; empty: no tool writes any
	Allow     []string                // folders from which open_case may open; none: there is no open_case
	Open      cases.Open              // opens the bundles of a new case
	Opened    func(c *forensics.Case) // called with a case that replaced the open one
	Every     map[string]*Entry       // all tools, by name
}

// Invocation is one call of a tool.
type Invocation struct {
	*Env
	Case *forensics.Case
	Max  int // bytes of the answer
	cell int // bytes of one text in it; 0: MaxCell

	whole bool // for a person: no limit of bytes, and all rows of questions whose answers are long

	// Keep returns the whole answer to a question with these arguments, from which pages are cut.
	// It calls make only if that answer is not kept. Nil: every page makes it.
	Keep Keeping
}

// Keeping returns an answer that is kept, or the one that make makes.
type Keeping func(ctx context.Context, question, args string, make func() (json.RawMessage, error)) (json.RawMessage, error)

// Limits of one answer.
const (
	defaultRows = ask.DefaultRows
	MaxRows     = ask.MaxRows
	MinBytes    = ask.MinAnswer
	MaxBytes    = ask.MaxAnswer
	AnswerBytes = ask.DefaultBytes // unless max_bytes is given
	maxCell     = shown.MaxCell    // bytes of one text in a row
)

// entries lists the tools; to add one, add a file and a line here. Questions become tools
// automatically.
func (s *Env) entries(questions []ask.Question) []*Entry {
	list := []*Entry{
		of(toolListCases, (*Invocation).ListCases),
		of(toolDescribeSchema, (*Invocation).describeSchema),
		smallBodies(of(toolListAPICalls, (*Invocation).listAPICalls)),
		of(toolGetAPICall, (*Invocation).getAPICall),
		of(toolRunSQL, (*Invocation).runSQL),
		of(toolListL4Flows, (*Invocation).listL4Flows).allow("aggregate", "pod", "namespace", "service", "node").allow("l4proto", "tcp", "udp", "icmp", "sctp", "ip"),
		of(toolGetL4FlowSummary, (*Invocation).getL4FlowSummary),
		of(toolExportPCAP, (*Invocation).exportPCAP).allow("context", "context", "connections"),
		paged(of(toolListWorkloads, (*Invocation).listWorkloads).allow("type", "pod", "service")),
		paged(of(toolListIPs, (*Invocation).listIPs)),
		of(toolDataBoundaries, (*Invocation).DataBoundaries),
		of(toolListSnapshots, (*Invocation).listSnapshots),
		of(toolGetSnapshot, (*Invocation).getSnapshot),
		of(toolCreateSnapshot, (*Invocation).createSnapshot),
		of(toolDeleteSnapshot, (*Invocation).deleteSnapshot),
		of(toolExportSnapshotPCAP, (*Invocation).exportSnapshotPCAP),
		of(toolStartDissection, (*Invocation).startDissection),
		of(toolDissectionStatus, (*Invocation).dissectionStatus),
		of(toolCaptureTraffic, (*Invocation).captureTraffic),
	}
	if s.Open != nil && len(s.Allow) > 0 {
		list = append(list, of(toolOpenCase, (*Invocation).openCase), of(toolCloseCase, (*Invocation).closeCase))
	}
	for _, q := range questions {
		list = append(list, questionTool(q))
	}
	return list
}

// Declare fills in s.Every, with a tool for each question, and returns the tools that a choice
// selects: names of sets and tools, separated by commas; empty selects all.
func (s *Env) Declare(questions []ask.Question, choice string) (listed []*Entry, err error) {
	entries := s.entries(questions)
	selected, err := chosen(choice, entries)
	if err != nil {
		return nil, err
	}
	s.Every = map[string]*Entry{}
	for _, e := range entries {
		if s.Every[e.Name] != nil {
			return nil, fmt.Errorf("tool %s is defined twice", e.Name)
		}
		s.Every[e.Name] = e
		e.Typed = e.Out
		e.In = with(e.In, "max_bytes", &jsonschema.Schema{Type: "integer", Description: "bytes of the answer, about 4 per token; default 24576"}, false)
		if s.Cases.HasRing() && !e.Free {
			e.In = with(e.In, "db", &jsonschema.Schema{Type: "string", Description: "the data to query: a dissection as snapshot/dissection, or live for the last 30 s (live:2m for more); default: the open bundles, or else the newest dissection"}, false)
			e.Out = with(e.Out, "db", &jsonschema.Schema{Type: "string", Description: "the data that was queried; live data is not sealed, and the next answer may differ"}, false)
		}
		e.Out = with(e.Out, "trust", &jsonschema.Schema{Type: "string", Description: "the origin of the text below"}, true)
		if e.Out.Properties["truncated"] == nil {
			e.Out = with(e.Out, "truncated", &jsonschema.Schema{Type: "boolean", Description: "lists were cut to fit max_bytes: see notes"}, false)
		}
		e.Out = with(e.Out, "notes", &jsonschema.Schema{Type: "array", Items: &jsonschema.Schema{Type: "string"}}, false)
		ask.Bound(e.In)
		if e.resolved, err = e.In.Resolve(nil); err != nil {
			return nil, fmt.Errorf("tool %s: %w", e.Name, err)
		}
		if !selected.has(e.Tool) || e.set == RingTools && !s.Cases.HasRing() {
			continue
		}
		listed = append(listed, e)
	}
	return listed, nil
}
