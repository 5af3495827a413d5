package duck

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// hostileTime is the deadline of a hostile question.
const hostileTime = 2 * time.Second

// hostile are questions that pass the gate, or would if it had a hole, with the errors that
// they may end with. No error means that the question may also be answered.
var hostile = []struct {
	name, sql string
	errs      []error
}{
	{"a crash by nested JSON", "select json_structure(repeat('[', 200000) || repeat(']', 200000))", []error{ErrCrashed}},
	{"a crash by nested objects", `select json_structure(repeat('{"a":', 200000) || '1' || repeat('}', 200000))`, []error{ErrCrashed}},
	{"a crash for each row", "select json_structure(repeat('[', 200000) || repeat(']', 200000)) from calls", []error{ErrCrashed}},
	{"nested JSON as a table", "from json_tree(repeat('[', 200000) || repeat(']', 200000))", []error{ErrMemory, ErrDeadline, ErrCrashed}},
	{"a distance that nothing interrupts", "select levenshtein(repeat('a', 300000), repeat('b', 300000))", []error{ErrDeadline}},
	{"a distance with transpositions", "select damerau_levenshtein(repeat('a', 100000), repeat('b', 100000))", []error{ErrDeadline, ErrMemory}},
	{"a recursion that doubles", "with recursive n(i, s) as (select 1, 'x' union all select i+1, s || s from n) select count(*) from n", []error{ErrDeadline, ErrMemory}},
	{"a recursion without end", "with recursive n(i) as (select 1 union all select i+1 from n) select count(*) from n", []error{ErrDeadline}},
	{"a product without end", "select count(*) from range(1000000000) a, range(1000000000) b where sin(a.range + b.range) > 2", []error{ErrMemory, ErrDeadline}},
	{"a quantile of all", "select median(range) from range(3000000000)", []error{ErrMemory, ErrDeadline}},
	{"a list of all", "select list(range) from range(3000000000)", []error{ErrMemory, ErrDeadline}},
	{"many lists at once", "select range % 7, list(range), quantile_cont(range, 0.5), string_agg(range) from range(3000000000) group by 1", []error{ErrMemory, ErrDeadline}},
	{"a text of all", "select string_agg(repeat('x', 1000000)) from range(100000)", []error{ErrMemory, ErrDeadline}},
	{"a row that is too large", "select repeat('x', 100000000)", []error{ErrMemory, ErrDeadline}},
	{"a row of many values", "select range(20000000)", []error{ErrMemory, ErrDeadline}},
	{"many large rows", "select repeat('x', 30000000) from range(1000)", []error{nil, ErrMemory, ErrDeadline}},
	{"many rows", "select range, range || 'x' from range(3000000000)", []error{ErrDeadline}},
	{"a sort of all", "select range from range(3000000000) order by md5(range::varchar)", []error{ErrMemory, ErrDeadline}},
	{"an expression without end", "select list_transform(range(3000000000), lambda x: x + 1)", []error{ErrMemory, ErrDeadline}},
	{"a regular expression", "select regexp_replace(repeat('a', 10000000), '(a?){500}', 'b', 'g')", []error{nil, ErrDeadline, ErrMemory}},
	{"a printed number", "select printf('%2000000000d', 1)", []error{ErrMemory, ErrDeadline}},
	{"a padded text", "select length(lpad('x', 2000000000, 'y'))", []error{nil, ErrMemory, ErrDeadline}},
	{"a reservoir that cannot be allocated", "select reservoir_quantile(range, 0.5, 2000000000) from range(100)", []error{ErrCrashed, ErrMemory}},
	{"a structure of JSON", `select json_transform('[]', repeat('[', 30000) || '"INT"' || repeat(']', 30000))`, []error{ErrCrashed}},
	{"nested JSON that is searched", "select json_contains(repeat('[', 300000) || repeat(']', 300000), '1')", []error{ErrCrashed}},
	{"nested JSON as a variant", "select (repeat('[', 100000) || repeat(']', 100000))::json::variant::varchar", []error{ErrCrashed}},
	{"a union of unions", "with a0 as (select 1 x), " + doubled("select * from a%d union all select * from a%[2]d", 60) + " select count(*) from a60", []error{ErrDeadline, ErrMemory}},
	{"a product of products", "with a0 as (select 1 x), " + doubled("select * from a%d a, a%[2]d b", 40) + " select 1 from a40", []error{ErrDeadline, ErrMemory}},
	{"operators without end", "select 1 " + strings.Repeat("+", 200000) + " 1", []error{ErrDeadline, ErrRefused, errAny}},
	{"a list beyond DuckDB's limit", "select unnest(range(1000000000000))", []error{ErrMemory}},
	{"a file", "from read_text('/etc/passwd')", []error{ErrRefused}},
	{"a file through the case", "from read_text('DIR/../../../../../etc/passwd')", []error{ErrRefused}},
	{"a link in the case", "from read_text('DIR/link')", []error{ErrRefused}},
	{"a pattern", "from glob('/etc/*')", []error{nil, ErrRefused}},
	{"the environment", "select getenv('HOME')", []error{errAny}},
	{"the network", "from read_csv('http://127.0.0.1:PORT/x.csv')", []error{ErrRefused}},
	{"an extension", "install httpfs", []error{ErrRefused}},
	{"a library", "load 'DIR/x.so'", []error{ErrRefused}},
	{"another database", "attach 'DIR/x.db'", []error{ErrRefused}},
	{"a file that is written", "copy calls to 'DIR/x.csv'", []error{ErrRefused}},
	{"a setting", "set memory_limit = '100GB'", []error{ErrRefused}},
	{"a pragma", "pragma enable_external_access", []error{errAny}},
	{"a pragma that is there", "pragma enable_profiling", []error{ErrRefused}},
}

