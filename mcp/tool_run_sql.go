package mcp

import (
	"context"

	"github.com/pcapsule/pcapsule/forensics"
)

var toolRunSQL = tool{name: "run_sql", title: "SQL over the tables",
	doc: "Answer one DuckDB SQL query over the bundle's tables (describe_schema lists them). Only queries are run. Select call_no, cites or packet_no where you can, so that rows cite packets."}

type runSQLIn struct {
	SQL    string `json:"sql" jsonschema:"one SELECT, such as: select dst_service, count(*) n, count(*) filter (failed) bad from calls group by 1 order by n desc"`
	Limit  int    `json:"limit,omitempty" jsonschema:"rows, 1 to 1000; 50 where not given"`
	Cursor string `json:"cursor,omitempty" jsonschema:"next_cursor of the answer before"`
}

type runSQLOut struct {
	Columns   []columnInfo `json:"columns"`
	Rows      [][]any      `json:"rows"`
	Citations []string     `json:"citations,omitempty" jsonschema:"of each row, the packets it stands on, where the query selects cites or packet_no"`
	page
}

func (s *server) runSQL(ctx context.Context, in runSQLIn) (runSQLOut, error) {
	out := runSQLOut{Columns: []columnInfo{}, Rows: [][]any{}}
	r, err := s.c.Query(ctx, forensics.Query{SQL: in.SQL, Limit: rowsOf(in.Limit), Cursor: in.Cursor, MaxBytes: answerBytes, Deadline: toolDeadline})
	if err != nil {
		return out, err
	}
	for _, c := range r.Columns {
		out.Columns = append(out.Columns, columnInfo{Name: c.Name, Type: c.Type})
	}
	for i, row := range r.Rows {
		line := make([]any, len(row))
		for k := range row {
			line[k] = s.value(row[k])
		}
		out.Rows = append(out.Rows, line)
		if len(r.Citations) > 0 {
			out.Citations = append(out.Citations, citation(r, i))
		}
	}
	out.page = s.page(r)
	return out, nil
}
