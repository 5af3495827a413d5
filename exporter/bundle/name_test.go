package bundle

import (
	"path/filepath"
	"strings"
	"testing"
)

func TestSafeName(t *testing.T) {
	tests := []struct{ name, in, want string }{
		{"plain name stays", "trace-1_a.pcapng", "trace-1_a.pcapng"},
		{"folders go", "/home/ann/x.pcap", "x.pcap"},
		{"folders of Windows go", `C:\Users\ann\x.pcap`, "x.pcap"},
		{"climbing goes", "../..", "capture"},
		{"nothing gets a name", "", "capture"},
		{"standard input gets a name", "-", "capture"},
		{"hidden name shows", ".bashrc", "bashrc"},
		{"option is none", "-rf.pcap", "rf.pcap"},
		{"blanks, quotes and line ends", "a 'b'\n\tc.pcap", "a_b_c.pcap"},
		{"other scripts", "日本.pcap", "_.pcap"},
		{"bytes that are no text", "\xff\xfe", "capture"},
		{"device of Windows", "con.pcap", "_con.pcap"},
		{"numbered device of Windows", "LPT1", "_lpt1"},
		{"upper case goes", "Shop-Node1.PCAPNG", "shop-node1.pcapng"},
		{"dot at the end", "a.pcap.", "a.pcap"},
		{"percent and colon", "50%:x", "50_x"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := SafeName(tt.in); got != tt.want {
				t.Errorf("SafeName(%q) = %q, want %q", tt.in, got, tt.want)
			}
		})
	}
	if got := SafeName(strings.Repeat("a", 500) + ".pcapng"); len(got) != maxName || !strings.HasSuffix(got, "a.pcapng") {
		t.Errorf("long name became %q", got)
	}
}

func FuzzSafeName(f *testing.F) {
	f.Add("a.pcap")
	f.Add(strings.Repeat("x.", 80))
	f.Fuzz(func(t *testing.T, in string) {
		got := SafeName(in)
		if !portable("data/packets/import/000-"+got) || !portable(got) || strings.Contains(got, "/") || len(got) > maxName+1 {
			t.Fatalf("SafeName(%q) = %q", in, got)
		}
		if again := SafeName(got); again != got {
			t.Fatalf("SafeName(%q) = %q, then %q", in, got, again)
		}
	})
}

func TestBuilderRefusesNamesThatSomeSystemRefuses(t *testing.T) {
	for _, rel := range []string{
		"data/a:b", "data/a?", "data/a*", "data/<a>", `data/"a"`, "data/a|b", `data/a\b`, "data/a.", "data/a ", "data/con", "data/NUL.txt",
		"data/com1.pcap", "data/aux/x", "data/A", "data/a~1", "data/\u00e9", "data/.a", "data/-a", "data/" + strings.Repeat("a", maxElement+1),
	} {
		b, err := Create(filepath.Join(t.TempDir(), "x.pcapsule"), CreateOptions{})
		must(t, err)
		if _, err := b.Create(rel); err == nil {
			t.Errorf("%s was made", rel)
		}
		b.Abort()
	}
}
