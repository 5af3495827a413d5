package secrets

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// opensslPeers runs a server and a client of OpenSSL and returns what each of them sent, by
// datagram for DTLS, and the key log.
func opensslPeers(t *testing.T, dir string, flags []string, datagrams bool, line string) (sent [2][][]byte, log []byte) {
	t.Helper()
	for range 5 {
		sent, log, output := opensslOnce(t, dir, flags, datagrams, line)
		if log != nil {
			return sent, log
		}
		// Another process may have taken the port in the meantime.
		if !strings.Contains(output, "Address already in use") {
			t.Fatal(output)
		}
	}
	t.Fatal("no port remained free")
	return sent, log
}

// opensslOnce returns the output of the peers instead of a log if they did not connect.
func opensslOnce(t *testing.T, dir string, flags []string, datagrams bool, line string) (sent [2][][]byte, log []byte, output string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	network := "tcp"
	if datagrams {
		network = "udp"
	}
	port := freePort(t, network)
	common := append([]string{"-quiet"}, flags...)
	args := append([]string{"s_server", "-accept", fmt.Sprint(port), "-cert", filepath.Join(dir, "rsa.pem"), "-key", filepath.Join(dir, "rsa.pem"),
		"-dcert", filepath.Join(dir, "ec.pem"), "-dkey", filepath.Join(dir, "ec.pem"), "-naccept", "1"}, common...)
	if !datagrams {
		args = append(args, "-rev")
	}
	server := exec.CommandContext(ctx, "openssl", args...)
	var serverOutput lockedBuffer
	server.Stdout, server.Stderr = &serverOutput, &serverOutput
	keep, err := server.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	defer keep.Close()
	if err := server.Start(); err != nil {
		t.Fatal(err)
	}
	left := make(chan struct{})
	go func() { server.Wait(); close(left) }()
	defer func() { cancel(); <-left }()
	var mu sync.Mutex
	via := relay(t, ctx, network, port, func(side int, b []byte) {
		mu.Lock()
		sent[side] = append(sent[side], bytes.Clone(b))
		mu.Unlock()
	})
	logFile := filepath.Join(t.TempDir(), "keys.log")
	client := exec.CommandContext(ctx, "openssl", append([]string{"s_client", "-connect", via, "-keylogfile", logFile}, common...)...)
	in, err := client.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	var clientOutput lockedBuffer
	client.Stdout, client.Stderr = &clientOutput, &clientOutput
	if err := client.Start(); err != nil {
		t.Fatal(err)
	}
	io.WriteString(in, line+"\n")
	from := &clientOutput // the TLS server returns the line reversed, the DTLS server prints it
	want := reversed(line)
	if datagrams {
		from, want = &serverOutput, line
	}
	for gone := false; ctx.Err() == nil && !gone && !strings.Contains(from.String(), want); {
		select {
		case <-left:
			gone = true
		case <-time.After(2 * time.Millisecond):
		}
	}
	in.Close()
	cancel()
	client.Wait()
	if !strings.Contains(from.String(), want) {
		return sent, nil, fmt.Sprintf("no response; client: %s; server: %s", clientOutput.String(), serverOutput.String())
	}
	if log, err = os.ReadFile(logFile); err != nil {
		t.Fatal(err)
	}
	mu.Lock()
	defer mu.Unlock()
	return sent, log, ""
}

func reversed(s string) string {
	b := []byte(s)
	for i, j := 0, len(b)-1; i < j; i, j = i+1, j-1 {
		b[i], b[j] = b[j], b[i]
	}
	return string(b)
}