// doubled is n names in WITH, each of which uses the one before it twice.
func doubled(query string, n int) string {
	var list []string
	for i := range n {
		list = append(list, fmt.Sprintf("a%d as not materialized ("+query+")", i+1, i))
	}
	return strings.Join(list, ", ")
}

// errAny stands for an error in DuckDB's own words.
var errAny = errors.New("any error")

// outcome asks as strangers do, but without the gate.
func outcome(d *DB, sql string) (rows int, err error) {
	ctx, cancel := context.WithTimeout(context.Background(), hostileTime)
	defer cancel()
	r, err := d.Alone().Query(ctx, sql)
	if err != nil {
		return 0, err
	}
	defer r.Close()
	for r.Next() {
		if _, err := r.Value(0); err != nil {
			return rows, err
		}
		rows++
	}
	return rows, r.Err()
}

// TestHostileQuestions asks each, and looks at what is left: its error, its time, the memory
// of all processes, temporary files, processes, and whether the next question is answered.
func TestHostileQuestions(t *testing.T) {
	const limit = 256 << 20
	temp := filepath.Join(t.TempDir(), "temp")
	o := Options{MemoryLimit: limit, Threads: 2, TempDir: temp, MaxTemp: 64 << 20, Ceiling: 2 * limit}
	d, dir := lockedWith(t, o)
	if err := os.Symlink("/etc/passwd", filepath.Join(dir, "link")); err != nil {
		t.Skip("needs symbolic links")
	}
	port, called := listenOnce(t)
	for _, h := range hostile {
		t.Run(h.name, func(t *testing.T) {
			sql := strings.NewReplacer("DIR", dir, "PORT", port).Replace(h.sql)
			peak, stop := watch(d)
			begin := time.Now()
			rows, err := outcome(d, sql)
			took := time.Since(begin)
			stop()
			fits := false
			for _, want := range h.errs {
				fits = fits || want == nil && err == nil || err != nil && (want == errAny || errors.Is(err, want))
			}
			if !fits {
				t.Errorf("%d rows, %v; want one of %v", rows, err, h.errs)
			}
			if err != nil && strings.Contains(strings.ToLower(err.Error()), "stack") {
				t.Errorf("the error shows a stack: %v", err)
			}
			if took > hostileTime+2*time.Second {
				t.Errorf("it took %s", took)
			}
			// What a tick of the guard lets through comes on top.
			if most := peak(); most > o.Ceiling+2*mostAbove {
				t.Errorf("the processes held %d MiB", most>>20)
			}
			for _, d := range []*DB{d.Alone(), d} { // alone first: it is not repeated
				if n, err := first(d, "select count(*) from calls"); err != nil || n != int64(1000) {
					t.Errorf("the next question: %v, %v", n, err)
				}
			}
		})
	}
	if called() {
		t.Error("a worker called over the network")
	}
	pids := workers(d)
	if err := d.Close(); err != nil {
		t.Error(err)
	}
	if left, err := os.ReadDir(temp); err != nil || len(left) > 0 {
		t.Errorf("left in the folder of temporary files: %v, %v", left, err)
	}
	for _, pid := range pids {
		if alive(pid) {
			t.Errorf("worker %d is left", pid)
		}
	}
	if n := zombies(); n > 0 {
		t.Errorf("%d zombies", n)
	}
}

