package bundle

import (
	"bytes"
	"errors"
	"math"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
)

func TestManifestComesBack(t *testing.T) {
	m := &Manifest{
		SchemaVersion: SchemaVersion, Tool: Tool{"pcapsule", "1", "linux/arm64"},
		Inputs: []Input{
			{FileID: 1, Path: "data/packets/import/001-b", Packets: math.MaxInt64, FirstNs: At(math.MinInt64), LastNs: At(math.MaxInt64)},
			{FileID: 0, Path: "data/packets/import/000-a", SHA256Original: &Digest{1, 2}, BigEndian: true},
		},
		SideInputs: []SideInput{{Kind: "kube", Path: "data/inputs/kube.json", Name: "dump.json"}},
		Filters:    Filters{BPF: "tcp port 80 && x < 1", FromNs: At(-1)},
		Tables:     []Table{{Name: "flows"}, {Name: "calls", Protocol: "http1"}, {Name: "calls", Protocol: "dns"}},
	}
	data, err := m.Encode()
	must(t, err)
	got, err := ParseManifest(data)
	must(t, err)
	if diff := cmp.Diff(m.sorted(), got, cmp.AllowUnexported(Input{})); diff != "" {
		t.Error(diff)
	}
	again, err := got.Encode()
	must(t, err)
	if !bytes.Equal(data, again) {
		t.Error("encoding twice gives other bytes")
	}
	for _, want := range []string{`"1969-12-31T23:59:59.999999999Z"`, `"2262-04-11T23:47:16.854775807Z"`, `x < 1`} {
		if !bytes.Contains(data, []byte(want)) {
			t.Errorf("no %s in %s", want, data)
		}
	}
	if got.Tables[0].Protocol != "dns" || got.Inputs[0].FileID != 0 || got.Input(2) != nil {
		t.Error("lists are not in order")
	}
}

func TestParseManifestRefuses(t *testing.T) {
	const head = `{"schema_version":1,`
	tests := []struct{ name, text, want string }{
		{"nothing", ``, "EOF"},
		{"not an object", `[]`, "JSON"},
		{"no version", `{}`, "schema version 0"},
		{"version below one", `{"schema_version":-1}`, "schema version -1"},
		{"version with a fraction", `{"schema_version":1.5}`, "JSON"},
		{"later version", `{"schema_version":2,"inputs":7}`, "newer schema"},
		{"more after the value", `{"schema_version":1} {}`, "more after"},
		{"path above", head + `"inputs":[{"path":"data/packets/../../x"}]}`, "path"},
		{"absolute path", head + `"inputs":[{"path":"/data/packets/x"}]}`, "path"},
		{"path elsewhere", head + `"inputs":[{"path":"custody/x"}]}`, "path"},
		{"side path elsewhere", head + `"side_inputs":[{"path":"data/packets/x"}]}`, "path"},
		{"file id twice", head + `"inputs":[{"path":"data/packets/a"},{"path":"data/packets/b"}]}`, "twice"},
		{"path twice", head + `"inputs":[{"path":"data/packets/a"},{"file_id":1,"path":"data/packets/a"}]}`, "twice"},
		{"size below zero", head + `"inputs":[{"path":"data/packets/a","size":-1}]}`, "below zero"},
		{"short digest", head + `"inputs":[{"path":"data/packets/a","sha256":"00"}]}`, "digest"},
		{"table that is a path", head + `"tables":[{"name":"../x"}]}`, "lower-case"},
		{"protocol that is a pattern", head + `"tables":[{"name":"calls","protocol":"*"}]}`, "lower-case"},
		{"time without nine digits", head + `"window":{"first":"2026-01-02T03:04:05Z"}}`, "time"},
		{"time out of range", head + `"window":{"first":"2400-01-02T03:04:05.000000000Z"}}`, "64-bit"},
		{"very deep", strings.Repeat(`[`, 20_000), "depth"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			m, err := ParseManifest([]byte(tt.text))
			if m != nil || err == nil || !strings.Contains(err.Error(), tt.want) && !errors.Is(err, ErrNewerSchema) {
				t.Errorf("got %v, %v, want %q", m, err, tt.want)
			}
			if errors.Is(err, ErrNewerSchema) != (tt.name == "later version") {
				t.Errorf("got %v", err)
			}
		})
	}
}

