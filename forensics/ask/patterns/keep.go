package patterns

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/pcapsule/pcapsule/forensics"
	"github.com/pcapsule/pcapsule/forensics/ask"
	"github.com/pcapsule/pcapsule/forensics/ask/terms"
)

// sceneColumns are the columns of calls that some kind looks at, beside the numbers of ends.
const sceneColumns = `call_no, call_id, ts_ns, elapsed_us, protocol, method, path, endpoint, waited_us, query_string, host, status_code, failed, outcome, error, request_id, trace_id,
	conn_id, src_ip, dst_ip, dst_port, src_pod, http1_keep_alive, request_content_type, response_content_type, request_body_size, response_body_size,
	request_body_sha256, response_body_sha256, postgresql_kind, postgresql_query, postgresql_params, postgresql_error_code, redis_key, redis_error, ap, bp, an, bn, far`

// Tables that are kept while kinds are looked for.
const (
	sceneTable  = "pattern_calls"  // calls of the window, with sceneColumns
	chainTable  = "pattern_chain"  // calls that others may have led to, or that led to others
	linkTable   = "pattern_links"  // which of these led to which
	familyTable = "pattern_family" // those that requests with several of them led to
	pathTable   = "pattern_paths"  // templates of paths
)

// keep reads the calls that all kinds look at, once. Where there is no room for them each
// kind reads what it needs, as it does where it is asked for alone.
func (l *looker) keep(ctx context.Context) error {
	cut := *l.w
	cut.And(terms.IsRequest)
	begin := cut.Ends(l.c, "service")
	for _, t := range []struct{ name, sql string }{
		{sceneTable, "SELECT " + terms.Key(l.c, "") + sceneColumns + ", " + headerBits + " AS bits FROM x"}, // the largest first: if it has no room, none is kept
		{"sname", "SELECT * FROM sname"}, {"dname", "SELECT * FROM dname"}, {"front", "SELECT * FROM front"},
	} {
		err := l.c.Keep(ctx, t.name, forensics.Query{SQL: begin + t.sql, Args: cut.Args, Named: true})
		if errors.Is(err, forensics.ErrMemory) {
			return nil
		}
		if err != nil {
			return err
		}
	}
	kept := *l.w
	kept.Kept, kept.Where, kept.Args = sceneTable, "true", nil
	l.k = &kept
	return nil
}

// Headers of answers that tell of caches, as bits.
const (
	withCacheControl = 1 << iota
	withETag
	withAge
	withHit
)

// headerBits is SQL for the bits of what the headers of an answer tell, of calls that caching
// looks at.
var headerBits = fmt.Sprintf(`CASE WHEN %s THEN coalesce(list_bit_or(list_transform(headers, h -> CASE WHEN h.kind <> 'response' THEN 0 ELSE
	CASE lower(h.name) WHEN 'cache-control' THEN %d WHEN 'etag' THEN %d WHEN 'age' THEN %d ELSE CASE WHEN lower(h.name) IN ('x-cache', 'x-cache-status', 'cf-cache-status') AND h.value ILIKE '%%hit%%' THEN %d ELSE 0 END END END)), 0) ELSE 0 END`,
	mayCache, withCacheControl, withETag, withAge, withHit)

// httpCalls are the protocols of HTTP.
const httpCalls = `('http1', 'http2', 'http3')`

// mayCache is the SQL for the calls that caching looks at.
const mayCache = `(protocol IN ('http1', 'http2', 'http3') AND method IN ('GET', 'HEAD') AND status_code < 400)`

// ofService is the condition on rows of calls that one of the two ends is name, as either
// has it, by the numbers of the endpoints where names can be looked up.
func ofService(ctx context.Context, c *forensics.Case, name string) (string, []any, error) {
	if terms.ByRow(name) {
		cond, args := terms.Either(c, name)
		return cond, args, nil
	}
	src, err := ask.EndOf(ctx, c, "src_", name)
	if err != nil {
		return "", nil, err
	}
	dst, err := ask.EndOf(ctx, c, "dst_", name)
	if err != nil {
		return "", nil, err
	}
	cond, args := "("+src.Conns+") OR ("+dst.Conns+")", []any(nil)
	if !strings.Contains(name, "/") {
		cond, args = cond+" OR coalesce(host = ?, false)", []any{name}
	}
	return cond, args, nil
}

// wants says that some of the kinds are looked for.
func (l *looker) wants(names ...string) bool {
	return len(l.kinds) == 0 || slices.ContainsFunc(names, func(n string) bool { return slices.Contains(l.kinds, n) })
}
