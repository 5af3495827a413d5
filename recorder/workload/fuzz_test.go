package workload

import (
	"bytes"
	"encoding/json"
	"errors"
	"net/netip"
	"os"
	"slices"
	"testing"
	"unicode/utf8"
)

func FuzzAddKube(f *testing.F) {
	for _, name := range []string{"shop-1000.json", "shop-1030.json"} {
		text, err := os.ReadFile("testdata/" + name)
		if err != nil {
			f.Fatal(err)
		}
		var list struct{ Items []json.RawMessage }
		if err := json.Unmarshal(text, &list); err != nil {
			f.Fatal(err)
		}
		for _, item := range list.Items {
			var small bytes.Buffer
			if json.Compact(&small, item) == nil {
				f.Add(small.Bytes())
			}
		}
	}
	f.Add([]byte(`{"kind":"PodList","items":[{"metadata":{"name":"p"},"status":{"podIP":"10.0.0.1"}}]}`))
	f.Add([]byte(`{"items":[{"apiVersion":"pcapsule.dev/v1","kind":"Host","metadata":{"name":"h"},"pcapsule":{"source":"s","addresses":[{"address":"10.0.0.1"}]}}]}`))
	f.Add([]byte("[{\"kind\":\"Service\",\"metadata\":{\"name\":\"\\u001b\"}},[\x1e"))
	f.Fuzz(func(t *testing.T, text []byte) {
		x := NewIndex()
		stats, err := x.AddKube("dump", bytes.NewReader(text))
		var place *SyntaxError
		if err != nil && (!errors.As(err, &place) || place.Offset < 0 || place.Offset > int64(len(text))) {
			t.Fatalf("error without a place: %v", err)
		}
		if stats.Kept+stats.Unused+stats.Malformed+stats.Oversize+stats.Limited != stats.Objects {
			t.Fatalf("object counts do not add up: %+v", stats)
		}
		x.Lookup(netip.AddrFrom4([4]byte{10, 0, 0, 1}), 80, 6, 1)
		var first, second bytes.Buffer
		if err := x.WriteUsed(&first); err != nil {
			t.Fatal(err)
		}
		y := NewIndex()
		if _, err := y.AddKube("again", bytes.NewReader(first.Bytes())); err != nil {
			t.Fatal(err)
		}
		if err := y.WriteUsed(&second); err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(first.Bytes(), second.Bytes()) {
			t.Fatalf("the reduced dump changes when it is read again:\n%s\n%s", first.Bytes(), second.Bytes())
		}
		a, _ := json.Marshal([]any{slices.Collect(x.EachWorkload()), x.Events(), x.Ranges()})
		b, _ := json.Marshal([]any{slices.Collect(y.EachWorkload()), y.Events(), y.Ranges()})
		if !bytes.Equal(a, b) {
			t.Fatalf("the reduced dump gives different answers:\n%s\n%s", a, b)
		}
	})
}

func FuzzAddHosts(f *testing.F) {
	text, err := os.ReadFile("testdata/hosts")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(text)
	f.Add([]byte("10.0.0.1 a\x00b # c\r\n::ffff:10.0.0.2%0 d"))
	f.Fuzz(func(t *testing.T, text []byte) {
		x := NewIndex()
		stats, err := x.AddHosts("hosts", bytes.NewReader(text))
		if err == nil && stats.Bytes != int64(len(text)) {
			t.Fatalf("read %d of %d bytes", stats.Bytes, len(text))
		}
		for _, names := range x.names {
			for _, n := range names {
				if !utf8.ValidString(n.name) || n.name == "" {
					t.Fatalf("name %q", n.name)
				}
			}
		}
	})
}

func FuzzComments(f *testing.F) {
	f.Add("PID: 7\nCmd: /usr/bin/curl\nArgs: curl x", "PodName: a\nPodNamespace: b\nPodUID: c\nPodLabels: {\"a\":\"b\"}")
	f.Add("rustnet process=a pid=1 pod=b ns=c pod_uid=d", `{"ring":"r","pod":"p","labels":{"a":"b"},"addresses":["10.0.0.1"],"valid_from":"2026-03-02T09:00:00Z"}`)
	f.Add("", `{"ring":"r","pod":"p","services":["a"],"ports":{"a":["TCP/80","UDP/80","TCP/0","/9","TCP/+1","TCP/70000"],"":["TCP/1"],"b":["TCP/80","TCP/80"]}}`)
	f.Fuzz(func(t *testing.T, a, b string) {
		if o, ok := ParsePtcpdump(a, b); ok && (o.Identity.Kind == "" || !utf8.ValidString(o.Identity.Name)) {
			t.Fatalf("%+v", o)
		}
		c, ok := ParseInterfaceComment(b)
		if !ok {
			return
		}
		text := FormatInterfaceComment(c)
		if len(text) > maxComment {
			t.Fatalf("%d bytes", len(text))
		}
		d, ok := ParseInterfaceComment(text)
		if !ok || FormatInterfaceComment(d) != text {
			t.Fatalf("%s\nbecomes\n%s", text, FormatInterfaceComment(d))
		}
	})
}
