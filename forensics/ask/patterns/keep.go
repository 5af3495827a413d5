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
	"github.com/pcapsule/pcapsule/forensics/statements"
)

// sharedColumns are the columns of calls that any kind reads, in addition to the numbers of the ends.
var sharedColumns = `call_no, call_id, ts_ns, elapsed_us, protocol, method, path, endpoint, waited_us, query_string, host, status_code, failed, outcome, error, request_id, trace_id, idempotency_key,
	conn_id, src_ip, dst_ip, dst_port, src_pod, http1_keep_alive, request_content_type, response_content_type, request_body_size, response_body_size,
	request_body_sha256, response_body_sha256, redis_key, redis_error, ap, bp, an, bn, far, ` + statements.Columns("query", "params", "error_code") + ", " + statements.Kinds

// Temporary tables that several kinds share.
const (
	sharedTable = "pattern_calls"  // calls of the window, with sharedColumns
	chainTable  = "pattern_chain"  // calls that may be causes or effects of others
	linkTable   = "pattern_links"  // which of these caused which
	familyTable = "pattern_family" // calls caused by requests that caused several
)

// loadShared loads the calls that all kinds read, once. Without enough memory each kind reads its own
// calls, as it does if it is the only one.
func (l *finder) loadShared(ctx context.Context) error {
	cut := *l.w
	cut.And(terms.IsRequest)
	begin := cut.Ends(l.c, "service")
	for _, t := range []struct{ name, sql string }{
		{sharedTable, "SELECT " + terms.Key(l.c, "") + sharedColumns + ", " + headerBits + " AS bits FROM x"}, // the largest first: if it does not fit, no table is loaded
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
	kept.Kept, kept.Where, kept.Args = sharedTable, "true", nil
	l.k = &kept
	return nil
}

// Response headers about caches, as bits.
const (
	withCacheControl = 1 << iota
	withETag
	withAge
	withHit
)

// headerBits is SQL for the bits of a response's headers, for the calls that caching reads.
var headerBits = fmt.Sprintf(`CASE WHEN %s THEN coalesce(list_bit_or(list_transform(headers, h -> CASE WHEN h.kind <> 'response' THEN 0 ELSE
	CASE lower(h.name) WHEN 'cache-control' THEN %d WHEN 'etag' THEN %d WHEN 'age' THEN %d ELSE CASE WHEN lower(h.name) IN ('x-cache', 'x-cache-status', 'cf-cache-status') AND h.value ILIKE '%%hit%%' THEN %d ELSE 0 END END END)), 0) ELSE 0 END`,
	mayCache, withCacheControl, withETag, withAge, withHit)

// mayCache is the SQL condition for the calls that caching reads.
var mayCache = `(protocol IN ` + terms.Web + ` AND method IN ('GET', 'HEAD') AND status_code < 400)`

// ofService is terms.Either with endpoint ids that are looked up first, if the name allows that.
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
		cond, args = cond+" OR "+terms.HostIs, []any{name}
	}
	return cond, args, nil
}

// requested reports whether any of the kinds is requested.
func (l *finder) requested(names ...string) bool {
	return len(l.kinds) == 0 || slices.ContainsFunc(names, func(n string) bool { return slices.Contains(l.kinds, n) })
}
