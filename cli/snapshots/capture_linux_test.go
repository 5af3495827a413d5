package snapshots

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"testing"
	"time"

	"github.com/pcapsule/pcapsule/mcp/store"
	"github.com/pcapsule/pcapsule/recorder"
)

func TestSeparateRecordingBecomesASnapshot(t *testing.T) {
	s := opened(t, ringOf(t, "http1.pcapng"), filepath.Join(t.TempDir(), "store"))
	web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "hello") }))
	defer web.Close()
	port := web.Listener.Addr().(*net.TCPAddr).Port
	x, err := s.Capture(ctx, store.CaptureRequest{Name: "now", Duration: 3 * time.Second, Filter: fmt.Sprintf("tcp port %d", port)})
	var rights *recorder.PrivilegeError
	if errors.As(err, &rights) || errors.Is(err, recorder.ErrCgroup) {
		t.Skipf("needs CAP_BPF: %v", err)
	}
	if err != nil || x.Status != recording {
		t.Fatalf("%+v, %v", x, err)
	}
	if _, err := s.StartDissection(ctx, "now", "main"); !errors.Is(err, store.ErrNotReady) {
		t.Errorf("a running recording is dissected: %v", err)
	}
	for range 5 {
		res, err := http.Get(web.URL)
		if err != nil {
			t.Fatal(err)
		}
		res.Body.Close()
	}
	for range 1500 {
		if x, err = s.read("now"); err != nil || x.Status != recording {
			break
		}
		time.Sleep(20 * time.Millisecond)
	}
	if err != nil || x.Status != completed || x.Packets < 10 || x.Filter == "" {
		t.Fatalf("%+v, %v", x, err)
	}
	if _, err := s.StartDissection(ctx, "now", "main"); err != nil {
		t.Fatal(err)
	}
	if d := dissected(t, s, "now", "main"); d.Protocols["http1"] != 5 {
		t.Errorf("%+v", d)
	}
	for _, bad := range []store.CaptureRequest{{Name: "a"}, {Name: "a", Duration: time.Hour * 24}, {Name: "a", Duration: time.Second, Filter: "tcp and and"}, {Name: "a", Duration: time.Second, Owners: []string{"web"}}, {Name: "../a", Duration: time.Second}} {
		if _, err := s.Capture(ctx, bad); err == nil {
			t.Errorf("%+v is recorded", bad)
		}
	}
}
