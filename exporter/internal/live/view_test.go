package live

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pcapsule/pcapsule/exporter/bundle"
	"github.com/pcapsule/pcapsule/exporter/internal/write"
	"github.com/pcapsule/pcapsule/exporter/table"
)

// gaps lists the gaps of a view, as reason and detail.
func gaps(t *testing.T, s *Store, r Request) (list []string) {
	t.Helper()
	_, err := s.View(t.Context(), r, nil, func(rows []table.Coverage, _ write.Folder) ([]write.Part, error) {
		for _, row := range rows {
			list = append(list, row.Reason+": "+row.Detail)
		}
		return []write.Part{{Table: "coverage", Rel: "data/tables/coverage/gaps.parquet"}}, nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return list
}

func begun(t *testing.T, keep time.Duration, most int64) *Store {
	t.Helper()
	s, err := NewStore(t.TempDir(), keep, most)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	s.begin(t, "empty1")
	return s
}

// begin begins a run.
func (s *Store) begin(t *testing.T, empty string) {
	t.Helper()
	part := write.Part{Table: "calls", Rel: "data/tables/calls/0.parquet"}
	err := os.WriteFile(s.Folder(empty).Path(part.Rel), nil, 0o600)
	if err == nil {
		err = s.Begin(Set{Dir: empty, Parts: []write.Part{part}})
	}
	if err != nil {
		t.Fatal(err)
	}
}

// publish publishes a cut whose rows are also in a large set.
func (s *Store) publish(t *testing.T, no, now int64, idle bool) {
	t.Helper()
	set := Set{Cut: no, First: now, Last: now, To: now, Packets: 1}
	if err := s.Publish(Cut{No: no, At: time.Now(), Now: now, Idle: idle}, Finished{Small: set, Large: &set, Known: &Set{}}); err != nil {
		t.Fatal(err)
	}
}

func TestGapsOfAView(t *testing.T) {
	now := time.Now().UnixNano()
	ago := func(d time.Duration) int64 { return now - int64(d) }
	for _, tt := range []struct {
		name string
		cuts []int64 // their times
		idle bool
		r    Request
		want string // no gap if empty
	}{
		{"everything is read", []int64{ago(time.Second)}, true, Request{}, ""},
		{"nothing came for a minute", []int64{ago(time.Minute)}, true, Request{}, ""},
		{"two seconds behind", []int64{ago(2 * time.Second)}, false, Request{}, ""},
		{"ten seconds behind", []int64{ago(10 * time.Second)}, false, Request{}, "not_read: the live run is 10"},
		{"ten seconds behind, of a tail", []int64{ago(20 * time.Second), ago(10 * time.Second)}, false, Request{Finished: true, After: 1}, "not_read: the live run is 10"},
		{"all is kept", []int64{ago(9 * time.Minute), now}, true, Request{}, ""},
		{"older rows are removed", []int64{ago(11 * time.Minute), now}, true, Request{}, "retention: the live bundle keeps 10m0s"},
		{"older rows are removed, but the view is short", []int64{ago(11 * time.Minute), now}, true, Request{Last: time.Minute}, ""},
		{"a tail that is late", []int64{ago(5 * time.Minute), ago(4 * time.Minute), ago(3 * time.Minute), now}, true, Request{Finished: true, After: 1}, "retention: calls were removed before they were asked for; cuts of the live run: 2"},
		{"a tail in time", []int64{ago(5 * time.Second), ago(4 * time.Second), now}, true, Request{Finished: true, After: 1}, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := begun(t, 10*time.Minute, 1<<20)
			for i, at := range tt.cuts {
				s.publish(t, int64(i+1), at, tt.idle)
			}
			got := strings.Join(gaps(t, s, tt.r), "\n")
			v, err := s.View(t.Context(), tt.r, nil, nil)
			if err != nil || v.Empty != (tt.want == "") {
				t.Errorf("empty: %v, %v", v.Empty, err)
			}
			if tt.want == "" && got != "" || !strings.HasPrefix(got, tt.want) || strings.Contains(got, "\n") {
				t.Errorf("gaps %q, want %q", got, tt.want)
			}
		})
	}
}

// TestOneCutThatIsTooLarge: it is removed at once, which is not the same as a time without packets.
func TestOneCutThatIsTooLarge(t *testing.T) {
	s := begun(t, time.Minute, 1<<20)
	now := time.Now().UnixNano()
	set := Set{Dir: "large", Cut: 1, First: now, Last: now, To: now, Packets: 1, Parts: []write.Part{{Table: "calls", Bytes: 2 << 20}}}
	if err := s.Publish(Cut{No: 1, At: time.Now(), Now: now, Idle: true}, Finished{Small: set, Large: &set, Known: &Set{}}); err != nil {
		t.Fatal(err)
	}
	for _, r := range []Request{{}, {Last: 30 * time.Second}} {
		if got := gaps(t, s, r); len(got) != 1 || !strings.HasPrefix(got[0], "retention: the live bundle keeps at most 1 MiB") {
			t.Errorf("%+v: %v", r, got)
		}
	}
}

// TestARunThatEndsBeforeATailAsks: the sets of its last cuts are gone.
func TestARunThatEndsBeforeATailAsks(t *testing.T) {
	s := begun(t, time.Minute, 1<<20)
	now := time.Now().UnixNano()
	for no := range int64(3) {
		s.publish(t, no+1, now+no, true)
	}
	s.begin(t, "empty2")
	if got := gaps(t, s, Request{Finished: true, After: 1}); !slices.Equal(got, []string{"retention: calls were removed before they were asked for; cuts of the live run: 2"}) {
		t.Error(got)
	}
}

// TestViewsAreBounded: the newest stay, and others for a minute.
func TestViewsAreBounded(t *testing.T) {
	s := begun(t, time.Minute, 1<<20)
	now := time.Now().UnixNano()
	for no := range int64(10) {
		s.publish(t, no+1, now+no, true)
		gaps(t, s, Request{})
	}
	for _, v := range s.views {
		v.made = v.made.Add(-2 * viewFor)
	}
	s.publish(t, 11, now+11, true)
	left, err := os.ReadDir(filepath.Join(s.dir, "views"))
	if err != nil || len(left) != viewsKept || len(s.views) != viewsKept {
		t.Errorf("%d folders of %d views, %v", len(left), len(s.views), err)
	}
	if s.Opened(s.views[0].Path) == nil || s.Opened(filepath.Join(s.dir, "views", "000001.pcapsule")) != nil {
		t.Error("another view is open")
	}
	if _, err := s.View(t.Context(), Request{Last: time.Nanosecond}, nil, nil); !errors.Is(err, bundle.ErrNothingLive) {
		t.Error(err)
	}
}

// TestTailsDoNotShareViews: a tail within namespaces needs the ends of open connections, which a tail of everything
// does not have.
func TestTailsDoNotShareViews(t *testing.T) {
	s := begun(t, time.Minute, 1<<30)
	all := Request{Finished: true}
	within := all
	within.ends = true
	none := func([]table.Coverage, write.Folder) ([]write.Part, error) { return nil, nil }
	for _, pair := range [][2]Request{{all, within}, {within, all}} {
		a, err := s.whole(t.Context(), pair[0], nil, none)
		if err != nil {
			t.Fatal(err)
		}
		b, err := s.whole(t.Context(), pair[1], nil, none)
		if err != nil {
			t.Fatal(err)
		}
		if a == b {
			t.Errorf("%+v and %+v have one view", pair[0], pair[1])
		}
		if again, err := s.whole(t.Context(), pair[0], nil, none); err != nil || again != a {
			t.Errorf("%+v was made twice: %v", pair[0], err)
		}
	}
}
