package all_test

import (
	"bytes"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/pcapsule/pcapsule/forensics/finding"
	"github.com/pcapsule/pcapsule/samples/traffic"
)

// TestOpenEndpoints has services whose endpoints are called with credentials or without. A word of calls is a method, a
// path, credentials (token, cookie or none) and a status.
func TestOpenEndpoints(t *testing.T) {
	const four = "GET /a token 200, GET /b token 200, GET /c token 200, GET /d token 200, "
	const open = "medium: 1 call from 10.0.0.1 to GET /open of 10.0.0.2 without credentials, like all calls to it; 4 of 5 endpoints of this service are called with credentials"
	for _, tt := range []struct {
		name, calls string
		want        []string
	}{
		{"one of five", four + "GET /open none 200", []string{open}},
		{"two of six", four + "GET /open none 200, GET /more none 200", nil},
		{"two endpoints", "GET /a token 200, GET /open none 200", nil},
		{"a cookie is something", four + "GET /open cookie 200", nil},
		{"cookies prove nothing", strings.ReplaceAll(four, "token", "cookie") + "GET /open none 200", nil},
		{"failed calls with credentials", strings.ReplaceAll(four, "200", "401") + "GET /open none 200", nil},
		{"a call that failed", four + "GET /open none 404", nil},
		{"a redirect", four + "GET /open none 302", nil},
		{"not modified", four + "GET /open none 304", []string{open}},
		{"the health of a server", four + "GET /healthz none 200, GET /ready none 200", nil},
		{"a login", four + "POST /api/login none 200", nil},
		{"a token", four + "POST /oauth2/token none 200", nil},
		{"a preflight", four + "OPTIONS /a none 200", nil},
		{"as many with credentials", "GET /a token 200, GET /a none 200",
			[]string{"high: 1 call from 10.0.0.1 to GET /a of 10.0.0.2 succeeded without credentials; 1 other carries them"}},
		{"fewer with credentials", "GET /a token 200, GET /a none 200, GET /a none 200",
			[]string{"medium: 2 calls from 10.0.0.1 to GET /a of 10.0.0.2 succeeded without credentials; 1 other carries them"}},
		{"fewer, but one was refused", "GET /a token 200, GET /a none 200, GET /a none 200, GET /a none 403", []string{
			"high: 2 calls from 10.0.0.1 to GET /a of 10.0.0.2 succeeded without credentials; 1 other carries them and 1 was refused for lack of credentials",
			"info: 1 call from 10.0.0.1 to GET /a of 10.0.0.2 without credentials was refused; 1 other carries them"}},
		{"refused by a proxy", "GET /a token 200, GET /a none 407", []string{"info: 1 call from 10.0.0.1 to GET /a of 10.0.0.2 without credentials was refused; 1 other carries them"}},
		{"a redirect to a login", "GET /a token 200, GET /a none 302", nil},
		{"not found", "GET /a token 200, GET /a none 404", nil},
		{"a cookie without a token", "GET /a token 200, GET /a cookie 200", nil},
		{"cookies too", four + strings.ReplaceAll(four, "token", "cookie") + "GET /open none 200", nil},
		{"refused elsewhere", four + "GET /a none 401, GET /open none 200", []string{open,
			"info: 1 call from 10.0.0.1 to GET /a of 10.0.0.2 without credentials was refused; 1 other carries them"}},
		{"cookies elsewhere", "GET /a cookie 200, GET /b cookie 200, GET /c cookie 200, GET /d token 200, GET /open none 200", nil},
		{"cookies at the endpoint", "GET /b token 200, GET /a cookie 200, GET /a none 200", nil},
		{"credentials that failed at the endpoint", "GET /b token 200, GET /a token 401, GET /a none 200", nil},
		{"credentials that failed", "GET /a token 401, GET /a none 200", nil},
		{"credentials of another endpoint", "GET /b token 200, GET /a none 200", nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var w traffic.Capture
			for i, c := range strings.Split(tt.calls, ", ") {
				var method, path, how, status string
				if _, err := fmt.Sscan(c, &method, &path, &how, &status); err != nil {
					t.Fatal(err)
				}
				headers := map[string]string{"token": "\r\nAuthorization: Bearer abc", "cookie": "\r\nCookie: a=b"}[how]
				w.Exchange(time.Duration(i)*10*ms, ms, c, "10.0.0.1", "10.0.0.2:80", traffic.HTTP(method+" "+path+" HTTP/1.1", "Host: a"+headers, ""), traffic.HTTP("HTTP/1.1 "+status+" x", "", ""))
			}
			hold(t, of(t, openTraffic(t, &w), "missing-auth"), tt.want...)
		})
	}
}

