package tools

import (
	"context"
	"fmt"
	"strconv"
	"strings"

	"github.com/pcapsule/pcapsule/forensics"
	"github.com/pcapsule/pcapsule/forensics/ask"
)

var toolDescribeSchema = Tool{Name: "describe_schema", set: "cases", core: true, Short: true, title: "Tables and columns",
	doc: "List the tables or, with table, its columns with type, unit and meaning. Use it before run_sql or a KFL filter. With a tool's name as table, it lists the members of the tool's answer."}

type DescribeSchemaIn struct {
	Table  string `json:"table,omitempty" jsonschema:"table or tool; default: all tables with their column names"`
	Filter string `json:"filter,omitempty" jsonschema:"only columns with this text in their name or meaning, such as redis"`
	Cursor string `json:"cursor,omitempty" jsonschema:"next_cursor of the previous answer"`
}

type describeSchemaOut struct {
	Tables    []tableInfo  `json:"tables"`
	Coverage  ask.Coverage `json:"coverage"`
	Truncated bool         `json:"truncated" jsonschema:"there are more columns: ask again with cursor"`
	Cursor    string       `json:"next_cursor,omitempty" jsonschema:"pass it as cursor, with the same arguments, for the next columns"`
}

type tableInfo struct {
	Name    string       `json:"name"`
	Doc     string       `json:"doc"`
	Rows    *int64       `json:"rows,omitempty" jsonschema:"absent if they are computed when a query first needs them"`
	Names   string       `json:"column_names,omitempty"`
	Columns []columnInfo `json:"columns,omitempty"`
}

type columnInfo struct {
	Name string   `json:"name"`
	Type string   `json:"type"`
	Unit string   `json:"unit,omitempty"`
	Doc  string   `json:"doc,omitempty"`
	Of   []string `json:"protocols,omitempty" jsonschema:"of table calls: only calls of these protocols have it, and SELECT * lacks the column"`
	None bool     `json:"absent,omitempty" jsonschema:"no call of the case has a value, so SELECT * lacks the column"`
}

func (s *Invocation) describeSchema(_ context.Context, in DescribeSchemaIn) (describeSchemaOut, error) {
	out := describeSchemaOut{Tables: []tableInfo{}}
	cov, err := s.Case.Coverage(0, 0)
	if err != nil {
		return out, err
	}
	out.Coverage = ask.Coverage{State: string(cov.State)}
	list, err := s.Case.Tables()
	if err != nil {
		return out, err
	}
	if e := s.Every[in.Table]; e != nil {
		list = append(list, forensics.Table{Name: e.Name, Doc: e.doc, Columns: members("", e.Out)})
	}
	skip := 0
	if in.Cursor != "" {
		if skip, err = strconv.Atoi(in.Cursor); err != nil || skip < 0 {
			return out, forensics.ErrNoCursor
		}
	}
	var names []string
	found := false
	room, at := s.Max-1024, 0
	for _, t := range list {
		names = append(names, t.Name)
		if in.Table != "" && in.Table != t.Name {
			continue
		}
		info := tableInfo{Name: t.Name, Doc: t.Doc}
		found = found || t.Calls && in.Filter == "" // a protocol may have no columns of its own
		if t.Rows >= 0 {
			info.Rows = &t.Rows
		}
		room -= len(t.Name) + len(t.Doc) + 80
		var cols []string
		for _, c := range t.Columns {
			if (c.Absent || c.Protocols != nil) && in.Table == "" && in.Filter == "" {
				continue // the protocols' relations list theirs
			}
			if t.Calls && in.Table == "" && in.Filter != "" {
				continue // calls has it
			}
			if in.Filter != "" && !strings.Contains(c.Name, in.Filter) && !strings.Contains(c.Doc, in.Filter) {
				continue
			}
			found = true
			at++
			if at <= skip || out.Cursor != "" {
				continue
			}
			size := len(c.Name) + 2
			if in.Table != "" || in.Filter != "" {
				size += len(c.Type) + len(c.Unit) + len(c.Doc) + 50
			}
			if room -= size; room < 0 && at > skip+1 {
				out.Truncated, out.Cursor = true, strconv.Itoa(at-1)
				continue
			}
			cols = append(cols, c.Name)
			if in.Table != "" || in.Filter != "" {
				info.Columns = append(info.Columns, columnInfo{c.Name, c.Type, c.Unit, c.Doc, c.Protocols, c.Absent})
			}
		}
		if len(cols) == 0 && (!t.Calls || len(t.Columns) > 0 || in.Filter != "") {
			continue
		}
		if info.Columns == nil {
			info.Names = strings.Join(cols, ", ")
		}
		out.Tables = append(out.Tables, info)
	}
	if !found && in.Filter == "" {
		return out, fmt.Errorf("table %q: %w; the tables are %s", ask.Clip(in.Table, 100), forensics.ErrNotFound, strings.Join(names, ", "))
	}
	return out, nil
}
