package agent

import (
	"log/slog"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/pcapsule/pcapsule/recorder"
	"github.com/pcapsule/pcapsule/recorder/mutual"
	"github.com/pcapsule/pcapsule/recorder/pins"
	"github.com/pcapsule/pcapsule/recorder/ring"
	"github.com/pcapsule/pcapsule/recorder/ring/ringtest"
	"github.com/pcapsule/pcapsule/recorder/rows"
	"github.com/pcapsule/pcapsule/recorder/transfer"
)

// certificate writes a certificate of an authority to files, and returns it.
func certificate(t *testing.T, i *mutual.Issuer, root []byte, dir, name string, server bool) *mutual.Pair {
	t.Helper()
	key, keyText, err := mutual.NewKey()
	if err != nil {
		t.Fatal(err)
	}
	cert, err := i.Issue(key.Public(), []string{name}, server, time.Hour, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	for file, text := range map[string][]byte{"crt": cert, "key": keyText, "ca": root} {
		if err := os.WriteFile(filepath.Join(dir, file), text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	p, err := mutual.Parse(cert, keyText, root)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestHubGetsSegments(t *testing.T) {
	root, key, err := mutual.NewIssuer("test", time.Hour, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	i, err := mutual.ReadIssuer(root, key)
	if err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile("../../samples/http1.pcapng")
	if err != nil {
		t.Fatal(err)
	}
	dir, files := filepath.Join(t.TempDir(), "ring"), t.TempDir()
	if _, err := ringtest.Fill(dir, data, 1, 20); err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := l.Addr().String()
	l.Close()
	certificate(t, i, root, files, mutual.Node("a"), true)
	a := &agent{o: Options{Log: slog.New(slog.DiscardHandler), Record: recorder.Options{Ring: &ring.Options{Dir: dir}, Node: "a"},
		Transfer: Transfer{Listen: address, Cert: filepath.Join(files, "crt"), Key: filepath.Join(files, "key"), CA: filepath.Join(files, "ca"), Rows: t.TempDir()}}}
	if err := rows.Write(a.o.Transfer.Rows, &rows.Cut{Run: "r", No: 1}); err != nil {
		t.Fatal(err)
	}
	stop, err := a.transfer(t.Context())
	if n := testutil.CollectAndCount(a, "pcapsule_recorder_certificate_expiry_timestamp_seconds"); n != 1 {
		t.Errorf("%d metrics of the certificate's end, want 1", n)
	}
	if err != nil {
		t.Fatal(err)
	}
	defer stop()
	client := func(name, server string) *pins.Client {
		p := certificate(t, i, root, t.TempDir(), name, false)
		return &pins.Client{URL: &url.URL{Scheme: "https", Host: address}, HTTP: mutual.Client(func() (*mutual.Pair, error) { return p, nil }, mutual.Node(server))}
	}
	hub := client(mutual.Hub, "a")
	v, err := hub.Coverage(t.Context())
	if err != nil || v.Node != "a" || v.Packets == 0 {
		t.Fatalf("%+v, %v", v, err)
	}
	p, err := hub.Make(t.Context(), "p", v.First, v.Last)
	if err != nil {
		t.Fatal(err)
	}
	got := t.TempDir()
	if err := (&transfer.Fetcher{Tries: 1}).Fetch(t.Context(), hub.Files("p"), p.Files, got); err != nil {
		t.Fatal(err)
	}
	if rep, err := ring.Verify(got, ring.VerifyOptions{}); err != nil || !rep.OK() {
		t.Errorf("%v, %v", rep, err)
	}
	if list, err := hub.Rows(t.Context(), "", 0); err != nil || list.Node != "a" || list.Cut.Run != "r" || !rows.Wanted(a.o.Transfer.Rows) {
		t.Errorf("rows: %+v, %v", list, err)
	}
	if _, err := client(mutual.Node("b"), "a").Coverage(t.Context()); err == nil {
		t.Error("another recorder was served")
	}
	if _, err := client(mutual.Node("b"), "a").Rows(t.Context(), "", 0); err == nil {
		t.Error("another recorder was served rows")
	}
	if _, err := client(mutual.Hub, "b").Coverage(t.Context()); err == nil || !strings.Contains(err.Error(), "b.node.pcapsule") {
		t.Errorf("it was mistaken for another node: %v", err)
	}
}

func TestTransferNeedsACertificate(t *testing.T) {
	for name, tr := range map[string]Transfer{"neither files nor a cluster": {Listen: "127.0.0.1:0"}, "missing files": {Listen: "127.0.0.1:0", Cert: "missing", Key: "missing", CA: "missing"}} {
		a := &agent{o: Options{Log: slog.New(slog.DiscardHandler), Transfer: tr}}
		if stop, err := a.transfer(t.Context()); err == nil {
			stop()
			t.Errorf("%s: accepted", name)
		}
	}
}
