package cite

import (
	"slices"
	"strings"
	"testing"
)

func TestText(t *testing.T) {
	for _, x := range []struct {
		name string
		list []Frames
		want string
	}{
		{"one", []Frames{{File: "a.pcap", First: 7, Last: 7}}, "a.pcap frame 7"},
		{"ranges", []Frames{{File: "a.pcap", First: 7, Last: 9}, {File: "a.pcap", First: 12, Last: 12}}, "a.pcap frames 7-9,12"},
		{"two files", []Frames{{File: "a.pcap", First: 7, Last: 7}, {File: "b; c:1.pcap", First: 1, Last: 2}}, "a.pcap frame 7; b; c:1.pcap frames 1-2"},
		{"hidden", []Frames{{File: "a.pcap", First: 7, Last: 7}, {File: "a.pcap", First: 9, Last: 9, Hidden: true}}, "a.pcap frame 7; a.pcap packet 9 (not shown by Wireshark)"},
	} {
		got := Text(x.list)
		if got != x.want {
			t.Errorf("%s: %q, want %q", x.name, got, x.want)
		}
		back, err := Parse(got, []string{"a.pcap", "b", "b; c:1.pcap"})
		if err != nil || !slices.Equal(back, x.list) {
			t.Errorf("%s: read back as %v, %v", x.name, back, err)
		}
	}
	var many []Frames
	for i := int64(1); i < 200; i += 2 {
		many = append(many, Frames{File: "a.pcap", First: i, Last: i})
	}
	if got := Text(many); !strings.HasSuffix(got, "77,79, … 100 frames in all") {
		t.Errorf("many: %q", got)
	}
}

func TestParse(t *testing.T) {
	for _, x := range []struct{ text, want, problem string }{
		{"a.pcap:3-5", "a.pcap frames 3-5", ""},
		{"a.pcap:3,8-9", "a.pcap frames 3,8-9", ""},
		{"a.pcap frames 3, 8", "a.pcap frames 3,8", ""},
		{"c.pcap:3", "", "does not begin with a file"},
		{"3", "", "does not begin with a file"},
		{"a.pcap:0", "", "from 1"},
		{"a.pcap:5-3", "", "from 1"},
		{"a.pcap:9223372036854775808", "", "from 1"},
		{"a.pcap frames 1,3, … 100 frames in all", "", "shortened"},
		{"", "", "no frames"},
	} {
		got, err := Parse(x.text, []string{"a.pcap", "b.pcap"})
		if x.problem != "" {
			if err == nil || !strings.Contains(err.Error(), x.problem) {
				t.Errorf("%q: %v, want an error with %q", x.text, err, x.problem)
			}
			continue
		}
		if err != nil || Text(got) != x.want {
			t.Errorf("%q: %q, %v, want %q", x.text, Text(got), err, x.want)
		}
	}
	if got, err := Parse("frames 3-4", []string{"only.pcap"}); err != nil || Text(got) != "only.pcap frames 3-4" {
		t.Errorf("without the name of the only file: %v, %v", got, err)
	}
	if got, err := Parse("3-4", []string{"only.pcap"}); err != nil || Text(got) != "only.pcap frames 3-4" {
		t.Errorf("numbers alone: %v, %v", got, err)
	}
}

func FuzzParse(f *testing.F) {
	f.Add("a.pcap frames 7-9,12; b.pcap:3")
	f.Fuzz(func(t *testing.T, text string) {
		list, err := Parse(text, []string{"a.pcap", "b.pcap"})
		if (err == nil) != (len(list) > 0) {
			t.Fatalf("%v and %v", list, err)
		}
		if err != nil || len(list) > Most {
			return
		}
		again, err := Parse(Text(list), []string{"a.pcap", "b.pcap"})
		if err != nil || !slices.Equal(again, list) {
			t.Fatalf("%q: %v became %v, %v", text, list, again, err)
		}
	})
}
