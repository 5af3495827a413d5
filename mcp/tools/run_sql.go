package tools

import (
	"context"

	"github.com/pcapsule/pcapsule/forensics"
)

var toolRunSQL = Tool{Name: "run_sql", set: "calls", core: true, title: "Run SQL",
	doc: "Run one read-only DuckDB SQL query over the bundle's tables (see describe_schema). If possible, select call_no, cites or packet_no, so that rows cite packets."}

type runSQLIn struct {
	SQL string `json:"sql" jsonschema:"one SELECT, such as: select dst_service, count(*) n, count(*) filter (failed) bad from calls group by 1 order by n desc"`
	limits
}

// RunSQLOut is the answer of run_sql.
type RunSQLOut struct {
	Answer    string       `json:"answer" jsonschema:"how many rows there are"`
	Columns   []columnInfo `json:"columns"`
	Rows      [][]any      `json:"rows"`
	Citations []string     `json:"citations,omitempty" jsonschema:"file and frames behind each row, if the query selects cites or packet_no"`
	page
}

func (s *Invocation) runSQL(ctx context.Context, in runSQLIn) (RunSQLOut, error) {
	out := RunSQLOut{Columns: []columnInfo{}, Rows: [][]any{}}
	q := forensics.Query{SQL: in.SQL, Alone: true}
	list, r, err := rows(ctx, s, q, in.limits, func(r *forensics.Result, i int) sqlRow {
		out := sqlRow{Row: s.line(r, i)}
		if len(r.Citations) > 0 {
			out.Cite = citation(r, i)
		}
		return out
	})
	if err != nil {
		return out, err
	}
	for _, c := range r.Columns {
		out.Columns = append(out.Columns, columnInfo{Name: c.Name, Type: c.Type})
	}
	for _, l := range list {
		out.Rows = append(out.Rows, l.Row)
		if len(r.Citations) > 0 {
			out.Citations = append(out.Citations, l.Cite)
		}
	}
	out.page = s.page(ctx, r)
	out.Answer, err = s.sentence(ctx, counting(q), in.limits, &out.page, len(list), counted{"The result has %d {row|rows}", "{row|rows} of the result"})
	return out, err
}

// sqlRow is a row with its citation.
type sqlRow struct {
	Row  []any
	Cite string
}
