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
