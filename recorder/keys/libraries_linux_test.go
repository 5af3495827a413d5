//go:build amd64 || arm64

package keys

import (
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// listening waits until a process in the namespace listens on a port.
func (s *space) listening(t *testing.T, port int) {
	t.Helper()
	eventually(t, fmt.Sprint("a listener on port ", port), func() bool {
		b, err := s.command(t, "ss", "-Hltn", fmt.Sprintf("sport = :%d", port)).Output()
		return err == nil && len(b) > 0
	})
}

func (s *space) nginx(t *testing.T, pem string, port int, protocols string) {
	t.Helper()
	needTools(t, "nginx", "ss")
	dir := t.TempDir()
	conf := filepath.Join(dir, "nginx.conf")
	text := fmt.Sprintf(`daemon off; worker_processes 2; pid %[1]s/pid; error_log %[1]s/error.log;
events {}
http { access_log off; client_body_temp_path %[1]s/a; proxy_temp_path %[1]s/b; fastcgi_temp_path %[1]s/c; uwsgi_temp_path %[1]s/d; scgi_temp_path %[1]s/e;
 server { listen 127.0.0.1:%[2]d ssl; ssl_certificate %[3]s; ssl_certificate_key %[3]s; ssl_protocols %[4]s; return 200 "hello from nginx"; } }
`, dir, port, pem, protocols)
	if err := os.WriteFile(conf, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	c := s.command(t, "nginx", "-e", dir+"/error.log", "-c", conf)
	// The parent process ends its workers when it is interrupted, but not when it is killed.
	c.Cancel = func() error { return c.Process.Signal(os.Interrupt) }
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Wait() })
	s.listening(t, port)
}

func TestKeysOfSeveralPrograms(t *testing.T) {
	needTools(t, "curl", "nginx")
	s := newSpace(t)
	pem := certificateFiles(t)
	sink := &list{}
	tr := start(t, Options{Select: s.own(), Sink: sink, Captured: s.talks})
	log := filepath.Join(t.TempDir(), "keys.log")
	s.nginx(t, pem, 4500, "TLSv1.2 TLSv1.3")
	probed(t, tr, "nginx")
	url := "https://127.0.0.1:4500/"
	for i := range 10 {
		s.run(t, "env", "SSLKEYLOGFILE="+log, "curl", "-sk", "--tls-max", []string{"1.3", "1.2"}[i%2], url)
	}
	if _, err := os.Stat("/usr/bin/python3"); err == nil {
		for _, max := range []string{"TLSv1_2", "TLSv1_3"} {
			s.run(t, "/usr/bin/python3", "-c", fmt.Sprintf(`import ssl,urllib.request
c=ssl._create_unverified_context(); c.keylog_filename=%q; c.maximum_version=ssl.TLSVersion.%s
urllib.request.urlopen(%q, context=c).read()`, log, max, url))
		}
	}
	s.judge(t, tr, sink, log)
}

// nodes are programs with a built-in library: the machine's node, and those in
// PCAPSULE_NODES, a list of paths. Node 16 has OpenSSL 1.1.1, 18 and 20 have 3.0, 24 has 3.5.
func nodes(t *testing.T) []string {
	needTools(t, "node")
	return append([]string{"node"}, filepath.SplitList(os.Getenv("PCAPSULE_NODES"))...)
}

func TestKeysOfBuiltInLibrary(t *testing.T) {
	programs := nodes(t)
	s := newSpace(t)
	pem := certificateFiles(t)
	port := 4600
	for _, node := range programs {
		for _, v := range []string{"TLSv1.3", "TLSv1.2"} {
			t.Run(node+" "+v, func(t *testing.T) {
				sink := &list{}
				tr := start(t, Options{Select: s.own(), Sink: sink, Captured: s.talks})
				log := filepath.Join(t.TempDir(), "keys.log")
				port++
				s.serve(t, func(l string) bool { return strings.HasPrefix(l, "up") }, node, "--tls-keylog="+log, "-e",
					fmt.Sprintf(`const fs=require('fs'),p=fs.readFileSync(%q);require('https').createServer({key:p,cert:p,maxVersion:%q},(q,r)=>r.end('node says hello')).listen(%d,'127.0.0.1',()=>console.log('up'))`, pem, v, port))
				probed(t, tr, "node")
				for range 8 {
					s.run(t, node, "-e", fmt.Sprintf(`require('https').get({host:'127.0.0.1',port:%d,rejectUnauthorized:false},r=>r.resume())`, port))
				}
				s.judge(t, tr, sink, log)
			})
		}
	}
}

