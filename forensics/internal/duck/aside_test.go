package duck

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"
)

func TestAnAsideKeepsWhatNobodyElseSees(t *testing.T) {
	d, _ := locked(t)
	ctx := context.Background()
	a, err := d.Aside(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if err := a.Keep(ctx, "few", "SELECT call_no, host FROM calls WHERE call_no < ? ORDER BY 1", 10); err != nil {
		t.Fatal(err)
	}
	if n, err := first(a, "SELECT count(*) FROM few JOIN calls USING (call_no)"); err != nil || n != int64(10) {
		t.Errorf("%v, %v; want 10 rows", n, err)
	}
	for _, sql := range []string{"FROM few", "FROM temp.few", "FROM temp.main.few", "FROM memory.main.few"} {
		if n, err := first(d, sql); err == nil {
			t.Errorf("%s: %v on another connection", sql, n)
		}
	}
	if n, err := first(d, "SELECT count(*) FROM duckdb_tables()"); err != nil || n != int64(0) {
		t.Errorf("%v tables, %v; want none", n, err)
	}
	a.End()
	if _, err := first(a, "SELECT 1"); err == nil {
		t.Error("an aside that was ended answers")
	}
	if b, err := d.Aside(ctx); err != nil {
		t.Error(err)
	} else {
		if _, err := first(b, "FROM few"); err == nil {
			t.Error("the next aside sees what the one before kept")
		}
		b.End()
	}
}

func TestWhatIsNotKept(t *testing.T) {
	d, _ := locked(t)
	ctx := context.Background()
	a, err := d.Aside(ctx)
	if err != nil {
		t.Fatal(err)
	}
	defer a.End()
	for _, x := range []struct {
		why, name, sql string
		d              *DB
	}{
		{"a connection that others use", "few", "SELECT 1", d},
		{"a name that is not one", "a b", "SELECT 1", a},
		{"no name", "", "SELECT 1", a},
		{"two statements", "few", "SELECT 1; SELECT 2", a},
		{"no query", "few", "nothing", a},
		{"a file outside", "few", "FROM read_csv('/etc/passwd')", a},
	} {
		if err := x.d.Keep(ctx, x.name, x.sql); err == nil {
			t.Errorf("%s is kept", x.why)
		}
	}
	if err := a.Keep(ctx, "many", "SELECT range AS n, repeat('x', 1000) || range AS s FROM range(10000000)"); !errors.Is(err, ErrMemory) {
		t.Errorf("%v, want %v", err, ErrMemory)
	}
	if n, err := first(a, "SELECT count(*) FROM calls"); err != nil || n != int64(1000) {
		t.Errorf("after that: %v, %v", n, err)
	}
}

func TestAsidesWaitForOneAnother(t *testing.T) {
	d, _ := locked(t)
	var open []*DB
	for range maxAsides {
		a, err := d.Aside(context.Background())
		if err != nil {
			t.Fatal(err)
		}
		open = append(open, a)
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Millisecond)
	defer cancel()
	if _, err := d.Aside(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("%v, want %v", err, context.DeadlineExceeded)
	}
	if _, err := first(d, "SELECT 1"); err != nil {
		t.Errorf("others do not wait: %v", err)
	}
	for _, a := range open {
		a.End()
	}
	if a, err := d.Aside(context.Background()); err != nil {
		t.Error(err)
	} else {
		a.End()
	}
}

// TestWhoMetTheLimitIsReplaced: a worker in which a question met the memory limit gets no other one, whether the
// question was an ordinary one or one aside. Until it has ended, nobody else pays for what it holds.
func TestWhoMetTheLimitIsReplaced(t *testing.T) {
	d, _ := lockedWith(t, Options{MemoryLimit: 64 << 20, Threads: 1})
	ctx := context.Background()
	const large = "SELECT list(range) AS l FROM range(20_000_000)"
	a, err := d.Aside(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if err := a.Keep(ctx, "large", large); !errors.Is(err, ErrMemory) {
		t.Fatalf("%v, want ErrMemory", err)
	}
	was := a.aside.w
	other, err := d.pool.acquire(ctx, true)
	if err != nil {
		t.Fatal(err)
	}
	if _, w := d.o.Guard.held(); w != was || other == was {
		t.Error("the guard would end the question of another worker")
	}
	d.pool.release(other)
	a.End()
	if slices.Contains(d.pool.list, was) {
		t.Error("the worker gets the next question")
	}
	if n, err := first(d, "SELECT count(*) FROM calls"); err != nil || n != int64(1000) {
		t.Errorf("%v, %v", n, err)
	}
	if _, err := outcome(d, large); !errors.Is(err, ErrMemory) {
		t.Fatalf("%v, want ErrMemory", err)
	}
	for _, w := range d.pool.list {
		if w.spent {
			t.Error("a worker that met the limit stays")
		}
	}
}