func TestInputCountsWhatItDoesNotList(t *testing.T) {
	var in Input
	for range MaxDamage + 5 {
		in.AddDamage(Damage{Detail: strings.Repeat("ä", maxText)})
	}
	for range MaxInterfaces + 5 {
		in.AddInterface(Interface{Name: "a\xff"})
	}
	if len(in.Damage) != MaxDamage || in.DamageMore != 5 || len(in.Interfaces) != MaxInterfaces || in.InterfacesMore != 5 {
		t.Errorf("%d + %d damage, %d + %d interfaces", len(in.Damage), in.DamageMore, len(in.Interfaces), in.InterfacesMore)
	}
	if d := in.Damage[0].Detail; len(d) > maxText+3 || !utf8.ValidString(d) {
		t.Errorf("detail of %d bytes", len(d))
	}
	large := Input{}
	for range 2000 {
		large.AddInterface(Interface{Description: strings.Repeat("x", 100_000), Comments: []string{strings.Repeat("y", 100_000)}})
	}
	if large.InterfacesMore == 0 || len(large.Interfaces) < 100 {
		t.Errorf("%d + %d interfaces with large texts", len(large.Interfaces), large.InterfacesMore)
	}
}

func TestManifestAboveItsLimitLosesInterfaces(t *testing.T) {
	m := &Manifest{}
	for i := range 20 {
		in := Input{FileID: int32(i), Path: "data/packets/" + string(rune('a'+i)), InterfacesMore: 1}
		for range 512 {
			in.Interfaces = append(in.Interfaces, Interface{Comments: []string{strings.Repeat("c", maxText)}})
		}
		m.Inputs = append(m.Inputs, in)
	}
	data, err := m.Encode()
	must(t, err)
	got, err := ParseManifest(data)
	must(t, err)
	if len(data) > MaxManifest || got.Inputs[0].InterfacesMore != 513 || len(m.Inputs[0].Interfaces) != 512 {
		t.Errorf("%d bytes, %d interfaces not listed", len(data), got.Inputs[0].InterfacesMore)
	}
}

func FuzzManifest(f *testing.F) {
	m := &Manifest{Inputs: []Input{{Path: "data/packets/a", FirstNs: At(1)}}, Tables: []Table{{Name: "flows"}}}
	data, err := m.Encode()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(data)
	f.Add([]byte(`{"schema_version":1}`))
	f.Add([]byte(`{"schema_version":9,"tool":{"name":"x"}}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		m, err := ParseManifest(data)
		if (m == nil) == (err == nil) {
			t.Fatalf("both or neither: %v, %v", m, err)
		}
		if err != nil {
			return
		}
		text, err := m.Encode()
		if err != nil {
			t.Fatalf("accepted but not written: %v", err)
		}
		again, err := ParseManifest(text)
		if err != nil {
			t.Fatalf("written but not accepted: %v", err)
		}
		if diff := cmp.Diff(m.sorted(), again, cmp.AllowUnexported(Input{})); diff != "" {
			t.Fatal(diff)
		}
	})
}

func FuzzLines(f *testing.F) {
	f.Add(writeLines([]line{{"data/a b", Digest{1}}, {"data/c", Digest{2}}}))
	f.Add([]byte(strings.Repeat("A", 64) + " *data/x\r\n"))
	f.Add([]byte(strings.Repeat("0", 64) + "  ../x\n"))
	f.Add([]byte(strings.Repeat("A", 64) + " ** **"))
	f.Fuzz(func(t *testing.T, data []byte) {
		lines, err := parseLines(data)
		if err != nil {
			return
		}
		again, err := parseLines(writeLines(lines))
		if err != nil || !slices.Equal(again, lines) {
			t.Fatalf("%q: %v, then %v: %v", data, lines, again, err)
		}
	})
}
