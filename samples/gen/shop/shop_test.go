package main

import (
	"bufio"
	"context"
	"io"
	"net"
	"os"
	"reflect"
	"strings"
	"testing"
	"time"
)

// TestScenarios checks generated scenarios like a file, and that a seed is reproducible.
func TestScenarios(t *testing.T) {
	if err := usual().check(); err != nil {
		t.Fatal(err)
	}
	for seed := range uint64(200) {
		sc := fromSeed(seed + 1)
		if err := sc.check(); err != nil {
			t.Fatalf("seed %d: %v", seed+1, err)
		}
		if !reflect.DeepEqual(sc, fromSeed(seed+1)) {
			t.Fatalf("seed %d gives two scenarios", seed+1)
		}
		for _, a := range [][2]string{{"slow_from", "slow_to"}, {"breach_from", "breach_to"}, {"nine_from", "nine_to"}, {"evidence_from", "evidence_to"}, {"crash", "now"}, {"latency", "uploads"}, {"rollout", "latency"}} {
			if !sc.time(a[0]).Before(sc.time(a[1])) {
				t.Errorf("seed %d: %s at %s is not before %s at %s", seed+1, a[0], sc.time(a[0]), a[1], sc.time(a[1]))
			}
		}
		seen := map[string]bool{}
		for _, s := range sc.Services {
			if seen[s.Name+"."+s.Namespace] {
				t.Errorf("seed %d: two services are called %s", seed+1, s.Name)
			}
			seen[s.Name+"."+s.Namespace] = true
		}
	}
	for name, spoil := range map[string]func(*Scenario){
		"a day that is not one":   func(sc *Scenario) { sc.Today = "2026-02-30" },
		"a role without a player": func(sc *Scenario) { sc.Services = sc.Services[1:] },
		"a time that is not one":  func(sc *Scenario) { sc.Times["now"] = "25:00" },
		"a count that is missing": func(sc *Scenario) { delete(sc.Counts, "503s") },
		"a text that is missing":  func(sc *Scenario) { delete(sc.Texts, "card") },
	} {
		sc := usual()
		if spoil(sc); sc.check() == nil {
			t.Errorf("%s is taken", name)
		}
	}
}

func valid(card string) bool { return luhn(card[:len(card)-1]) == card }

func TestNumbersAreWhatTheyShouldBe(t *testing.T) {
	for _, sc := range []*Scenario{usual(), fromSeed(7), fromSeed(8)} {
		for _, k := range []string{"card", "card_2"} {
			if !valid(sc.text(k)) {
				t.Errorf("%s: %s %s has a wrong check digit", sc.Name, k, sc.text(k))
			}
		}
		if d := sc.text("card_decoy"); valid(d) || len(d) != len(sc.text("card")) {
			t.Errorf("%s: decoy %s is a card number", sc.Name, d)
		}
		good := sc.text("iban")
		if iban("DE", good[4:]) != good {
			t.Errorf("%s: %s has wrong check digits", sc.Name, good)
		}
		if d := sc.text("iban_decoy"); iban("DE", d[4:]) == d {
			t.Errorf("%s: decoy %s is an IBAN", sc.Name, d)
		}
	}
}

func TestClockNeverGoesBack(t *testing.T) {
	start := time.Date(2026, 3, 5, 0, 0, 0, 0, time.UTC)
	c := newClock(start)
	before := c.now()
	for _, d := range []time.Duration{time.Hour, -time.Hour, 0, time.Minute} {
		c.leap(start.Add(d))
		if now := c.now(); now.Before(before) {
			t.Fatalf("%s after %s", now, before)
		} else {
			before = now
		}
	}
	if before.Before(start.Add(time.Hour)) {
		t.Errorf("the clock says %s, want an hour after %s", before, start)
	}
}

func TestEndpoints(t *testing.T) {
	for path, want := range map[string]string{
		"/v1/orders/old-3?x=1": "/v1/orders/{id}", "/": "/", "/api/cart": "/api/cart", "/v1/users/u7/badges": "/v1/users/{id}/badges", "/v3/mail/send": "/v3/mail/send",
	} {
		if got := endpointOf(path); got != want {
			t.Errorf("%s is %s, want %s", path, got, want)
		}
	}
}

func TestRedisReplies(t *testing.T) {
	for _, c := range []struct {
		name, in, value string
		found, fails    bool
	}{
		{"a word", "+OK\r\n", "OK", true, false},
		{"a number", ":3\r\n", "3", true, false},
		{"a string", "$2\r\nab\r\n", "ab", true, false},
		{"nothing", "$-1\r\n", "", false, false},
		{"a list", "*2\r\n$1\r\na\r\n:4\r\n", "a 4", true, false},
		{"an error", "-ERR no\r\n", "", false, true},
		{"a string that ends early", "$5\r\nab", "", false, true},
		{"no reply at all", "", "", false, true},
		{"another protocol", "HTTP/1.1 200\r\n", "", false, true},
	} {
		value, found, err := readRESP(bufio.NewReader(strings.NewReader(c.in)))
		if (err != nil) != c.fails || err == nil && (value != c.value || found != c.found) {
			t.Errorf("%s: %q, %v, %v", c.name, value, found, err)
		}
	}
}

// TestLab makes two communicating hosts, records one of them, and cleans up.
func TestLab(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("needs root")
	}
	l, err := newLab()
	if err != nil {
		t.Fatal(err)
	}
	defer l.close()
	a, err := l.add("10.9.0.1")
	if err != nil {
		t.Fatal(err)
	}
	b, err := l.add("10.9.0.2", "10.9.0.3")
	if err != nil {
		t.Fatal(err)
	}
	ln, err := b.listen("10.9.0.3:80")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	go func() {
		if c, err := ln.Accept(); err == nil {
			io.Copy(c, c)
			c.Close()
		}
	}()
	rec, err := a.record()
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), startWait)
	defer cancel()
	c, err := a.dial(ctx, "tcp4", "", "10.9.0.3:80")
	if err != nil {
		t.Fatal(err)
	}
	io.WriteString(c, "hello")
	c.(*net.TCPConn).CloseWrite()
	said, err := io.ReadAll(c)
	if err != nil || string(said) != "hello" {
		t.Fatalf("the other host says %q, %v", said, err)
	}
	c.Close()
	time.Sleep(settle)
	frames, err := rec.finish()
	if err != nil {
		t.Fatal(err)
	}
	sent := 0
	for _, f := range frames {
		if f.sent {
			sent++
		}
	}
	if sent == 0 || sent == len(frames) {
		t.Errorf("%d of %d packets went out", sent, len(frames))
	}
}