// TestRefusedCallsOfGRPC: gRPC refuses in its status, in a response whose status is 200.
func TestRefusedCallsOfGRPC(t *testing.T) {
	message := "\x00\x00\x00\x00\x02\x08\x01"
	call := func(w *traffic.Capture, at time.Duration, auth, status string) {
		trailer := "grpc-status: " + status + "\r\n"
		body := message + "\x80" + string([]byte{0, 0, 0, byte(len(trailer))}) + trailer
		w.Exchange(at, ms, auth+status, "10.0.0.1", "10.0.0.2:80", traffic.HTTP("POST /shop.Orders/List HTTP/1.1", "Host: a\r\nContent-Type: application/grpc-web+proto"+auth, message),
			traffic.HTTP("HTTP/1.1 200 OK", "Content-Type: application/grpc-web+proto", body))
	}
	for status, want := range map[string]string{
		"16": "info: 1 call from 10.0.0.1 to POST /shop.Orders/List of 10.0.0.2 without credentials was refused; 1 other carries them",
		"7":  "info: 1 call from 10.0.0.1 to POST /shop.Orders/List of 10.0.0.2 without credentials was refused; 1 other carries them",
		"0":  "high: 1 call from 10.0.0.1 to POST /shop.Orders/List of 10.0.0.2 succeeded without credentials; 1 other carries them",
		"5":  "",
	} {
		var w traffic.Capture
		call(&w, 0, "\r\nAuthorization: Bearer abc", "0")
		call(&w, 10*ms, "", status)
		got := of(t, openTraffic(t, &w), "missing-auth")
		if want == "" {
			hold(t, got)
		} else {
			hold(t, got, want)
		}
	}
}

// Contents of files.
const (
	program = "MZ\x90\x00\x03\x00\x00\x00\x04\x00\x00\x00\xff\xff\x00\x00\xb8\x00\x00\x00\x00\x00\x00\x00\x40"
	script  = "#!/bin/sh\necho hello\n"
	archive = "PK\x03\x04\x14\x00\x00\x00\x08\x00aaaabbbbccccddddeeee\x05\x00\x00\x00a.txtxxxxx"
)

// TestRiskyFiles has files of each kind.
func TestRiskyFiles(t *testing.T) {
	for _, tt := range []struct{ name, server, path, typ, content, upload, want string }{
		{"a program", "10.0.0.2", "/setup.exe", "application/octet-stream", program, "", "medium: 10.0.0.1 and 10.0.0.2: 1 file downloaded without encryption, of type application/vnd.microsoft.portable-executable setup.exe"},
		{"a program from the outside", "203.0.113.2", "/setup.exe", "application/octet-stream", program, "", "high: 10.0.0.1 and 203.0.113.2: 1 file downloaded without encryption, of type application/vnd.microsoft.portable-executable, with an outside address"},
		{"a picture that is a program", "10.0.0.2", "/cat.jpg", "application/octet-stream", program, "", "high: 10.0.0.1 and 10.0.0.2: 1 file downloaded with content of type application/vnd.microsoft.portable-executable, which its name or declared type contradicts cat.jpg"},
		{"a declared picture", "10.0.0.2", "/cat", "image/png", program, "", "high: 10.0.0.1 and 10.0.0.2: 1 file downloaded with content of type"},
		{"a script", "10.0.0.2", "/run.sh", "application/x-sh", script, "", "low: 10.0.0.1 and 10.0.0.2: 1 file downloaded without encryption, of type text/x-shellscript"},
		{"a script from the outside", "203.0.113.2", "/run.sh", "application/x-sh", script, "", "low: 10.0.0.1 and 203.0.113.2: 1 file downloaded without encryption, of type text/x-shellscript "},
		{"a script as text", "10.0.0.2", "/run", "text/plain\r\nContent-Disposition: attachment; filename=run", script, "", "low: 10.0.0.1 and 10.0.0.2: 1 file downloaded without encryption, of type text/x-shellscript"},
		{"a style that is a script", "10.0.0.2", "/a.css", "text/css", script, "", "high: 10.0.0.1 and 10.0.0.2: 1 file downloaded with content of type text/x-shellscript"},
		{"an archive", "203.0.113.2", "/a.zip", "application/zip", archive, "", "info: 10.0.0.1 and 203.0.113.2: 1 file downloaded without encryption, of type application/zip"},
		{"text", "203.0.113.2", "/a.txt", "text/plain", "hello", "", ""},
		{"an upload", "203.0.113.2", "/in.exe", "text/html", "", program, "high: 10.0.0.1 and 203.0.113.2: 1 file uploaded without encryption, of type application/vnd.microsoft.portable-executable, with an outside address"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var w traffic.Capture
			method, headers := "GET", ""
			if tt.upload != "" {
				method, headers = "PUT", "\r\nContent-Type: application/octet-stream"
			}
			w.Exchange(0, ms, "a", "10.0.0.1", tt.server+":80", traffic.HTTP(method+" "+tt.path+" HTTP/1.1", "Host: "+tt.server+headers, tt.upload), traffic.HTTP("HTTP/1.1 200 OK", "Content-Type: "+tt.typ, tt.content))
			got := of(t, openTraffic(t, &w), "risky-file")
			if tt.want == "" {
				hold(t, got)
				return
			}
			hold(t, got, tt.want)
		})
	}
}

