package forensics_test

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/pcapsule/pcapsule/forensics"
	"github.com/pcapsule/pcapsule/samples/traffic"
)

// named lists the names of the ends of all calls, and which ends connections and flows have.
func named(t *testing.T, c *forensics.Case) string {
	t.Helper()
	ends := "src_ip, src_name, src_who, src_dns_name, src_how_known, dst_ip, dst_name, dst_who, dst_dns_name, dst_how_known"
	var b strings.Builder
	for _, sql := range []string{"SELECT hex(call_id), " + ends + " FROM calls ORDER BY ALL", "SELECT DISTINCT " + ends + " FROM connections ORDER BY ALL", "SELECT DISTINCT " + ends + " FROM flows ORDER BY ALL"} {
		for _, row := range query(t, c, forensics.Query{SQL: sql, Limit: 1 << 20}).Rows {
			fmt.Fprintln(&b, row...)
		}
	}
	return b.String()
}

// TestAddressesHaveTheNamesOfOtherBundles splits a recording without a list of objects, whose addresses only DNS answers
// name. A bundle may lack the answer, and the beginning of a connection that is older than it.
func TestAddressesHaveTheNamesOfOtherBundles(t *testing.T) {
	capture, err := filepath.Abs(filepath.Join("..", "samples", "shop.pcapng"))
	if err != nil {
		t.Fatal(err)
	}
	all := open(t, window(t, capture, 0, 0))
	want := named(t, all)
	first, last, _ := all.Window()
	for _, cut := range [][2]int64{{30, 60}, {50, 80}} {
		at := func(percent int64) int64 { return first + (last-first)/100*percent }
		a, b := window(t, capture, 0, at(cut[1])), window(t, capture, at(cut[0]), 0)
		for _, paths := range [][]string{{a, b}, {b, a}} {
			if got := named(t, open(t, paths...)); got != want {
				t.Errorf("in halves at %d: %s", cut, diff(got, want))
			}
		}
	}
}

// TestNamesAreOfOneNetwork looks up an address, which a later connection dials. The bundle of that connection has its name
// only if it shares a call with the bundle of the lookup.
func TestNamesAreOfOneNetwork(t *testing.T) {
	const question = "\x00\x01\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x03www\x07example\x03com\x00\x00\x01\x00\x01"
	const answer = "\x00\x01\x81\x80\x00\x01\x00\x01\x00\x00\x00\x00\x03www\x07example\x03com\x00\x00\x01\x00\x01\xc0\x0c\x00\x01\x00\x01\x00\x00\x00\x3c\x00\x04\x0a\x00\x00\x07"
	part := func(from, to time.Duration) string {
		var w traffic.Capture
		w.Datagram(0, "10.0.0.1", "10.0.0.53:53", question, answer)
		for i, server := range []string{"10.0.0.8:80", "10.0.0.7:80"} {
			w.Exchange(time.Duration(i+1)*time.Second, time.Millisecond, server, "10.0.0.1", server, "GET / HTTP/1.1\r\nHost: x\r\n\r\n", traffic.HTTP("HTTP/1.1 200 OK", "", ""))
		}
		w.Cut(from, to)
		file := filepath.Join(t.TempDir(), "x.pcap")
		if err := w.Write(file); err != nil {
			t.Fatal(err)
		}
		return window(t, file, 0, 0)
	}
	lookup := part(0, 1500*time.Millisecond)
	for from, want := range map[time.Duration]any{500 * time.Millisecond: "www.example.com", 1500 * time.Millisecond: nil} {
		c := open(t, lookup, part(from, time.Hour))
		if got := query(t, c, forensics.Query{SQL: "SELECT dst_dns_name FROM calls WHERE dst_ip = '10.0.0.7'"}).Rows[0][0]; got != want {
			t.Errorf("from %s: %v, want %v", from, got, want)
		}
	}
}

// lookup adds the question of a client for the address 10.0.0.ip of a name, and its answer.
func lookup(w *traffic.Capture, at time.Duration, client, name string, ip byte) {
	question := "\x00\x01\x00\x00\x00\x00\x00\x00" + string([]byte{byte(len(name))}) + name + "\x07example\x00\x00\x01\x00\x01"
	w.Datagram(at, client, "10.0.0.53:53", "\x00\x01\x01\x00"+question, "\x00\x01\x81\x80\x00\x01\x00\x01"+question[4:]+"\xc0\x0c\x00\x01\x00\x01\x00\x00\x00\x3c\x00\x04\x0a\x00\x00"+string([]byte{ip}))
}

// TestAForgedBundleReplacesNoName adds a bundle with one call of another, and answers that only it has: newer ones, ones to
// other clients, many for one address, and control characters. They name only what has no name, and the case counts it.
func TestAForgedBundleReplacesNoName(t *testing.T) {
	visit := func(w *traffic.Capture, at time.Duration, server string) {
		w.Exchange(at, time.Millisecond, server+at.String(), "10.0.0.1", server, "GET / HTTP/1.1\r\nHost: x\r\n\r\n", traffic.HTTP("HTTP/1.1 200 OK", "", ""))
	}
	made := func(fill func(w *traffic.Capture)) string {
		var w traffic.Capture
		fill(&w)
		file := filepath.Join(t.TempDir(), "x.pcap")
		if err := w.Write(file); err != nil {
			t.Fatal(err)
		}
		return window(t, file, 0, 0)
	}
	honest := made(func(w *traffic.Capture) {
		for i, server := range []string{"10.0.0.8:80", "10.0.0.7:80", "10.0.0.9:80", "10.0.0.6:80"} {
			visit(w, time.Duration(i+1)*time.Second, server)
		}
		lookup(w, 0, "10.0.0.1", "pay", 7)
		lookup(w, 0, "10.0.0.2", "files", 9)
	})
	forged := made(func(w *traffic.Capture) {
		visit(w, time.Second, "10.0.0.8:80") // the same call
		for i := range 1000 {
			lookup(w, 1100*time.Millisecond+time.Duration(i)*time.Microsecond, "10.0.0.1", fmt.Sprintf("evil%d", i), 7)
		}
		lookup(w, 1200*time.Millisecond, "10.0.0.3", "evil", 7)
		lookup(w, 1300*time.Millisecond, "10.0.0.3", "evil", 9)
		lookup(w, 1400*time.Millisecond, "10.0.0.1", "a\x1b[31m\nb", 6)
	})
	for _, paths := range [][]string{{honest, forged}, {forged, honest}} {
		c := open(t, paths...)
		var got []string
		for _, row := range query(t, c, forensics.Query{SQL: "SELECT DISTINCT dst_ip, dst_dns_name, dst_how_known FROM calls WHERE protocol = 'http1' ORDER BY ALL"}).Rows {
			got = append(got, fmt.Sprint(row...))
		}
		text := strings.Join(got, ", ")
		if !strings.Contains(text, "10.0.0.7pay.exampledns,") || !strings.Contains(text, "10.0.0.9files.exampledns_other") || strings.Contains(text, "evil") || strings.ContainsAny(text, "\x1b\n") {
			t.Errorf("names %q", text)
		}
		if n := c.Borrowed(); n != 1 {
			t.Errorf("%d names are of another bundle, want 1, that of 10.0.0.6", n)
		}
	}
	if n := open(t, honest).Borrowed(); n != 0 {
		t.Errorf("%d names of one bundle are of another", n)
	}
}
