package recorder

import (
	"bufio"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/pcapsule/pcapsule/recorder/internal/machine"
	"github.com/pcapsule/pcapsule/recorder/keys"
)

// group makes a control group and returns its folder and its path below the root.
func group(t *testing.T) (folder, path string) {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("needs CAP_BPF")
	}
	root, err := machine.CgroupRoot()
	if err != nil {
		t.Skip("needs a control group: ", err)
	}
	path = fmt.Sprintf("/pcapsule-keyless-%d-%d", os.Getpid(), time.Now().UnixNano())
	folder = root + path
	if err := os.Mkdir(folder, 0o755); err != nil {
		t.Skip("needs a control group: ", err)
	}
	t.Cleanup(func() {
		for range 100 {
			os.WriteFile(folder+"/cgroup.kill", []byte("1"), 0)
			if os.Remove(folder) == nil {
				return
			}
			time.Sleep(20 * time.Millisecond)
		}
	})
	return folder, path
}

// in runs a program in a control group.
func in(t *testing.T, folder string, args ...string) string {
	t.Helper()
	dir, err := os.Open(folder)
	if err != nil {
		t.Fatal(err)
	}
	defer dir.Close()
	c := exec.CommandContext(t.Context(), args[0], args[1:]...)
	c.SysProcAttr = &syscall.SysProcAttr{UseCgroupFD: true, CgroupFD: int(dir.Fd())}
	text, err := c.CombinedOutput()
	return fmt.Sprintf("%s\n%v", text, err)
}

// tlsServer runs openssl s_server outside of the recorded control group.
func tlsServer(t *testing.T) (port string) {
	t.Helper()
	dir := t.TempDir()
	pem := filepath.Join(dir, "both.pem")
	if out, err := exec.Command(mustLook(t, "openssl"), "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=localhost", "-days", "2", "-keyout", pem, "-out", pem+".crt").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_, port, _ = net.SplitHostPort(l.Addr().String())
	l.Close()
	c := exec.Command("openssl", "s_server", "-quiet", "-www", "-accept", port, "-key", pem, "-cert", pem+".crt")
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Process.Kill(); c.Wait() })
	for range 100 {
		if conn, err := net.Dial("tcp", "127.0.0.1:"+port); err == nil {
			conn.Close()
			return port
		}
		time.Sleep(20 * time.Millisecond)
	}
	t.Fatal("openssl s_server does not listen")
	return ""
}

// built compiles a program that nothing has run before.
func built(t *testing.T, name, source string, compile ...string) string {
	t.Helper()
	dir := t.TempDir()
	file, out := filepath.Join(dir, name), filepath.Join(dir, "fresh")
	if err := os.WriteFile(file, []byte(source), 0o600); err != nil {
		t.Fatal(err)
	}
	args := append([]string{}, compile...)
	for i := range args {
		args[i] = strings.NewReplacer("OUT", out, "IN", file).Replace(args[i])
	}
	mustLook(t, args[0])
	if text, err := exec.Command(args[0], args[1:]...).CombinedOutput(); err != nil {
		t.Skipf("needs a static OpenSSL and a compiler: %v: %s", err, text)
	}
	return out
}

const goClient = `package main

import (
	"crypto/tls"
	"fmt"
	"io"
	"os"
	"time"
)

func main() {
	wait, _ := time.ParseDuration(os.Args[2])
	time.Sleep(wait)
	c, err := tls.Dial("tcp", "127.0.0.1:"+os.Args[1], &tls.Config{InsecureSkipVerify: true})
	if err != nil {
		panic(err)
	}
	fmt.Fprint(c, "GET / HTTP/1.0\r\n\r\n")
	io.Copy(io.Discard, c)
}
`

const cClient = `#include <stdlib.h>
#include <openssl/ssl.h>
#include <openssl/bio.h>
#include <unistd.h>
int main(int n, char **v)
{
	char to[64], b[4096];
	sleep(atoi(v[2]));
	SSL_CTX *x = SSL_CTX_new(TLS_client_method());
	BIO *c = BIO_new_ssl_connect(x);
	snprintf(to, sizeof(to), "127.0.0.1:%s", v[1]);
	BIO_set_conn_hostname(c, to);
	if (BIO_do_connect(c) <= 0) return 1;
	BIO_puts(c, "GET / HTTP/1.0\r\n\r\n");
	while (BIO_read(c, b, sizeof(b)) > 0);
	BIO_free_all(c);
	return 0;
}
`

// keyless is a line of tls_no_key.
type keyless struct {
	Kind, Reason, Side, Why, Exe string
	Random                       string `json:"client_random"`
	PID                          int
}

// keylessLines reads the lines of a recording in a file.
func keylessLines(t *testing.T, file string) (list []keyless) {
	t.Helper()
	files, _ := filepath.Glob(filepath.Join(filepath.Dir(file), "*.events"))
	for _, name := range files {
		f, err := os.Open(name)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		for s := bufio.NewScanner(f); s.Scan(); {
			var l keyless
			if err := json.Unmarshal(s.Bytes(), &l); err != nil {
				t.Fatal(err)
			}
			if l.Kind == "tls_no_key" {
				list = append(list, l)
			}
		}
	}
	return list
}