// said is one side of a connection, which notes what it sends.
type said struct {
	net.Conn
	client bool
	list   *[][2]string // of the client and the server
}

func (s said) Write(b []byte) (int, error) {
	side := 1
	if s.client {
		side = 0
		*s.list = append(*s.list, [2]string{})
	}
	(*s.list)[len(*s.list)-1][side] += string(b)
	return s.Conn.Write(b)
}

// encrypt returns what both sides send if a client has one request in TLS 1.2, and the log of their keys.
func encrypt(t *testing.T, request, response string) (list [][2]string, keys []byte) {
	t.Helper()
	var log bytes.Buffer
	a, b := net.Pipe() // a write ends when the other side has read it, so only one side writes at a time
	server := tls.Server(said{b, false, &list}, &tls.Config{Certificates: []tls.Certificate{issued(t)}, MaxVersion: tls.VersionTLS12, SessionTicketsDisabled: true})
	done := make(chan error, 1)
	go func() {
		_, err := io.ReadFull(server, make([]byte, len(request)))
		if err == nil {
			_, err = io.WriteString(server, response)
		}
		done <- err
	}()
	client := tls.Client(said{a, true, &list}, &tls.Config{InsecureSkipVerify: true, KeyLogWriter: &log})
	if _, err := io.WriteString(client, request); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(client, make([]byte, len(response))); err != nil {
		t.Fatal(err)
	}
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	return list, log.Bytes()
}

// TestEncryptedFiles are no risk on the way, but may be disguised.
func TestEncryptedFiles(t *testing.T) {
	for path, want := range map[string][]string{
		"/setup.exe": nil,
		"/cat.jpg":   {"high: 10.0.0.1 and 10.0.0.2: 1 file downloaded with content of type application/vnd.microsoft.portable-executable, which its name or declared type contradicts cat.jpg"},
	} {
		list, keys := encrypt(t, traffic.HTTP("GET "+path+" HTTP/1.1", "Host: a", ""), traffic.HTTP("HTTP/1.1 200 OK", "Content-Type: application/octet-stream", program))
		var w traffic.Capture
		for i, m := range list {
			w.Exchange(time.Duration(i)*10*ms, ms, "a", "10.0.0.1", "10.0.0.2:443", m[0], m[1])
		}
		k := openWith(t, &w, keys)
		if n := count(t, k, "decrypted_by and path == \""+path+"\""); n != 1 {
			t.Fatalf("%d decrypted calls", n)
		}
		hold(t, of(t, k, "risky-file"), want...)
	}
}

// TestRiskyFilesAreCountedTogether by ends, kind, type and direction.
func TestRiskyFilesAreCountedTogether(t *testing.T) {
	var w traffic.Capture
	for i := range 7 {
		for client := 1; client <= 2; client++ {
			w.Exchange(time.Duration(i)*time.Second, ms, fmt.Sprint(client), fmt.Sprint("10.0.0.", client), "10.0.0.9:80", traffic.HTTP(fmt.Sprintf("GET /%d.exe HTTP/1.1", i%6), "Host: a", ""), traffic.HTTP("HTTP/1.1 200 OK", "Content-Type: application/octet-stream", program))
		}
	}
	list := find(t, openTraffic(t, &w), finding.In{Names: []string{"risky-file"}})
	hold(t, strings.Split(strings.TrimSpace(what(list)), "\n"),
		"10.0.0.1 and 10.0.0.9: 7 files downloaded without encryption, of type application/vnd.microsoft.portable-executable 0.exe 1.exe 2.exe 3.exe 4.exe",
		"10.0.0.2 and 10.0.0.9: 7 files downloaded without encryption, of type application/vnd.microsoft.portable-executable 0.exe 1.exe 2.exe 3.exe 4.exe")
	if list[0].Kind != "executable" || len(list[0].CallIDs) != 3 || list[0].First != "2026-02-25T06:13:20.000000000Z" || list[0].Last != "2026-02-25T06:13:26.000000000Z" {
		t.Errorf("%+v", list[0])
	}
}
