package mcp

import (
	"context"
	"fmt"
	"strings"
)

var toolDescribeSchema = tool{name: "describe_schema", title: "Tables and columns",
	doc: "List the tables, or with table the columns of one with type, unit and meaning. Use it before run_sql, and to learn which columns a KFL filter can name."}

type describeSchemaIn struct {
	Table  string `json:"table,omitempty" jsonschema:"table to describe; without it all tables are listed with their columns' names"`
	Filter string `json:"filter,omitempty" jsonschema:"only columns whose name or meaning contains this text, such as redis"`
}

type describeSchemaOut struct {
	Tables []tableInfo `json:"tables"`
}

type tableInfo struct {
	Name    string       `json:"name"`
	Doc     string       `json:"doc"`
	Rows    int64        `json:"rows"`
	Names   string       `json:"column_names,omitempty"`
	Columns []columnInfo `json:"columns,omitempty"`
}

type columnInfo struct {
	Name string `json:"name"`
	Type string `json:"type"`
	Unit string `json:"unit,omitempty"`
	Doc  string `json:"doc,omitempty"`
}

func (s *server) describeSchema(_ context.Context, in describeSchemaIn) (describeSchemaOut, error) {
	out := describeSchemaOut{Tables: []tableInfo{}}
	list, err := s.c.Tables()
	if err != nil {
		return out, err
	}
	var names []string
	for _, t := range list {
		names = append(names, t.Name)
		if in.Table != "" && in.Table != t.Name {
			continue
		}
		info := tableInfo{Name: t.Name, Doc: t.Doc, Rows: t.Rows}
		var cols []string
		for _, c := range t.Columns {
			if in.Filter != "" && !strings.Contains(c.Name, in.Filter) && !strings.Contains(c.Doc, in.Filter) {
				continue
			}
			cols = append(cols, c.Name)
			if in.Table != "" || in.Filter != "" {
				info.Columns = append(info.Columns, columnInfo{c.Name, c.Type, c.Unit, c.Doc})
			}
		}
		if len(cols) == 0 && in.Filter != "" {
			continue
		}
		if info.Columns == nil {
			info.Names = strings.Join(cols, ", ")
		}
		out.Tables = append(out.Tables, info)
	}
	if len(out.Tables) == 0 && in.Filter == "" {
		return out, fmt.Errorf("no table %q; there are: %s", in.Table, strings.Join(names, ", "))
	}
	return out, nil
}
