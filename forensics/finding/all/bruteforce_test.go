package all_test

import (
	"encoding/base64"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/pcapsule/pcapsule/forensics"
	"github.com/pcapsule/pcapsule/forensics/finding"
	"github.com/pcapsule/pcapsule/samples/traffic"
)

// TestBruteForce plants logins: guessing, spraying, a busy gateway with wrong passwords, a slow client, and a login
// that succeeds in the end.
func TestBruteForce(t *testing.T) {
	var c traffic.Capture
	port := 0
	try := func(at time.Duration, client, server, request, response string) {
		port++
		c.Exchange(at, ms, fmt.Sprint(port), client, server, request, response)
	}
	web := func(at time.Duration, client, server string, ok bool) {
		status := "HTTP/1.1 401 Unauthorized"
		if ok {
			status = "HTTP/1.1 200 OK"
		}
		try(at, client, server, traffic.HTTP("GET /in HTTP/1.1", "Host: a\r\nAuthorization: Basic "+base64.StdEncoding.EncodeToString([]byte(fmt.Sprint("bob:", port))), ""), traffic.HTTP(status, "", ""))
	}
	bind := func(at time.Duration, client, server, name string, code int) {
		body := "\x02\x01\x03\x04" + string(rune(len(name))) + name + "\x80\x06secret"
		try(at, client, server, "\x30"+string(rune(len(body)+5))+"\x02\x01\x01\x60"+string(rune(len(body)))+body, "\x30\x0c\x02\x01\x01\x61\x07\x0a\x01"+string(rune(code))+"\x04\x00\x04\x00")
	}
	ftp := func(at time.Duration, client, server, user, answer string) {
		try(at, client, server, "USER "+user+"\r\nPASS wrong\r\n", "220 ready\r\n331 password\r\n"+answer+"\r\n")
	}
	second := time.Second
	for i := range 12 {
		d := time.Duration(i) * second
		web(d, "10.0.0.1", "10.0.0.2:80", false)                                         // guessing
		web(d, "10.0.0.1", "10.0.0.9:80", i%2 == 0)                                      // most do not fail
		web(d*120, "10.0.0.4", "10.0.0.2:80", false)                                     // slowly
		bind(d, "10.0.0.3", "10.0.0.2:389", fmt.Sprintf("cn=user%d,dc=example", i), 49)  // spraying
		ftp(d, "203.0.113.7", "10.0.0.2:21", "ann", "530 Login incorrect.")              // from outside
		ftp(d, "10.0.0.5", "10.0.0.2:21", []string{"ann", "eve"}[i/6], "530 incorrect.") // enters in the end
		try(d, "10.0.0.6", "10.0.0.2:80", traffic.HTTP("GET /in HTTP/1.1", "Host: a", ""), traffic.HTTP("HTTP/1.1 401 Unauthorized", "WWW-Authenticate: Basic\r\n", ""))
		if i < 6 { // an account each: spraying of few, and one less
			bind(d, "10.0.0.10", "10.0.0.2:389", fmt.Sprintf("cn=few%d,dc=example", i), 49)
		}
		if i < 5 {
			bind(d, "10.0.0.11", "10.0.0.2:389", fmt.Sprintf("cn=few%d,dc=example", i), 49)
		}
		if i < 9 {
			web(d, "10.0.0.8", "10.0.0.2:80", false) // too few
		}
	}
	for i := range 300 { // a gateway of many users, some of whom mistype
		code := 0
		if i%4 == 0 {
			code = 49
		}
		bind(time.Duration(i)*second, "10.0.0.7", "10.0.0.2:389", fmt.Sprintf("cn=user%d,dc=example", i%80), code)
	}
	ftp(20*second, "10.0.0.5", "10.0.0.2:21", "eve", "230 Login successful.")
	k := openTraffic(t, &c)
	list := find(t, k, finding.In{Names: []string{"brute-force"}})
	var got []string
	for _, f := range list {
		got = append(got, fmt.Sprintf("%s %s %s: %s", f.Kind, f.Severity, f.Confidence, f.What))
		if len(f.CallIDs) != 3 || strings.Contains(f.What+strings.Join(f.Evidence, " "), "wrong") {
			t.Errorf("%+v", f)
		}
		one, err := k.Query(ctx, forensics.Query{KFL: f.KFL, Count: true})
		if err != nil || one.Rows[0][0] != f.Count {
			t.Errorf("%s: %v, %v, want %d calls", f.KFL, err, one, f.Count)
		}
	}
	hold(t, got,
		"guessing high likely: (outside) failed to log in to 10.0.0.2 over ftp 12 times (of 12 logins), up to 12 within ten minutes, with 1 account",
		"spraying high likely: 10.0.0.3 failed to log in to 10.0.0.2 over ldap 12 times (of 12 logins), up to 12 within ten minutes, with 12 accounts",
		"guessing high likely: 10.0.0.5 failed to log in to 10.0.0.2 over ftp 12 times (of 13 logins), up to 12 within ten minutes, with 2 accounts; afterwards it logged in as eve",
		"spraying high likely: 10.0.0.10 failed to log in to 10.0.0.2 over ldap 6 times (of 6 logins), up to 6 within ten minutes, with 6 accounts",
		"guessing medium likely: 10.0.0.1 failed to log in to 10.0.0.2 over http 12 times (of 12 logins), up to 12 within ten minutes")
}

// TestGuessedDatabases has passwords of databases that are guessed.
func TestGuessedDatabases(t *testing.T) {
	for n, want := range map[int]string{10: "medium: 10.0.0.1 failed to log in to 10.0.0.2 over redis 10 times (of 11 logins), up to 10 within ten minutes", 9: ""} {
		var w traffic.Capture
		for i := range n {
			w.Exchange(time.Duration(i)*time.Second, ms, "a", "10.0.0.1", "10.0.0.2:6379", fmt.Sprintf("*2\r\n$4\r\nAUTH\r\n$7\r\nsecret%d\r\n", i%10), "-WRONGPASS invalid username-password pair or user is disabled.\r\n")
		}
		w.Exchange(20*time.Second, ms, "a", "10.0.0.1", "10.0.0.2:6379", "*2\r\n$4\r\nAUTH\r\n$7\r\ncorrect\r\n", "+OK\r\n")
		w.Close(30*time.Second, "a")
		holdOne(t, &w, "brute-force", want)
	}
}