// TestAQuestionThatNothingInterrupts holds that its process is killed, and not only left.
func TestAQuestionThatNothingInterrupts(t *testing.T) {
	d, _ := lockedWith(t, Options{MemoryLimit: 256 << 20, Threads: 2})
	pids := workers(d)
	if _, err := outcome(d, "select levenshtein(repeat('a', 300000), repeat('b', 300000))"); !errors.Is(err, ErrDeadline) {
		t.Error(err)
	}
	for _, pid := range pids {
		if alive(pid) {
			t.Errorf("worker %d still computes", pid)
		}
	}
	var all sync.WaitGroup
	for range 4 { // also one whose client has gone
		all.Go(func() {
			ctx, cancel := context.WithCancel(context.Background())
			time.AfterFunc(200*time.Millisecond, cancel)
			begin := time.Now()
			if _, err := d.Alone().Query(ctx, "select levenshtein(repeat('a', 300000), repeat('b', 300000))"); !errors.Is(err, context.Canceled) {
				t.Error(err)
			}
			if took := time.Since(begin); took > 5*time.Second {
				t.Errorf("cancelled after %s", took)
			}
		})
	}
	all.Wait()
}

// TestTheMemoryLimitIsTheKernels holds that a worker gets no more memory than it may have,
// though nobody watches it.
func TestTheMemoryLimitIsTheKernels(t *testing.T) {
	d, _ := lockedWith(t, Options{MemoryLimit: 256 << 20, Threads: 2})
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/limits", workers(d)[0]))
	if err != nil {
		t.Fatal(err)
	}
	if want := fmt.Sprint(d.o.data()); !regexp.MustCompile(`Max data size +` + want + ` +` + want + ` `).Match(text) {
		t.Errorf("want %s bytes of data:\n%s", want, text)
	}
}

// TestWorkersEndWithTheirProgram kills a program that has opened a database.
func TestWorkersEndWithTheirProgram(t *testing.T) {
	cmd := exec.Command(os.Args[0], openAndHang)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var pid int
	if _, err := fmt.Fscan(out, &pid); err != nil || !alive(pid) {
		t.Errorf("worker %d: %v", pid, err)
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Error(err)
	}
	_ = cmd.Wait() // it was killed
	for begin := time.Now(); alive(pid) && time.Since(begin) < 5*time.Second; {
		time.Sleep(10 * time.Millisecond)
	}
	if alive(pid) {
		t.Errorf("worker %d outlives its program", pid)
	}
}

// TestOthersAreAnswered asks hostile questions of one client beside those of others.
func TestOthersAreAnswered(t *testing.T) {
	d, _ := lockedWith(t, Options{MemoryLimit: 256 << 20, Threads: 2})
	ended := make(chan error, 2)
	go func() {
		for range 4 {
			if _, err := outcome(d, "select json_structure(repeat('[', 200000) || repeat(']', 200000))"); !errors.Is(err, ErrCrashed) {
				ended <- fmt.Errorf("the crash: %w", err)
				return
			}
		}
		ended <- nil
	}()
	go func() {
		if _, err := outcome(d, "select levenshtein(repeat('a', 300000), repeat('b', 300000))"); !errors.Is(err, ErrDeadline) {
			ended <- fmt.Errorf("the endless one: %w", err)
			return
		}
		ended <- nil
	}()
	for running, asked := 2, 0; running > 0 || asked < 10; asked++ {
		begin := time.Now()
		if n, err := first(d, "select count(*) from calls"); err != nil || n != int64(1000) {
			t.Fatalf("question %d of others: %v, %v", asked, n, err)
		}
		if took := time.Since(begin); took > time.Second {
			t.Errorf("question %d of others took %s", asked, took)
		}
		select {
		case err := <-ended:
			if running--; err != nil {
				t.Error(err)
			}
		default:
		}
	}
}

