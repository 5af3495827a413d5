package ask

import (
	"context"
	"fmt"
	"sync"

	"github.com/pcapsule/pcapsule/forensics"
)

// maxRemembered is the highest number of rows that are remembered.
const maxRemembered = 50_000

// memory has the answers of statements about one case.
type memory struct {
	c  *forensics.Case
	mu sync.Mutex

	answers map[string]*forensics.Result
	rows    int
}

type memoryKey struct{}

// Remember returns a context in which each statement that Rows runs on a case is run once. It is for several questions
// about the same case, which often begin with the same statements. A case aside, whose tables change, is another case.
func Remember(ctx context.Context, c *forensics.Case) context.Context {
	return context.WithValue(ctx, memoryKey{}, &memory{c: c, answers: map[string]*forensics.Result{}})
}

// query runs a statement, unless its answer is remembered. Callers must not change the answer.
func query(ctx context.Context, c *forensics.Case, q forensics.Query) (*forensics.Result, error) {
	m, _ := ctx.Value(memoryKey{}).(*memory)
	if m == nil || m.c != c {
		return c.Query(ctx, q)
	}
	key := fmt.Sprintf("%d %q %#v", q.Limit, q.SQL, q.Args)
	m.mu.Lock()
	r := m.answers[key]
	m.mu.Unlock()
	if r != nil {
		return r, nil
	}
	r, err := c.Query(ctx, q)
	if err != nil {
		return nil, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.answers[key] == nil && m.rows+len(r.Rows) < maxRemembered {
		m.answers[key] = r
		m.rows += len(r.Rows) + 1
	}
	return r, nil
}
