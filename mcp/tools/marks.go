package tools

import (
	"context"
	"fmt"

	"github.com/pcapsule/pcapsule/forensics/ask"
)

// MaxMarks is the most events of one answer.
const MaxMarks = 500

// Marks are events of Kubernetes and of processes in a time range.
type Marks struct {
	Marks    []Mark       `json:"marks" jsonschema:"by time; of too many, those that say most about failures"`
	More     bool         `json:"truncated" jsonschema:"there are more events"`
	Coverage ask.Coverage `json:"coverage"`
}

// Mark is one event.
type Mark struct {
	At    float64 `json:"at_ms" jsonschema:"milliseconds since 1970 UTC"`
	Kind  string  `json:"kind" jsonschema:"kubernetes, process or kernel"`
	Event string  `json:"event" jsonschema:"reason or kind of event, such as BackOff or oom_kill"`
	Of    string  `json:"of,omitempty" jsonschema:"the object or process"`
	What  string  `json:"what,omitempty"`
	Times int64   `json:"times"`
	Bad   bool    `json:"failed" jsonschema:"a warning, or an abnormal end"`
}

// marksSQL reads events, those that say most about failures first.
const marksSQL = `SELECT * EXCLUDE (weight) FROM (SELECT ts_ns / 1e6 AS at_ms, 'kubernetes' AS kind, coalesce(reason, '') AS event, concat_ws(' ', kind, concat_ws('/', namespace, name)) AS of, coalesce(left(message, 300), '') AS what,
		coalesce(count, 1) AS times, coalesce(type, '') = 'Warning' AS failed, CASE WHEN type = 'Warning' THEN 2 ELSE 1 END AS weight FROM k8s_events_raw WHERE ts_ns BETWEEN $1 AND $2
	UNION ALL SELECT ts_ns / 1e6, CASE WHEN event = 'oom_kill' THEN 'kernel' ELSE 'process' END, event, concat_ws(' ', process, 'pid ' || pid), concat_ws(', ', 'exit code ' || exit_code, 'signal ' || signal), 1,
		event = 'oom_kill' OR coalesce(exit_code, 0) > 0 OR coalesce(signal, 0) NOT IN (0, 13, 15, 17), CASE WHEN event = 'oom_kill' THEN 3 WHEN coalesce(exit_code, 0) > 0 OR coalesce(signal, 0) NOT IN (0, 13, 15, 17) THEN 2 ELSE 0 END
		FROM os_events_raw WHERE event IN ('exec', 'exit', 'oom_kill') AND ts_ns BETWEEN $1 AND $2)
	ORDER BY weight DESC, at_ms, event, of, what LIMIT %d`

// Marks lists the events of a time range.
func (a *Invocation) Marks(ctx context.Context, f ChartFilter, limit int) (Marks, error) {
	w, err := f.window(ctx, a, limit)
	if err != nil {
		return Marks{}, err
	}
	out := Marks{}
	sql := fmt.Sprintf("SELECT * FROM ("+marksSQL+") ORDER BY at_ms, kind, event, of, what", limit+1)
	if out.Marks, _, err = ask.Rows[Mark](ctx, a.Case, limit+1, sql, w.From, w.To); err != nil {
		return out, err
	}
	if out.More = len(out.Marks) > limit; out.More {
		out.Marks = out.Marks[:limit]
	}
	cov, err := a.Case.Coverage(w.From, w.To)
	out.Coverage = ask.CoverageOf(cov)
	return out, err
}
