//go:build amd64 || arm64

package keys

import (
	"encoding/hex"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

func TestStatesWithoutKeys(t *testing.T) {
	s := newSpace(t)
	bin := goTalk(t)
	noTLS := filepath.Join(t.TempDir(), "none")
	source := noTLS + ".go"
	if err := os.WriteFile(source, []byte("package main\n\nimport \"time\"\n\nfunc main() { time.Sleep(20 * time.Second) }\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if b, err := exec.Command("go", "build", "-o", noTLS, source).CombinedOutput(); err != nil {
		t.Fatalf("building: %v: %s", err, b)
	}
	s.serve(t, nil, "sleep", "20")
	s.serve(t, nil, noTLS)
	s.serve(t, func(string) bool { return true }, bin, "-serve")
	// These are running before the tracker starts.
	tr := start(t, Options{Select: s.own(), Sink: &list{}, Captured: s.talks})
	for name, want := range map[string]Process{
		"sleep":  {State: None, Reason: NoTLS},
		"none":   {State: None, Reason: NoTLS},
		"gotalk": {State: None, Reason: NoHandshake, Library: Go},
	} {
		eventually(t, "state of "+name, func() bool {
			l := of(tr, name)
			return len(l) == 1 && l[0].State == want.State && l[0].Reason == want.Reason && l[0].Library == want.Library
		})
	}
	if t.Failed() {
		t.Logf("%+v", tr.Processes())
	}
}

func TestObjectsWithoutCapturedConnection(t *testing.T) {
	s := newSpace(t)
	pem := certificateFiles(t)
	sink := &list{}
	tr := start(t, Options{Select: s.own(), Sink: sink})
	s.openssl(t, pem, 4800)
	probed(t, tr, "openssl")
	for range 3 {
		s.run(t, "curl", "-sk", "https://127.0.0.1:4800/")
	}
	eventually(t, "three clients without keys", func() bool {
		n := 0
		for _, p := range of(tr, "curl") {
			if p.State == None && p.Reason == NoCapture && p.Library == OpenSSL {
				n++
			}
		}
		return n == 3
	})
	if t.Failed() {
		t.Logf("%+v", tr.Processes())
	}
	if n := len(sink.lines(0)); n != 0 {
		t.Errorf("%d keys without proof", n)
	}
	eventually(t, "no key is used", func() bool {
		c, err := tr.Counters()
		return err == nil && c.Seen > 0 && c.Seen == c.Unused
	})
}

func TestChildrenOfAChosenProcess(t *testing.T) {
	s := newSpace(t)
	bin := goTalk(t)
	var addr, pid string
	s.serve(t, func(line string) bool { addr = strings.TrimSpace(line); return true }, bin, "-serve")
	fifo := filepath.Join(t.TempDir(), "go")
	if b, err := exec.Command("mkfifo", fifo).CombinedOutput(); err != nil {
		t.Fatalf("%s", b)
	}
	s.serve(t, func(line string) bool { pid = strings.TrimSpace(line); return true },
		"sh", "-c", fmt.Sprintf(`exec 3<>%s; echo $$; read x <&3; %s -addr=%s -gate -n=2 <&3; (%[2]s -addr=%[3]s -gate -n=3 <&3); read x <&3`, fifo, bin, addr))
	n, err := strconv.ParseUint(pid, 10, 32)
	if err != nil {
		t.Fatal(err)
	}
	sink := &list{}
	tr := start(t, Options{Select: Selector{PIDs: []uint32{uint32(n)}}, Sink: sink, Captured: s.talks})
	for clients := range 3 { // the shell, then each client once it has its probe
		eventually(t, "a waiting client", func() bool {
			waiting := 0
			for _, p := range of(tr, "gotalk") {
				if p.Reason == NoHandshake {
					waiting++
				}
			}
			return len(of(tr, "gotalk")) == clients && waiting == min(clients, 1)
		})
		if t.Failed() {
			t.Fatalf("%+v", tr.Processes())
		}
		if err := os.WriteFile(fifo, []byte("x\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	eventually(t, "keys of five connections", func() bool { return len(sink.lines(0)) == 20 })
	server := 0
	for _, p := range of(tr, "gotalk") {
		if p.Keys == 0 {
			server++
		}
	}
	if server != 0 || len(of(tr, "gotalk")) != 2 {
		t.Errorf("%+v", tr.Processes())
	}
}

func TestLostEventsAreCounted(t *testing.T) {
	s := newSpace(t)
	bin := goTalk(t)
	sink := &list{}
	tr := start(t, Options{Select: Selector{Executables: []string{bin}}, Sink: sink, RingBytes: 8192})
	var addr string
	s.serve(t, func(line string) bool { addr = strings.TrimSpace(line); return true }, bin, "-serve")
	eventually(t, "a probe", func() bool {
		l := of(tr, "gotalk")
		return len(l) == 1 && l[0].Reason == NoHandshake
	})
	tr.mu.Lock() // block the reader
	s.run(t, bin, "-addr="+addr, "-n=50")
	tr.mu.Unlock()
	eventually(t, "counters that balance", func() bool {
		c, err := tr.Counters()
		return err == nil && c.Lost > 0 && c.Seen >= 200 && c.Seen == c.Written+c.Repeated+c.Unused+c.Lost
	})
	if c, err := tr.Counters(); t.Failed() {
		t.Logf("%+v %v", c, err)
	}
}

// TestFirstHandshakeOfANewProgram logs how many keys are missed while a probe is attached.
func TestFirstHandshakeOfANewProgram(t *testing.T) {
	s := newSpace(t)
	bin := goTalk(t, "-ldflags=-s -w")
	var addr string
	s.serve(t, func(line string) bool { addr = strings.TrimSpace(line); return true }, bin, "-serve")
	for _, wait := range []time.Duration{0, 10 * time.Millisecond, 50 * time.Millisecond} {
		missed := 0
		const rounds = 5
		for range rounds {
			sink := &list{}
			fresh := filepath.Join(t.TempDir(), "fresh") // a file that is not known yet
			b, err := os.ReadFile(bin)
			if err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(fresh, b, 0o700); err != nil {
				t.Fatal(err)
			}
			tr := start(t, Options{Select: Selector{Executables: []string{fresh}}, Sink: sink})
			s.run(t, fresh, "-addr="+addr, "-n=1", "-wait="+wait.String())
			time.Sleep(20 * time.Millisecond)
			if err := tr.Close(); err != nil {
				t.Error(err)
			}
			if len(sink.lines(0)) < 4 {
				missed++
			}
		}
		t.Logf("first handshake %v after the start: missed %d of %d", wait, missed, rounds)
	}
}

func TestTsharkReadsTheKeyFile(t *testing.T) {
	if _, err := exec.LookPath("tshark"); err != nil {
		t.Skip("needs tshark")
	}
	s := newSpace(t)
	bin := goTalk(t, "-buildmode=pie", "-ldflags=-s -w")
	pem := certificateFiles(t)
	path := filepath.Join(t.TempDir(), "segment.keys")
	file, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	tr := start(t, Options{Select: s.own(), Sink: file, Captured: s.talks})
	for i, mode := range []string{"-version=1.3", "-version=1.2", "-quic"} {
		var addr string
		s.serve(t, func(line string) bool { addr = strings.TrimSpace(line); return true }, bin, "-serve", "-addr", fmt.Sprint("127.0.0.1:", 4900+i), mode)
		s.runProbed(t, tr, bin, "-addr="+addr, mode, "-n=3")
	}
	s.openssl(t, pem, 4910)
	probed(t, tr, "openssl")
	for range 3 {
		s.run(t, "curl", "-sk", "https://127.0.0.1:4910/")
	}
	eventually(t, "verified clients", func() bool {
		n := 0
		for _, p := range of(tr, "curl") {
			if p.State == Verified {
				n++
			}
		}
		return n == 3
	})
	if t.Failed() {
		t.Logf("%+v", tr.Processes())
	}
	s.stop()
	if err := tr.Close(); err != nil {
		t.Fatal(err)
	}
	if err := file.Close(); err != nil {
		t.Fatal(err)
	}
	b, err := exec.Command("tshark", "-r", s.file, "-o", "tls.keylog_file:"+path, "-d", "tcp.port==4910,tls", "-T", "fields",
		"-e", "tls.segment.data", "-e", "data.data", "-e", "quic.stream_data", "-e", "http.response.code").Output()
	if err != nil {
		t.Fatal(err)
	}
	words := hex.EncodeToString([]byte("plain words of the client"))
	if n := strings.Count(string(b), words); n < 9 {
		t.Errorf("tshark shows the text %d times, want 9", n)
	}
	if n := strings.Count(string(b), "200"); n < 3 {
		t.Errorf("tshark shows %d responses, want 3", n)
	}
}