type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(b)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func freePort(t *testing.T, network string) int {
	t.Helper()
	if network == "udp" {
		c, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		return c.LocalAddr().(*net.UDPAddr).Port
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}

// relay passes data between client and server and reports it.
func relay(t *testing.T, ctx context.Context, network string, port int, report func(side int, b []byte)) string {
	t.Helper()
	to := fmt.Sprintf("127.0.0.1:%d", port)
	if network == "udp" {
		c, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		go relayDatagrams(t, c, to, report)
		return c.LocalAddr().String()
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		a, err := l.Accept()
		if err != nil {
			return
		}
		defer a.Close()
		var b net.Conn
		for b == nil && ctx.Err() == nil {
			if b, err = net.Dial("tcp", to); err != nil {
				time.Sleep(2 * time.Millisecond)
			}
		}
		if b == nil {
			return
		}
		defer b.Close()
		pass := func(side int, to, from net.Conn) {
			buf := make([]byte, 1<<16)
			for {
				n, err := from.Read(buf)
				if n > 0 {
					report(side, buf[:n])
					to.Write(buf[:n])
				}
				if err != nil {
					to.Close()
					return
				}
			}
		}
		go pass(1, a, b)
		pass(0, b, a)
	}()
	return l.Addr().String()
}

func relayDatagrams(t *testing.T, c *net.UDPConn, to string, report func(side int, b []byte)) {
	addr, err := net.ResolveUDPAddr("udp", to)
	if err != nil {
		t.Error(err)
		return
	}
	buf := make([]byte, 1<<16)
	var client *net.UDPAddr
	for {
		n, from, err := c.ReadFromUDP(buf)
		if err != nil {
			return
		}
		if from.Port == addr.Port {
			report(1, buf[:n])
			c.WriteToUDP(buf[:n], client)
			continue
		}
		client = from
		report(0, buf[:n])
		c.WriteToUDP(buf[:n], addr)
	}
}

// datagramRecords splits datagrams of DTLS 1.0 and 1.2 into records.
func datagramRecords(datagrams [][]byte) (list []Record) {
	for _, d := range datagrams {
		for len(d) >= 13 {
			n := int(d[11])<<8 | int(d[12])
			if len(d) < 13+n {
				break
			}
			r := Record{Type: d[0], Version: uint16(d[1])<<8 | uint16(d[2]), Header: d[:13], Body: d[13 : 13+n]}
			for _, b := range d[3:11] {
				r.Seq = r.Seq<<8 | uint64(b)
			}
			list = append(list, r)
			d = d[13+n:]
		}
	}
	return list
}

// hello returns the parts of a ServerHello that the test needs.
func hello(t *testing.T, body []byte) (random []byte, suite uint16, extensions map[uint16]bool) {
	t.Helper()
	random = body[2:34]
	rest := body[35+int(body[34]):]
	suite = uint16(rest[0])<<8 | uint16(rest[1])
	extensions = make(map[uint16]bool)
	rest = rest[3:]
	if len(rest) < 2 {
		return random, suite, extensions
	}
	rest = rest[2:][:int(rest[0])<<8|int(rest[1])]
	for len(rest) >= 4 {
		extensions[uint16(rest[0])<<8|uint16(rest[1])] = true
		rest = rest[4+int(rest[2])<<8+int(rest[3]):]
	}
	return random, suite, extensions
}

func opensslDir(t *testing.T) string {
	t.Helper()
	if _, err := exec.LookPath("openssl"); err != nil {
		t.Skip("needs openssl")
	}
	dir := t.TempDir()
	for i, c := range certificates(t) {
		name, block := "ec.pem", &pem.Block{Type: "PRIVATE KEY"}
		var err error
		switch k := c.PrivateKey.(type) {
		case *ecdsa.PrivateKey:
			block.Bytes, err = x509.MarshalPKCS8PrivateKey(k)
		case *rsa.PrivateKey:
			name = "rsa.pem"
			block.Bytes, err = x509.MarshalPKCS8PrivateKey(k)
		}
		if err != nil {
			t.Fatal(i, err)
		}
		b := append(pem.EncodeToMemory(block), pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Certificate[0]})...)
		if err := os.WriteFile(filepath.Join(dir, name), b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func TestOpensRecordsOfOpenSSL(t *testing.T) {
	dir := opensslDir(t)
	const line = "a line of the client"
	for _, c := range []struct {
		flag, cipher string
		etm          bool
	}{
		{"-tls1_2", "AES128-CCM", false},
		{"-tls1_2", "ECDHE-ECDSA-AES256-CCM8", false},
		{"-tls1_2", "DHE-RSA-AES256-CCM", false},
		{"-tls1_2", "PSK-AES128-CCM8", false},
		{"-tls1_2", "DHE-PSK-CHACHA20-POLY1305", false},
		{"-tls1_2", "ECDHE-RSA-AES256-SHA384", true},
		{"-tls1_2", "AES128-SHA256", true},
		{"-tls1_2", "ECDHE-PSK-AES128-CBC-SHA256", true},
		{"-tls1_2", "NULL-SHA256", true},
		{"-tls1_2", "PSK-NULL-SHA384", true},
		{"-tls1_2", "NULL-MD5", true},
		{"-tls1_1", "AES256-SHA", true},
		{"-tls1_1", "NULL-SHA", true},
		{"-tls1", "AES128-SHA", true},
		{"-tls1", "PSK-AES256-CBC-SHA", true},
		{"-tls1_3", "TLS_AES_256_GCM_SHA384", false},
		{"-tls1_3", "TLS_CHACHA20_POLY1305_SHA256", false},
		{"-tls1_3", "TLS_AES_128_CCM_SHA256", false},
		{"-tls1_3", "TLS_AES_128_CCM_8_SHA256", false},
		{"-dtls1_2", "ECDHE-RSA-AES128-GCM-SHA256", false},
		{"-dtls1_2", "ECDHE-ECDSA-CHACHA20-POLY1305", false},
		{"-dtls1_2", "AES256-CCM8", false},
		{"-dtls1_2", "ECDHE-RSA-AES256-SHA384", true},
		{"-dtls1_2", "NULL-SHA256", true},
		{"-dtls1", "AES128-SHA", true},
		{"-dtls1", "PSK-AES128-CBC-SHA", true},
	} {
		t.Run(c.flag+" "+c.cipher, func(t *testing.T) {
			flags := []string{c.flag, "-cipher", c.cipher + ":@SECLEVEL=0", "-psk", "0102030405"}
			if c.flag == "-tls1_3" {
				flags = []string{c.flag, "-ciphersuites", c.cipher}
			}
			datagrams := strings.HasPrefix(c.flag, "-dtls")
			sent, log := opensslPeers(t, dir, flags, datagrams, line)
			var recs [2][]Record
			for i := range recs {
				if datagrams {
					recs[i] = datagramRecords(sent[i])
				} else {
					recs[i] = records(bytes.Join(sent[i], nil))
				}
			}
			store := storeOf(t, log)
			var got [2]string
			if c.flag == "-tls1_3" {
				s := &session{log: log, sent: [2][]byte{bytes.Join(sent[0], nil), bytes.Join(sent[1], nil)}}
				s.random[0] = s.sent[0][11:43]
				_, id, _ := hello(t, recs[1][0].Body[4:])
				if s.suite = SuiteOf(id); s.suite == nil || s.suite.Name != c.cipher {
					t.Fatalf("negotiated %v", s.suite)
				}
				openers, recs := s.application(t, TLS13)
				for i, o := range openers {
					for k := range recs[i] {
						recs[i][k].Seq = uint64(k)
						plain, typ, err := o.Open(nil, &recs[i][k])
						if err != nil {
							t.Fatalf("side %d record %d: %v", i, k, err)
						}
						if typ == 23 {
							got[i] += string(plain)
						}
					}
				}
			} else {
				got = openOpenSSL(t, store, recs, datagrams, c.etm)
			}
			if strings.TrimSpace(got[0]) != line || !datagrams && strings.TrimSpace(got[1]) != reversed(line) {
				t.Errorf("opened %q", got)
			}
		})
	}
}

// openOpenSSL opens all protected records of a connection before TLS 1.3.
func openOpenSSL(t *testing.T, store *Store, recs [2][]Record, datagrams, etm bool) (got [2]string) {
	t.Helper()
	skip := 4 // header of a handshake message
	if datagrams {
		skip = 12
	}
	var client, server []byte
	for _, r := range recs[0] {
		if r.Type == 22 && client == nil { // later ones may be encrypted
			client = r.Body[skip+2:][:32] // in DTLS both have the same one
		}
	}
	var version uint16
	var s *Suite
	var with map[uint16]bool
	for _, r := range recs[1] {
		if r.Type == 22 && r.Body[0] == 2 && s == nil {
			var id uint16
			server, id, with = hello(t, r.Body[skip:])
			s, version = SuiteOf(id), uint16(r.Body[skip])<<8|uint16(r.Body[skip+1])
		}
	}
	if s == nil || with[22] != etm {
		t.Fatalf("negotiated %v with extensions %v", s, with)
	}
	found := store.Find(client)
	if len(found) != 1 || found[0].Label != ClientRandom {
		t.Fatalf("found %v", found)
	}
	var openers [2]*Opener
	var err error
	openers[0], openers[1], err = Open12(version, s, etm, found[0].Value, client, server)
	if err != nil {
		t.Fatal(err)
	}
	for i, o := range openers {
		protected, seq, finished := false, uint64(0), false
		for k := range recs[i] {
			r := &recs[i][k]
			if r.Type == 20 {
				protected = true
				continue
			}
			if datagrams && r.Seq>>48 == 0 || !protected {
				continue
			}
			if !datagrams {
				r.Seq = seq
				seq++
			}
			plain, typ, err := o.Open(nil, r)
			if err != nil {
				t.Fatalf("%s side %d record %d: %v", s.Name, i, k, err)
			}
			if typ == 23 {
				got[i] += string(plain)
			}
			finished = finished || typ == 22 && plain[0] == 20
		}
		if !finished {
			t.Errorf("%s side %d: no Finished opened", s.Name, i)
		}
	}
	return got
}
