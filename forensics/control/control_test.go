package control_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pcapsule/pcapsule/exporter"
	"github.com/pcapsule/pcapsule/forensics"
	"github.com/pcapsule/pcapsule/forensics/ask"
	"github.com/pcapsule/pcapsule/forensics/control"
	"github.com/pcapsule/pcapsule/forensics/finding"
	"github.com/pcapsule/pcapsule/forensics/finding/all"
	"github.com/pcapsule/pcapsule/recorder/pcapng"
	"github.com/pcapsule/pcapsule/recorder/ring"
	"github.com/pcapsule/pcapsule/recorder/workload"
	"github.com/pcapsule/pcapsule/samples/traffic"
)

const ms = time.Millisecond

var ok = traffic.HTTP("HTTP/1.1 200 OK", "", "")

// bundled exports inputs and opens the bundle.
func bundled(t *testing.T, o exporter.Options, inputs ...string) *forensics.Case {
	t.Helper()
	out := filepath.Join(t.TempDir(), "t.pcapsule")
	o.Release, o.Repanic = "test", true
	if _, err := exporter.Run(context.Background(), inputs, out, o); err != nil {
		t.Fatal(err)
	}
	c, err := forensics.Open(context.Background(), []string{out}, forensics.Options{Threads: 2, MaskSecrets: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// imported is a case of a capture file that says nothing about its origin.
func imported(t *testing.T, c *traffic.Capture) *forensics.Case {
	t.Helper()
	file := filepath.Join(t.TempDir(), "made.pcap")
	if err := c.Write(file); err != nil {
		t.Fatal(err)
	}
	return bundled(t, exporter.Options{}, file)
}

// recorded is a case of a recorder on node-1, in a cluster with these nodes. It lost some packets,
// and had a policy.
func recorded(t *testing.T, c *traffic.Capture, lost int, policy string, nodes ...string) *forensics.Case {
	t.Helper()
	dir := t.TempDir()
	w, err := ring.Create(ring.Options{Dir: filepath.Join(dir, "ring"), Node: "node-1", SyncEvery: -1})
	if err != nil {
		t.Fatal(err)
	}
	s, err := w.Series(ring.SeriesOptions{Name: "interfaces", LinkType: 1, Header: func(h *ring.Header) { h.Policy = policy },
		Account: func(k ring.Totals) ring.Account {
			return ring.Account{Counters: &ring.Counters{Seen: k.Kept + uint64(lost), Delivered: k.Kept, Dropped: uint64(lost)}}
		}})
	if err != nil {
		t.Fatal(err)
	}
	id, err := s.Interface(pcapng.Interface{Name: "eth0", Comments: []string{workload.FormatInterfaceComment(workload.InterfaceComment{Ring: w.Ring()})}})
	if err != nil {
		t.Fatal(err)
	}
	c.Packets(func(ns int64, data []byte) {
		if err := s.Append(&ring.Packet{Interface: id, Time: ns, Data: data, OrigLen: uint32(len(data))}); err != nil {
			t.Fatal(err)
		}
	})
	if err := w.Close(context.Background()); err != nil {
		t.Fatal(err)
	}
	dump := filepath.Join(dir, "kube.json")
	var items []string
	for _, n := range nodes {
		items = append(items, `{"apiVersion":"v1","kind":"Node","metadata":{"name":"`+n+`","uid":"`+n+`","creationTimestamp":"2026-01-01T00:00:00Z"},"status":{"addresses":[{"type":"InternalIP","address":"10.9.0.1"}]}}`)
	}
	if err := os.WriteFile(dump, []byte(`{"apiVersion":"v1","kind":"List","items":[`+strings.Join(items, ",")+`]}`), 0o600); err != nil {
		t.Fatal(err)
	}
	return bundled(t, exporter.Options{Kube: []string{dump}}, filepath.Join(dir, "ring"))
}

func run(t *testing.T, c *forensics.Case, in control.In) *control.Out {
	t.Helper()
	out, err := control.Run(context.Background(), c, all.Analyzers(), in)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// one judges one control.
func one(t *testing.T, c *forensics.Case, id string, in control.In) control.Control {
	t.Helper()
	in.Controls = []string{id}
	out := run(t, c, in)
	if len(out.Controls) != 1 || out.Controls[0].Control != id {
		t.Fatalf("%+v, want %s alone", out.Controls, id)
	}
	return out.Controls[0]
}

// expect checks a verdict, and that its reason contains texts.
func expect(t *testing.T, got control.Control, v control.Verdict, why ...string) {
	t.Helper()
	if got.Verdict != v {
		t.Errorf("%s is %s, want %s: %s", got.Control, got.Verdict, v, got.Why)
	}
	for _, w := range why {
		if !strings.Contains(got.Why, w) {
			t.Errorf("%s: %q lacks %q", got.Control, got.Why, w)
		}
	}
}

// clean is traffic without findings.
func clean() *traffic.Capture {
	var c traffic.Capture
	for i := range 5 {
		c.Exchange(time.Duration(i)*time.Second, ms, "web", "10.0.0.1", "10.0.0.2:80", traffic.HTTP("GET /orders HTTP/1.1", "Host: shop", ""), ok)
	}
	return &c
}

// withTelnet is clean traffic and a Telnet session.
func withTelnet() *traffic.Capture {
	c := clean()
	c.Exchange(2*time.Second, ms, "telnet", "10.0.0.1", "10.0.0.3:2323", "\xff\xfb\x18\xff\xfb\x20", "\xff\xfd\x18\xff\xfd\x20")
	return c
}

func TestAbsenceNeedsTheWholePicture(t *testing.T) {
	const id = "nist80053/CM-7" // no deprecated protocol
	expect(t, one(t, recorded(t, clean(), 0, "", "node-1"), id, control.In{}), control.Evidence, "none of 1 connection from 2026-", " s) is an exception (sought: ", "whole window", "; evidence for: protocols in use in this time")
	expect(t, one(t, recorded(t, clean(), 7, "", "node-1"), id, control.In{}), control.NotExamined, "no exception was seen among 1 connection from 2026-", " s), but 1 coverage gap leaves out part of the window (drop)")
	expect(t, one(t, recorded(t, clean(), 0, "", "node-1", "node-2"), id, control.In{}), control.NotExamined, "1 node was not recorded (node-2)")
	expect(t, one(t, recorded(t, clean(), 0, ""), id, control.In{}), control.NotExamined, "the vantage is unknown")

	file := imported(t, clean())
	expect(t, one(t, file, id, control.In{}), control.NotExamined, "the vantage is unknown", "do not count lost packets")
	out := run(t, file, control.In{Controls: []string{id}, Attest: true})
	expect(t, out.Controls[0], control.Evidence)
	if !out.Basis.Attested || !strings.Contains(strings.Join(out.Basis.Limits, " "), "states that the capture points see all traffic") {
		t.Errorf("the answer does not repeat the statement: %+v", out.Basis)
	}
	// A statement does not outweigh what the files report.
	expect(t, one(t, recorded(t, clean(), 7, "", "node-1"), id, control.In{Attest: true}), control.NotExamined, "drop")
}

func TestLossesDoNotHideAViolation(t *testing.T) {
	for name, c := range map[string]*forensics.Case{"whole": recorded(t, withTelnet(), 0, "", "node-1"), "lossy": recorded(t, withTelnet(), 7, "", "node-1"), "unknown": imported(t, withTelnet())} {
		got := one(t, c, "nist80053/CM-7", control.In{})
		expect(t, got, control.Contradicted, "1 finding contradicts it, first: 10.0.0.1 uses Telnet", "; examined: 2 connections from 2026-")
		if got.Total != 1 || len(got.Exceptions) != 1 || len(got.Exceptions[0].CallIDs) == 0 || got.Population.Count != 2 {
			t.Errorf("%s: %+v", name, got)
		}
	}
}

// record is a record of TLS.
func record(kind byte, body string) string {
	return string([]byte{kind, 3, 3, byte(len(body) >> 8), byte(len(body))}) + body
}

// hello is a ClientHello (kind 1) or ServerHello (kind 2) of TLS 1.2 with a suite.
func hello(kind byte, suite string) string {
	body := "\x03\x03" + strings.Repeat("r", 32) + "\x00"
	if kind == 1 {
		body += "\x00\x02" + suite + "\x01\x00"
	} else {
		body += suite + "\x00"
	}
	return record(0x16, string([]byte{kind, 0, byte(len(body) >> 8), byte(len(body))})+body)
}

// withTLS is clean traffic, and a connection with TLS that no key opens.
func withTLS(handshake bool) *traffic.Capture {
	c := clean()
	if handshake {
		c.Exchange(2*time.Second, ms, "tls", "10.0.0.1", "10.0.0.3:443", hello(1, "\xc0\x2f"), hello(2, "\xc0\x2f"))
	}
	data := record(0x17, strings.Repeat("e", 64))
	for i := range 3 {
		c.Exchange(3*time.Second+time.Duration(i)*ms*10, ms, "tls", "10.0.0.1", "10.0.0.3:443", data, data)
	}
	return c
}

func TestWhatIsEncryptedCannotBeJudged(t *testing.T) {
	login := func(c *traffic.Capture) *traffic.Capture {
		c.Exchange(4*time.Second, ms, "login", "10.0.0.1", "10.0.0.9:80", traffic.HTTP("GET /orders HTTP/1.1", "Host: shop\r\nAuthorization: Bearer abc", ""), ok)
		return c
	}
	c := recorded(t, login(withTLS(true)), 0, "", "node-1")
	expect(t, one(t, c, "nist80053/IA-2", control.In{}), control.NotExamined, "1 of 3 connections could not be decrypted")
	expect(t, one(t, c, "pci/8.3.2", control.In{}), control.Contradicted, "1 call with credentials that could be read")
	expect(t, one(t, c, "iso27001/A.8.21", control.In{}), control.Evidence, "none of 1 TLS handshake")
	c = recorded(t, withTLS(true), 0, "", "node-1")
	expect(t, one(t, c, "pci/8.3.2", control.In{}), control.NotExamined, "no call with credentials that could be read was recorded")
	c = recorded(t, withTLS(false), 0, "", "node-1")
	expect(t, one(t, c, "pci/1.2.6", control.In{}), control.NotExamined, "1 encrypted connection's handshake was not recorded")
	expect(t, one(t, c, "iso27001/A.8.21", control.In{}), control.NotExamined, "no TLS handshake with a known version and suite was recorded")
}

func TestListsDecideWhatIsAllowed(t *testing.T) {
	c := clean()
	c.Exchange(time.Second, ms, "out", "10.0.0.1", "203.0.113.9:80", traffic.HTTP("GET / HTTP/1.1", "Host: api.example.org", ""), ok)
	k := recorded(t, c, 0, "", "node-1")
	expect(t, one(t, k, "pci/1.3.2", control.In{}), control.NotExamined, "no list of allowed outside destinations was given")
	expect(t, one(t, k, "pci/1.3.2", control.In{Allow: []string{"*.example.org"}}), control.Evidence, "none of 1 connection to outside")
	expect(t, one(t, k, "pci/1.3.2", control.In{Allow: []string{"*.example.net"}}), control.Contradicted, "not on the allow-list")
}

// TestSensitiveAuthenticationData checks PCI DSS 3.3.1: the recording itself keeps no such data.
func TestSensitiveAuthenticationData(t *testing.T) {
	const id = "pci/3.3.1"
	const policy = "never port=5432; unknown: drop"
	pay := func(bodies ...string) *traffic.Capture {
		c := clean()
		for i, body := range bodies {
			c.Exchange(2*time.Second+time.Duration(i)*10*ms, ms, "pay", "10.0.0.1", "10.0.0.4:80", traffic.HTTP("POST /pay HTTP/1.1", "Host: pay\r\nContent-Type: application/json", body), ok)
		}
		return c
	}
	got := one(t, recorded(t, clean(), 0, policy, "node-1"), id, control.In{})
	expect(t, got, control.Evidence, "The recording policy on node node-1 was: "+policy)

	got = one(t, recorded(t, pay(`{"card":"4111111111111111","cvv":"123"}`, `{"t":";4111111111111111=26121010000012300000?"}`,
		`{"t":"%B4000000000000002^DOE/JANE^2612101000000?"}`, `{"pinBlock":"0A1B2C3D4E5F6071"}`), 0, policy, "node-1"), id, control.In{})
	expect(t, got, control.Contradicted, "3 findings contradict it")
	if !slices.ContainsFunc(got.Limits, func(l string) bool { return strings.Contains(l, policy) }) {
		t.Errorf("limits %q do not state the policy", got.Limits)
	}
	calls := map[string]int64{}
	for _, e := range got.Exceptions {
		kind, _, _ := strings.Cut(e.What, " ")
		calls[kind] = e.Count
	}
	if calls["card_code"] != 1 || calls["track_data"] != 2 || calls["pin_block"] != 1 {
		t.Errorf("%v calls", calls)
	}
	expect(t, one(t, recorded(t, pay(`{"card":"4111111111111111"}`, `{"cvv":"","cv":"1234","received":"1234","discount_code":"123"}`, `{"t":"4111111111111112=26121010000012300000"}`), 0, policy, "node-1"), id, control.In{}), control.Evidence)
	// What was lost is not kept; what is encrypted may contain it.
	expect(t, one(t, recorded(t, clean(), 7, policy, "node-1"), id, control.In{}), control.Evidence)
	expect(t, one(t, recorded(t, withTLS(true), 0, policy, "node-1"), id, control.In{}), control.NotExamined, "could not be decrypted")
}

func TestEachAccessToCardsIsListed(t *testing.T) {
	c := clean()
	for i := range 6 {
		at := time.Duration(i) * 100 * ms
		c.Exchange(at, ms, "pay", "10.0.0.1", "10.0.0.4:80", traffic.HTTP("POST /pay HTTP/1.1", "Host: pay\r\nContent-Type: application/json", `{"card":"4111111111111111"}`), ok)
		c.Exchange(at+50*ms, ms, "look", "10.0.0.5", "10.0.0.4:80", traffic.HTTP("GET /pay/7 HTTP/1.1", "Host: pay", ""), traffic.HTTP("HTTP/1.1 200 OK", "Content-Type: application/json", `{"card":"4000000000000002","again":"4000000000000002"}`))
	}
	const id = "pci/10.2.1.1"
	out := run(t, recorded(t, c, 0, "", "node-1"), control.In{Controls: []string{id}})
	expect(t, out.Controls[0], control.Evidence, "all 12 accesses to such data from 2026-", "are listed", "to compare with the logs of the applications")
	if len(out.Accesses) != 12 || !slices.IsSortedFunc(out.Accesses, func(a, b ask.Call) int { return strings.Compare(a.Time, b.Time) }) || out.Accesses[0].Packets == "" {
		t.Errorf("%d accesses: %+v", len(out.Accesses), out.Accesses)
	}
	short := run(t, recorded(t, c, 7, "", "node-1"), control.In{Controls: []string{id}, Scope: ask.Scope{Limit: 5}})
	expect(t, short.Controls[0], control.NotExamined, "12 accesses were seen from 2026-", "drop")
	if len(short.Accesses) != 5 || short.Controls[0].Population.Count != 12 || !short.Truncated {
		t.Errorf("%d accesses of %d, truncated %v", len(short.Accesses), short.Controls[0].Population.Count, short.Truncated)
	}
	expect(t, one(t, recorded(t, clean(), 0, "", "node-1"), id, control.In{}), control.NotExamined, "no access to such data was recorded")
}

// TestRecordingIsNoMonitoring checks that neither a recording nor its losses decide controls about monitoring, logs and
// inventories.
func TestRecordingIsNoMonitoring(t *testing.T) {
	for _, id := range []string{"dora/RTS-12(2)(c)", "dora/10", "nist80053/SI-4", "nist80053/AU-12", "fedramp/SI-4(4)", "iso27001/A.8.16", "iso27001/A.8.15", "soc2/CC7.2", "soc2/CC7.3",
		"pci/11.5.1", "pci/11.5.1.1", "pci/12.3.3", "pci/10.2.1", "pci/10.2.1.2", "pci/10.2.1.3", "pci/10.2.1.4", "pci/10.2.1.5", "pci/10.2.1.6", "pci/10.2.1.7", "pci/10.2.2", "hipaa/164.312(b)", "nis2/IR-3.2", "gdpr/33"} {
		for _, lost := range []int{0, 7} {
			got := one(t, recorded(t, withTLS(true), lost, "", "node-1"), id, control.In{Attest: true})
			expect(t, got, control.Outside, "traffic does not show whether the control is met", "from 2026-")
			if len(got.Limits) == 0 || got.Part != "" {
				t.Errorf("%s: limits %q, part %q", id, got.Limits, got.Part)
			}
		}
	}
	expect(t, one(t, imported(t, clean()), "dora/RTS-12(2)(f)", control.In{}), control.NotExamined, "1 clock does not say")
}

// TestOneSecondOfDNS: a little traffic is evidence for little, and the sentence says how little.
func TestOneSecondOfDNS(t *testing.T) {
	var c traffic.Capture
	query := "\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x04shop\x04test\x00\x00\x01\x00\x01"
	answer := "\x12\x34\x81\x80\x00\x01\x00\x01\x00\x00\x00\x00\x04shop\x04test\x00\x00\x01\x00\x01\xc0\x0c\x00\x01\x00\x01\x00\x00\x00\x3c\x00\x04\x0a\x00\x00\x02"
	c.Datagram(0, "10.0.0.1", "10.0.0.53:53", query)
	c.Reply(time.Second, "10.0.0.1", "10.0.0.53:53", answer)
	out := run(t, recorded(t, &c, 0, "", "node-1"), control.In{Scope: ask.Scope{All: true}, Attest: true, Allow: []string{"shop->db", "*.example.org"}})
	var evidence []string
	for _, k := range out.Controls {
		if k.Verdict == control.Contradicted {
			t.Errorf("%s: %s", k.Control, k.Why)
		}
		if k.Verdict != control.Evidence {
			continue
		}
		evidence = append(evidence, k.Control)
		if !strings.Contains(k.Why, "none of 2 connections from 2026-") && !strings.Contains(k.Why, "none of 2 calls that could be read from 2026-") || !strings.Contains(k.Why, "(1 s)") || !strings.Contains(k.Why, "; evidence for: "+k.Part) {
			t.Errorf("%s: %s", k.Control, k.Why)
		}
	}
	want := []string{"pci/1.2.6", "pci/2.2.4", "pci/3.3.1", "pci/3.5.1", "iso27001/A.8.20", "nist80053/CM-7", "fedramp/CM-7", "nis2/21(2)(g)"}
	if !slices.Equal(evidence, want) {
		t.Errorf("evidence for\n%q, want\n%q", evidence, want)
	}
}

// TestEvidenceNeedsItsObjects checks controls about credentials, data and administration: traffic without them puts
// nothing to the test.
func TestEvidenceNeedsItsObjects(t *testing.T) {
	guarded := func() *traffic.Capture {
		c := clean()
		for i := range 3 {
			c.Exchange(time.Duration(i)*10*ms+2*time.Second, ms, "in", "10.0.0.1", "10.0.0.9:80", traffic.HTTP("GET /account HTTP/1.1", "Host: shop\r\nAuthorization: Bearer abc", ""), ok)
		}
		return c
	}
	for id, why := range map[string]string{"pci/8.3.1": "no request to a service that takes credentials", "pci/4.2.1": "no call with recognized data", "gdpr/32(1)(a)": "no call with recognized data",
		"pci/2.2.7": "no administrative access", "nist80053/IA-5(1)": "no call with credentials"} {
		expect(t, one(t, recorded(t, clean(), 0, "", "node-1"), id, control.In{}), control.NotExamined, why, "was recorded from 2026-", "so the control was not put to the test")
	}
	expect(t, one(t, recorded(t, guarded(), 0, "", "node-1"), "pci/8.3.1", control.In{}), control.Evidence, "none of 3 requests to services that take credentials from 2026-")
	ssh := clean()
	ssh.Exchange(2*time.Second, ms, "ssh", "10.0.0.1", "10.0.0.3:22", "SSH-2.0-OpenSSH_9.2\r\n", "SSH-2.0-OpenSSH_9.2\r\n")
	expect(t, one(t, recorded(t, ssh, 0, "", "node-1"), "pci/2.2.7", control.In{}), control.Evidence, "none of 1 administrative access")
}

// TestBaselines checks that FedRAMP repeats the verdicts of NIST SP 800-53, with the baselines that require them.
func TestBaselines(t *testing.T) {
	out := run(t, recorded(t, withTelnet(), 0, "", "node-1"), control.In{Scope: ask.Scope{All: true}, Frameworks: []string{"nist80053", "fedramp"}})
	nist := map[string]control.Control{}
	n := 0
	for _, k := range out.Controls {
		if id, ok := strings.CutPrefix(k.Control, "nist80053/"); ok {
			nist[id] = k
			continue
		}
		n++
		same := nist[strings.TrimPrefix(k.Control, "fedramp/")]
		if len(k.Baselines) == 0 || k.Verdict != same.Verdict || k.Why != same.Why || k.Title != same.Title || k.Total != same.Total {
			t.Errorf("%+v, want that of NIST: %+v", k, same)
		}
	}
	if n != 22 || nist["CM-7"].Verdict != control.Contradicted {
		t.Errorf("%d controls of FedRAMP; CM-7 is %s", n, nist["CM-7"].Verdict)
	}
}

func TestNothingRecorded(t *testing.T) {
	out := run(t, recorded(t, clean(), 0, "", "node-1"), control.In{Scope: ask.Scope{From: "2020-01-01", To: "2020-01-02"}, Controls: []string{"nist80053/CM-7"}})
	expect(t, out.Controls[0], control.NotExamined, "nothing was recorded from 2020-01-01")
	if out.Matched != "not_recorded" {
		t.Errorf("matched %q", out.Matched)
	}
}

func TestAcceptedExceptionsStayExceptions(t *testing.T) {
	c := imported(t, withTelnet())
	id := one(t, c, "nist80053/CM-7", control.In{}).Exceptions[0].ID
	got := one(t, c, "nist80053/CM-7", control.In{Accept: "version: 1\naccepted: [{finding: " + id + ", reason: old terminal, by: Ann, until: 2026-12-31}]"})
	expect(t, got, control.Contradicted, "1 of the listed is accepted")
	if a := got.Exceptions[0].Accepted; a == nil || a.Reason != "old terminal" || a.Expired {
		t.Errorf("%+v", got.Exceptions[0])
	}
}

// TestEveryControlHasAVerdict judges all controls of the shop.
func TestEveryControlHasAVerdict(t *testing.T) {
	samples := filepath.Join("..", "..", "samples")
	c := bundled(t, exporter.Options{Kube: []string{filepath.Join(samples, "shop.kube.json")}}, filepath.Join(samples, "shop.pcapng"), filepath.Join(samples, "tls.pcapng"))
	out := run(t, c, control.In{Scope: ask.Scope{All: true}})
	again := run(t, c, control.In{Scope: ask.Scope{All: true}})
	for i, k := range out.Controls {
		if k.Why == "" || k.Population.Of == "" || (k.Verdict == control.Contradicted) != (k.Total > 0) {
			t.Errorf("%+v", k)
		}
		if again.Controls[i].Why != k.Why {
			t.Errorf("%s has two reasons: %s and %s", k.Control, k.Why, again.Controls[i].Why)
		}
		for _, e := range k.Exceptions {
			if len(e.CallIDs)+len(e.FlowIDs) == 0 && !strings.HasPrefix(e.ID, "coverage-gap/") {
				t.Errorf("%s: exception %s cites nothing", k.Control, e.ID)
			}
		}
	}
	sum := 0
	for _, f := range out.Frameworks {
		sum += f.Evidence + f.Contradicted + f.NotExamined + f.Outside
	}
	if len(out.Frameworks) != 9 || sum != len(out.Controls) || !strings.HasPrefix(out.RuleSet, "20") {
		t.Errorf("%d frameworks with %d verdicts about %d controls, rules %s", len(out.Frameworks), sum, len(out.Controls), out.RuleSet)
	}
}

func TestUnknownNames(t *testing.T) {
	c := imported(t, clean())
	for _, tt := range []struct {
		in   control.In
		want string
	}{
		{control.In{Frameworks: []string{"pcii"}}, `frameworks: unknown framework "pcii"; did you mean pci?`},
		{control.In{Frameworks: []string{"basel"}}, "use some of pci, hipaa"},
		{control.In{Controls: []string{"pci/4.2.2"}}, `unknown control "pci/4.2.2"; did you mean pci/4.2.1?`},
		{control.In{Controls: []string{"something"}}, "a framework and a number, such as pci/4.2.1"},
		{control.In{Frameworks: []string{"gdpr"}, Controls: []string{"pci/4.2.1"}}, "none of these controls belongs to gdpr"},
		{control.In{Allow: []string{"shop->"}}, "a pair of namespaces"},
		{control.In{Accept: "version: 1\naccepted:\n  - {finding: x}"}, "accept: line 3, column 5: reason is missing"},
	} {
		_, err := control.Run(context.Background(), c, all.Analyzers(), tt.in)
		var wrong *ask.InputError
		if !errors.As(err, &wrong) || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%+v: %v, want %s", tt.in, err, tt.want)
		}
	}
}

// TestControlsNameKnownFindings compares the data files with the analyzers.
func TestControlsNameKnownFindings(t *testing.T) {
	for name, kinds := range control.Selectors() {
		i := slices.IndexFunc(all.Analyzers(), func(a finding.Analyzer) bool { return a.Name == name })
		if i < 0 {
			t.Errorf("no analyzer is named %s", name)
			continue
		}
		for _, k := range kinds {
			if !slices.Contains(all.Analyzers()[i].Kinds, k) {
				t.Errorf("%s finds nothing of the kind %s", name, k)
			}
		}
	}
}