// judge compares the keys that were read with those that a program logged itself, and checks
// the counters and states of the tracker.
func (s *space) judge(t *testing.T, tr *Tracker, sink *list, log string) {
	t.Helper()
	want := withoutExporter(truth(t, log))
	eventually(t, "all keys", func() bool { return len(sink.lines(0)) >= len(want) })
	compare(t, sink.lines(0), want)
	c, err := tr.Counters()
	if err != nil || c.Lost+c.Unread+c.Odd != 0 {
		t.Errorf("%+v, %v", c, err)
	}
	verified, waiting := 0, 0
	eventually(t, "all processes with keys verified", func() bool {
		verified, waiting = 0, 0
		for _, p := range tr.Processes() {
			if p.State == Verified {
				verified++
			} else if p.Keys > 0 {
				waiting++
			}
		}
		return waiting == 0 && verified > 0
	})
	if t.Failed() {
		t.Logf("%+v", tr.Processes())
	}
	t.Logf("%+v; %d logged lines, %d processes verified", c, len(want), verified)
}

func TestGnuTLSKeysMatchItsKeyLog(t *testing.T) {
	needTools(t, "gnutls-serv", "gnutls-cli", "openssl")
	s := newSpace(t)
	pem := certificateFiles(t)
	for i, v := range []string{"NORMAL:-VERS-ALL:+VERS-TLS1.3", "NORMAL:-VERS-ALL:+VERS-TLS1.2"} {
		t.Run(v, func(t *testing.T) {
			sink := &list{}
			tr := start(t, Options{Select: s.own(), Sink: sink, Captured: s.talks})
			log := filepath.Join(t.TempDir(), "keys.log")
			port := 4700 + i
			s.serve(t, func(l string) bool { return strings.Contains(l, "listening") || strings.Contains(l, "ready") }, "gnutls-serv", "--http", "-p", fmt.Sprint(port),
				"--x509certfile", pem, "--x509keyfile", pem, "--priority", v)
			s.listening(t, port)
			probed(t, tr, "gnutls-serv")
			for range 8 {
				c := s.command(t, "env", "SSLKEYLOGFILE="+log, "gnutls-cli", "--insecure", "--priority", v, "-p", fmt.Sprint(port), "127.0.0.1")
				c.Stdin = strings.NewReader("GET / HTTP/1.0\r\n\r\n")
				if b, err := c.CombinedOutput(); err != nil {
					t.Fatalf("%v: %s", err, b)
				}
			}
			s.judge(t, tr, sink, log)
		})
	}
}

func TestOnlyChosenProcessesAreRead(t *testing.T) {
	if _, err := Start(Options{Sink: &list{}}); !errors.Is(err, ErrNobody) {
		t.Error("no process chosen:", err)
	}
	var wrong *SelectorError
	if _, err := Start(Options{Sink: &list{}, Select: Selector{Executables: []string{"[a"}}}); !errors.As(err, &wrong) {
		t.Error("an invalid pattern:", err)
	}
	if _, err := Start(Options{Sink: &list{}, Select: Selector{Cgroups: []string{"kubepods"}}}); !errors.As(err, &wrong) {
		t.Error("a control group that is not a path:", err)
	}
	if _, err := Start(Options{Sink: &list{}, Select: Selector{PIDs: []uint32{1 << 30}}}); !errors.As(err, &wrong) {
		t.Error("a process that does not exist:", err)
	}
	s := newSpace(t)
	bin := goTalk(t)
	var addr string
	s.serve(t, func(line string) bool { addr = strings.TrimSpace(line); return true }, bin, "-serve")
	chosen := filepath.Join(t.TempDir(), "chosen")
	if err := os.Link(bin, chosen); err != nil {
		t.Fatal(err)
	}
	sink := &list{}
	tr := start(t, Options{Select: Selector{Executables: []string{chosen}}, Sink: sink, Captured: s.talks})
	// One file with two names: the probe is the same, but only one name is chosen.
	s.run(t, bin, "-addr="+addr, "-n=5")
	s.runProbed(t, tr, chosen, "-addr="+addr, "-n=5")
	s.run(t, bin, "-addr="+addr, "-n=5")
	eventually(t, "keys of one client", func() bool { return len(sink.lines(0)) >= 20 })
	time.Sleep(100 * time.Millisecond)
	if n := len(sink.lines(0)); n != 20 {
		t.Errorf("%d keys of 5 connections, want 20", n)
	}
	for _, k := range sink.keys {
		if k.Executable != chosen {
			t.Fatalf("a key of %s", k.Executable)
		}
	}
	if c, err := tr.Counters(); err != nil || c.Seen != 20 {
		t.Errorf("%+v, %v", c, err)
	}
	if _, err := net.Dial("tcp", addr); err == nil {
		t.Error("the server can be reached from outside the namespace")
	}
}