// TestACrashAmongOthers crashes the worker that questions of the program share: those that
// had no rows yet are asked again, and only the guilty one fails.
func TestACrashAmongOthers(t *testing.T) {
	d, _ := lockedWith(t, Options{MemoryLimit: 256 << 20, Threads: 2})
	ctx := context.Background()
	streaming, err := d.Query(ctx, "select range, repeat('x', 1000) from range(10000000)")
	if err != nil {
		t.Fatal(err)
	}
	defer streaming.Close()
	aside, err := d.Aside(ctx)
	if err != nil {
		t.Fatal(err)
	}
	defer aside.End()
	slow := make(chan error, 1)
	go func() {
		n, err := first(d, "select count(*) from range(300000000) where hash(range) % 2 = 3")
		if err == nil && n != int64(0) {
			err = fmt.Errorf("%v", n)
		}
		slow <- err
	}()
	time.Sleep(100 * time.Millisecond)
	if _, err := first(d, "select json_structure(repeat('[', 200000) || repeat(']', 200000))"); !errors.Is(err, ErrCrashed) {
		t.Errorf("the guilty one: %v", err)
	}
	if err := <-slow; err != nil {
		t.Errorf("the innocent one: %v", err)
	}
	for streaming.Next() {
	}
	if err := streaming.Err(); !errors.Is(err, ErrCrashed) {
		t.Errorf("the one that had rows: %v", err)
	}
	if _, err := first(aside, "select 1"); !errors.Is(err, ErrCrashed) {
		t.Errorf("the one aside: %v", err)
	}
	if n, err := first(d, "select count(*) from calls"); err != nil || n != int64(1000) {
		t.Errorf("the next: %v, %v", n, err)
	}
}

// TestStrangersLeaveRoom holds that a worker is left for the program's questions however many
// strangers ask.
func TestStrangersLeaveRoom(t *testing.T) {
	d, _ := lockedWith(t, Options{MemoryLimit: 256 << 20, Threads: 2})
	ctx := context.Background()
	for range maxAlone {
		r, err := d.Alone().Query(ctx, "select range from range(1000000000)")
		if err != nil {
			t.Fatal(err)
		}
		defer r.Close()
	}
	late, cancel := context.WithTimeout(ctx, 100*time.Millisecond)
	defer cancel()
	if _, err := d.Alone().Query(late, "select 1"); !errors.Is(err, ErrDeadline) {
		t.Errorf("one more stranger: %v", err)
	}
	for range 20 {
		if n, err := first(d, "select count(*) from calls"); err != nil || n != int64(1000) {
			t.Errorf("%v, %v", n, err)
		}
	}
	if n := len(workers(d)); n > maxWorkers {
		t.Errorf("%d workers", n)
	}
}

// TestOneGuardForSeveralDatabases runs a question in each of two databases. A worker at work stays below
// the ceiling, two do not.
func TestOneGuardForSeveralDatabases(t *testing.T) {
	const sql = "select count(*) from range(50000000) where sin(range) > 2"
	open := func(ceiling int64, guard *Guard) *DB {
		d, _ := lockedWith(t, Options{MemoryLimit: 256 << 20, Threads: 1, Ceiling: ceiling, Guard: guard})
		return d.Alone()
	}
	ask := func(dbs ...*DB) (refused int32) {
		var all sync.WaitGroup
		var n atomic.Int32
		for _, d := range dbs {
			all.Go(func() {
				if _, err := first(d, sql); errors.Is(err, ErrMemory) {
					n.Add(1)
				} else if err != nil {
					t.Error(err)
				}
			})
		}
		all.Wait()
		return n.Load()
	}
	one, done, peak := open(4<<30, nil), make(chan struct{}), int64(0)
	go func() { ask(one); close(done) }()
	for running := true; running; time.Sleep(5 * time.Millisecond) {
		sum, _ := one.o.Guard.held()
		peak = max(peak, sum)
		select {
		case <-done:
			running = false
		default:
		}
	}
	ceiling := peak * 3 / 2
	if n := ask(open(ceiling, nil), open(ceiling, nil)); n != 0 {
		t.Errorf("with a guard each, %d were refused, want none", n)
	}
	guard := NewGuard(ceiling)
	if n := ask(open(ceiling, guard), open(ceiling, guard)); n == 0 {
		t.Error("with one guard, none was refused")
	}
}
