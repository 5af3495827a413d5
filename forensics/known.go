package forensics

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"sync"

	"github.com/pcapsule/pcapsule/forensics/internal/duck"
	"github.com/pcapsule/pcapsule/forensics/redact"
	"github.com/pcapsule/pcapsule/forensics/statements"
)

// Limits of the search for secrets in a case. They count rows and bytes, not time, so that masking
// does not depend on the machine.
const (
	knownRows  = 200_000  // rows of each source
	knownBytes = 32 << 20 // bytes of text from each source
)

// knownOnce caches the secrets of a case.
type knownOnce struct {
	mu    sync.Mutex
	done  bool
	known *redact.Known
}

// knownSource is a source of secrets: a query that returns a name and a text.
type knownSource struct {
	table, needs string // a column that the source needs
	as           string // how package redact reads the text; a list is JSON
	sql          string // with howRead for the way to read a summary
}

const howRead = "{summaries}"

var knownSources = append(databaseSources(), []knownSource{
	{"calls", "headers", redact.AsHeader, "SELECT h.name, h.value FROM (SELECT unnest(headers) AS h FROM calls_raw) WHERE length(h.value) >= 8"},
	{"calls", "query_string", redact.AsContent, "SELECT 'application/x-www-form-urlencoded', query_string FROM calls_raw WHERE contains(query_string, '=')"},
	{"calls", "http1_target", redact.AsContent, "SELECT 'application/x-www-form-urlencoded', http1_target FROM calls_raw WHERE contains(http1_target, '=')"},
	{"bodies", "text", redact.AsContent, "SELECT coalesce(content_type, ''), text FROM bodies_raw WHERE length(text) >= 8"},
	{"calls", "summary", redact.AsContent, "SELECT " + howRead + ", summary FROM calls_raw WHERE length(summary) >= 8"},
	{"calls", "path", redact.AsContent, "SELECT 'plain', path FROM calls_raw WHERE length(path) >= 8"},
	{"calls", "redis_reply", redact.AsReply, "SELECT coalesce(redis_command, ''), redis_reply FROM calls_raw WHERE length(redis_reply) >= 8"},
	{"calls", "grpc_request_text", redact.AsContent, "SELECT '', grpc_request_text FROM calls_raw WHERE grpc_request_text IS NOT NULL"},
	{"calls", "grpc_response_text", redact.AsContent, "SELECT '', grpc_response_text FROM calls_raw WHERE grpc_response_text IS NOT NULL"},
	{"calls", "memcached_keys", redact.AsPair, "SELECT k.memcached_keys[1], b.text FROM calls_raw k JOIN bodies_raw b ON b.sha256 IN (k.request_body_sha256, k.response_body_sha256) WHERE len(k.memcached_keys) = 1 AND b.part = 0 AND length(b.text) >= 8"},
	{"calls", "redis_command", redact.AsContent, "SELECT 'command', redis_command FROM calls_raw WHERE redis_command IS NOT NULL"},
}...)

// databaseSources are the sources in calls of databases.
func databaseSources() (list []knownSource) {
	for _, d := range statements.Databases {
		query, params, names, preview := d.Column("query"), d.Column("params"), d.Column("columns"), d.Column("preview")
		list = append(list,
			knownSource{"calls", names, redact.AsRows, "SELECT coalesce(array_to_string(" + names + ", chr(9)), ''), " + preview + " FROM calls_raw WHERE " + preview + " IS NOT NULL"},
			knownSource{"calls", params, redact.AsParams, "SELECT coalesce(" + query + ", ''), CAST(to_json(" + params + ") AS VARCHAR) FROM calls_raw WHERE len(" + params + ") > 0"},
			knownSource{"calls", query, redact.AsContent, "SELECT 'sql', " + query + " FROM calls_raw WHERE " + query + " IS NOT NULL"})
	}
	return list
}

// Known returns the values in the case that its policy masks, to mask them where they appear without
// a name. It is nil if there are none. It reads the case once.
func (c *Case) Known(ctx context.Context) (*redact.Known, error) {
	k := c.known
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.done {
		return k.known, nil
	}
	all := c.Policy().Collect()
	for _, s := range knownSources {
		if err := c.Unmasked().collect(ctx, s, all); err != nil {
			return nil, fmt.Errorf("searching secrets to mask: %w", err)
		}
	}
	k.known, k.done = all.Known(), true
	c.db.Mask(c.Policy().Source(), k.known.Values())
	return k.known, nil
}

// Masker returns a Masker that masks texts like the tables of a masked case.
func (c *Case) Masker(ctx context.Context) (*redact.Masker, error) {
	known, err := c.Known(ctx)
	return redact.NewMasker(c.Policy(), known), err
}

// columnWords are the words of SQL that may be names of columns.
func columnWords(sql string) []string {
	return strings.FieldsFunc(sql, func(r rune) bool { return r != '_' && (r < '0' || r > '9') && (r < 'a' || r > 'z') })
}

// collect collects from the texts of one source.
func (c *Case) collect(ctx context.Context, s knownSource, all *redact.Collector) error {
	v := c.views[s.table]
	if v == nil || !hasColumn(v.stored(), s.needs) {
		return nil
	}
	sql := strings.Replace(s.sql, howRead, redact.Summaries(func(column string) bool { return hasColumn(v.stored(), column) }), 1)
	sql, args, _ := c.narrow(fmt.Sprintf("%s LIMIT %d", sql, knownRows), nil, duck.Facts{Tables: []string{s.table + "_raw"}, Columns: columnWords(sql), Protocols: c.protocolsWith(s.needs)})
	rows, err := c.db.Query(ctx, sql, args...)
	if err != nil {
		return err
	}
	defer rows.Close()
	for left := knownBytes; left > 0 && rows.Next(); {
		name, text := rows.Text(0), rows.Text(1)
		left -= len(text)
		switch s.as {
		case redact.AsHeader:
			all.Header(name, strings.TrimSpace(text))
		case redact.AsRows:
			all.Rows(name, text)
		case redact.AsReply:
			all.Reply(name, text)
		case redact.AsPair:
			all.Pair(name, text)
		case redact.AsParams:
			var list []string
			if err := json.Unmarshal([]byte(text), &list); err != nil {
				return fmt.Errorf("parameters of a statement: %w", err)
			}
			all.Params(name, list)
		default:
			all.Text(name, text)
		}
	}
	return rows.Err()
}