// TestWhyAKeyIsMissing runs programs that nobody has seen before. Each captured handshake has a
// key, or a line that states the true reason.
func TestWhyAKeyIsMissing(t *testing.T) {
	folder, path := group(t)
	port := tlsServer(t)
	silent, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	go func() {
		for {
			c, err := silent.Accept()
			if err != nil {
				return
			}
			c.Read(make([]byte, 1000))
			c.Close()
		}
	}()
	_, nobody, _ := net.SplitHostPort(silent.Addr().String())
	slow := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { time.Sleep(2 * time.Second) }))
	defer slow.Close()
	quiet := httptest.NewUnstartedServer(slow.Config.Handler)
	quiet.TLS = &tls.Config{SessionTicketsDisabled: true}
	quiet.StartTLS()
	defer quiet.Close()
	chosen := keys.Selector{Cgroups: []string{path}}
	golang := func() []string {
		return []string{built(t, "main.go", goClient, "go", "build", "-o", "OUT", "IN"), port}
	}
	for _, tt := range []struct {
		name   string
		choose keys.Selector
		run    func() []string
		keyed  bool   // a key may have been read
		reason string // of the handshake without one, or two that are possible; "" if it must have one
	}{
		{"a Go program that waits for its probe", chosen, func() []string { return append(golang(), "1s") }, true, ""},
		{"a Go program that is faster than its probe", chosen, func() []string { return append(golang(), "0s") }, true, "late gone"},
		{"a program with libssl that waits for its probe", chosen, func() []string { return []string{"curl", "-sk", slow.URL, "https://127.0.0.1:" + port} }, true, ""},
		{"a program with libssl that is faster than its probe", chosen, func() []string { return []string{"curl", "-sk", "https://127.0.0.1:" + port} }, true, "late gone"},
		{"a program that no rule chooses", keys.Selector{Executables: []string{"other"}}, func() []string { return []string{"curl", "-sk", slow.URL, "https://127.0.0.1:" + port} }, false, "not_chosen"},
		{"a server that sends nothing after the handshake", chosen, func() []string { return []string{"timeout", "-s", "KILL", "3", "curl", "-sk", slow.URL, quiet.URL} }, false, "no_capture"},
		{"a server that does not answer", chosen, func() []string { return []string{"curl", "-sk", slow.URL, "https://127.0.0.1:" + nobody} }, false, "unfinished"},
		{"Java", chosen, func() []string { return []string{"keytool", "-printcert", "-sslserver", "127.0.0.1:" + port} }, false, "unsupported"},
		{"a static OpenSSL without symbols", chosen, func() []string {
			return []string{built(t, "main.c", cClient, "gcc", "-static", "-s", "-o", "OUT", "IN", "-lssl", "-lcrypto"), port, "2"}
		}, false, "unsupported"},
		{"a program killed before it freed its connection", chosen, func() []string {
			return []string{"node", "-e", `require("tls").connect({host:"127.0.0.1",port:` + port + `,rejectUnauthorized:false},function(){setTimeout(()=>process.kill(process.pid,"SIGKILL"),700)})`}
		}, false, "no_handshake"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			args := tt.run()
			mustLook(t, args[0])
			var k *KeyStats
			var lines []keyless
			for range 3 { // on a busy machine a program may end before it is examined, or greet before the probe is there
				file := filepath.Join(t.TempDir(), "x.pcapng")
				k = record(t, Options{Cgroup: path, File: file, Keys: &Keys{Select: tt.choose}}, func() { t.Log(in(t, folder, args...)) }).Keys
				lines = keylessLines(t, file)
				busy := func(l keyless) bool {
					return (l.Reason == "gone" || l.Reason == "late") && !strings.Contains(tt.reason, l.Reason)
				}
				if !slices.ContainsFunc(lines, busy) {
					break
				}
			}
			missed := uint64(0)
			for _, n := range k.Keyless {
				missed += n
			}
			t.Logf("%d with keys, without: %v; %+v", k.Keyed, k.Keyless, lines)
			if k.Keyed+missed == 0 {
				t.Fatal("no handshake was captured")
			}
			if k.Keyed > 0 && (!tt.keyed || k.Written == 0) {
				t.Errorf("%d handshakes have keys, %d keys were written", k.Keyed, k.Written)
			}
			if missed > 0 && tt.reason == "" || missed == 0 && tt.reason != "" && !tt.keyed {
				t.Errorf("%d handshakes without a key", missed)
			}
			if len(lines) != int(missed) {
				t.Errorf("%d lines, want %d", len(lines), missed)
			}
			for _, l := range lines {
				if !slices.Contains(strings.Fields(tt.reason), l.Reason) || l.Side != "client" || len(l.Random) != 64 || l.Exe == "" || l.PID == 0 {
					t.Errorf("%+v, want reason %s", l, tt.reason)
				}
			}
		})
	}
}
