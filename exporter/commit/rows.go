package commit

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"path"
	"runtime"
	"slices"
	"strings"
	"sync"

	"github.com/pcapsule/pcapsule/exporter/bundle"
	"github.com/pcapsule/pcapsule/exporter/internal/parts"
	"github.com/pcapsule/pcapsule/exporter/table"
)

// rowGroup is a fixed group of the columns of a row.
type rowGroup struct {
	name    string
	columns []string // patterns of path.Match
}

// rowGroups are the groups of every row, in order. A column is in the first group with a pattern that
// matches it. Column headers is in two groups, by the side that sent the header.
var rowGroups = []rowGroup{
	{"citation", []string{"call_no", "first_call_no", "call_id", "*_packet", "packet_no", "cites", "file_id", "offset", "conn_id", "flow_id", "stream_id", "ordinal"}},
	{"when", []string{"ts", "clock_id", "*_ns", "*_us"}},
	{"process", []string{"process", "pid", "parent_pid", "exe", "command", "user_name", "cgroup", "container", "container_id", "image"}},
	{"who", []string{"src_*", "dst_*", "transport", "endpoint_id", "ip", "name", "who", "kind", "namespace", "pod", "pod_uid", "uid", "service", "services", "workload",
		"workload_kind", "node", "labels", "owner*", "dns_name", "hostname", "local_*", "remote_*"}},
	{"body", []string{"*_body_*", "sha256", "text", "bytes", "*_content_type", "content_type", "encoding"}},
	{"request_headers", []string{"headers", "user_agent", "request_id", "idempotency_key", "trace_id", "span_id", "auth_kind", "request_headers_size"}},
	{"response_headers", []string{"headers", "response_headers_size"}},
	{"request", []string{"method", "host", "proxied_to", "path", "endpoint", "query_string", "summary", "*request*", "http1_target", "*_authority", "dns_question*", "redis_command", "redis_key*",
		"postgresql_query", "postgresql_params", "mysql_query", "mysql_params", "mysql_param_types", "mysql_attributes", "cassandra_query", "cassandra_params", "mongodb_query", "memcached_key*", "mongodb_params", "grpc_service", "grpc_method"}},
	{"response", []string{"status_*", "outcome", "failed", "error", "complete", "*response*", "dns_answer*", "redis_reply", "redis_error*", "postgresql_columns", "postgresql_preview",
		"postgresql_error*", "postgresql_rows", "mysql_columns", "mysql_preview", "mysql_error*", "mysql_rows", "memcached_status", "memcached_error", "cassandra_columns", "cassandra_preview", "cassandra_error*", "cassandra_rows", "mongodb_columns", "mongodb_preview", "mongodb_error*", "mongodb_rows", "grpc_status*", "grpc_message"}},
	{"other", []string{"*"}},
}

// groupOf is the group of a column.
func groupOf(column string) int {
	return slices.IndexFunc(rowGroups, func(g rowGroup) bool {
		return slices.ContainsFunc(g.columns, func(pattern string) bool { ok, _ := path.Match(pattern, column); return ok })
	})
}

// rows are the rows of a table. The content of a group is a JSON object of its columns that are not
// null, so that a group that is revealed can be read by people (docs/format/derived.md).
type rows struct {
	r      *parts.Rows
	values []any
	group  []int // of each column
	now    [][]byte
}

func openRows(files []string) (*rows, error) {
	r, err := parts.ReadRows(files, func(string, table.Kind) bool { return true })
	if err != nil {
		return nil, err
	}
	x := &rows{r: r, now: make([][]byte, len(rowGroups))}
	for _, c := range r.Columns {
		x.group = append(x.group, groupOf(c))
	}
	return x, nil
}

func (x *rows) close() { x.r.Close() }

func (x *rows) next() (err error) {
	if x.values, err = x.r.Next(x.values); err != nil {
		return err
	}
	for g := range x.now {
		x.now[g] = append(x.now[g][:0], '{')
	}
	for i, v := range x.values {
		if v == nil {
			continue
		}
		name, g := x.r.Columns[i], x.group[i]
		list, ok := v.([]table.Header)
		if !ok {
			x.column(g, name, v)
			continue
		}
		fromClient := func(h table.Header) bool { return strings.HasPrefix(h.Kind, "request") }
		x.column(g, name, slices.DeleteFunc(slices.Clone(list), func(h table.Header) bool { return !fromClient(h) }))
		x.column(g+1, name, slices.DeleteFunc(slices.Clone(list), fromClient))
	}
	for g := range x.now {
		x.now[g] = append(x.now[g], '}')
	}
	return nil
}

func (x *rows) column(g int, name string, v any) {
	if len(x.now[g]) > 1 {
		x.now[g] = append(x.now[g], ',')
	}
	x.now[g] = append(appendText(x.now[g], name), ':')
	x.now[g] = appendJSON(x.now[g], v)
}

func (x *rows) groups(do func(group int, at uint32, content []byte)) {
	for g := range x.now {
		do(g, uint32(g), x.now[g])
	}
}

func (x *rows) same(o source) bool {
	for g := range x.now {
		if string(x.now[g]) != string(o.(*rows).now[g]) {
			return false
		}
	}
	return true
}

// SideTables are the tables whose rows come from side inputs.
var SideTables = []string{"k8s_events", "os_events", "workloads"}

// Tables commits to the rows that cannot be made from the packets alone: those of SideTables and,
// if keys decrypted something, those of all tables except packets.
func Tables(ctx context.Context, b *bundle.Bundle, seed Key) ([]bundle.TableCommitment, error) {
	tables := bundle.TableParts(b.Payload(), b.Path)
	maps.DeleteFunc(tables, func(name string, _ []string) bool {
		return name == "packets" || !b.Manifest.Decrypted() && !slices.Contains(SideTables, name)
	})
	names := slices.Sorted(maps.Keys(tables))
	list := make([]bundle.TableCommitment, len(names))
	errs := make([]error, len(names))
	next := make(chan int)
	var wg sync.WaitGroup
	for range max(1, runtime.GOMAXPROCS(0)) {
		wg.Go(func() {
			for i := range next {
				if errs[i] = ctx.Err(); errs[i] == nil {
					list[i], errs[i] = rowsOf(tables[names[i]], names[i], seed)
				}
			}
		})
	}
	for i := range names {
		next <- i
	}
	close(next)
	wg.Wait()
	return list, errors.Join(errs...)
}

// rowsOf commits to the rows of one table.
func rowsOf(files []string, name string, seed Key) (c bundle.TableCommitment, err error) {
	x, err := openRows(files)
	if err == nil {
		defer x.close()
		c.Table = name
		c.Rows, c.Root, err = commitTo(x, seed.Table(name))
	}
	if err != nil {
		return c, fmt.Errorf("reading table %s: %w", name, err)
	}
	return c, nil
}
