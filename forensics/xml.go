package forensics

import (
	"context"
	"runtime"
	"strings"
	"sync"

	"github.com/pcapsule/pcapsule/kfl"
)

const (
	maxXMLWith   = 3       // names that a body must contain before it is parsed
	maxXMLCached = 1 << 20 // cached hashes of earlier conditions
)

// bodies evaluates KFL conditions on XML for a case.
type bodies struct {
	ctx context.Context
	c   *Case
}

var _ kfl.Bodies = bodies{}

// xmlCache caches the results of conditions on XML, because the pages of one query repeat them.
type xmlCache struct {
	sync.Mutex
	known map[string][][]byte
	size  int
}

// XML implements kfl.Bodies. Bodies that look like XML begin with a bracket.
func (b bodies) XML(key string, with []string, test func(text string) bool) ([][]byte, error) {
	if b.c.views["bodies"] == nil {
		return nil, nil
	}
	cache := b.c.xml
	cache.Lock()
	out, ok := cache.known[key]
	cache.Unlock()
	if ok {
		return out, nil
	}
	out, err := b.pass(with, test)
	if err != nil {
		return nil, err
	}
	cache.Lock()
	defer cache.Unlock()
	if cache.known == nil || cache.size+len(out)+1 > maxXMLCached {
		cache.known, cache.size = map[string][][]byte{}, 0
	}
	cache.known[key] = out
	cache.size += len(out) + 1
	return out, nil
}

// pass returns the hashes of bodies that pass the test.
func (b bodies) pass(with []string, test func(text string) bool) ([][]byte, error) {
	ctx, cancel := context.WithCancel(b.ctx)
	defer cancel()
	sql := `SELECT sha256, text FROM bodies WHERE part = 0 AND size = strlen(text) AND sha256 IS NOT NULL AND regexp_matches(text, '^\x{FEFF}?[ \t\r\n]*<')`
	var args []any
	for _, s := range with[:min(len(with), maxXMLWith)] {
		sql += " AND contains(text, ?)"
		args = append(args, s)
	}
	rows, err := b.c.db.Query(ctx, sql, args...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	type body struct{ hash, text string }
	work := make(chan body)
	var mu sync.Mutex
	var out [][]byte
	var wait sync.WaitGroup
	for range runtime.GOMAXPROCS(0) {
		wait.Go(func() {
			for x := range work {
				if test(x.text) {
					mu.Lock()
					out = append(out, []byte(x.hash))
					mu.Unlock()
				}
			}
		})
	}
	for rows.Next() {
		hash, err := rows.Value(0)
		if raw, ok := hash.([]byte); ok && err == nil {
			work <- body{string(raw), strings.Clone(rows.Text(1))}
		}
	}
	close(work)
	wait.Wait()
	return out, rows.Err()
}
