package bundle

import (
	"fmt"
	"testing"
)

func TestUniqueKeys(t *testing.T) {
	for text, want := range map[string]bool{
		`{}`: true, `[]`: true, `1`: true, `{"a":1,"b":{"a":1},"c":[{"a":1},{"a":1},"a","a"],"d":"a"}`: true,
		`{"a":{},"b":[],"c":"c","d":null}`: true, `{"a":"b","b":"a"}`: true,
		`{"a":1,"a":1}`: false, `{"a":1,"A":1}`: false, `{"a":{"b":1,"b":2}}`: false, `[{"a":[],"a":[]}]`: false, `{"a":{},"b":1,"a":2}`: false,
		`{"é":1,"É":2}`: false, `{"a":1,"\u0061":2}`: false, `{"s":1,"ſ":2}`: false, `{"K":1,"k":2}`: false, `{"a":`: false, `{"a" 1}`: false,
	} {
		if err := UniqueKeys([]byte(text)); (err == nil) != want {
			t.Errorf("%s: %v, want unique: %v", text, err, want)
		}
	}
}

// TestCustodyLineThatSaysTwoThings: other readers show another event than pcapsule does.
func TestCustodyLineThatSaysTwoThings(t *testing.T) {
	line := `{"seq":0,"time":"2026-11-20T00:00:00.000000000Z","event":"made","tagmanifest_sha256":"` + (Digest{}).String() + `"%s}` + "\n"
	for extra, want := range map[string]bool{``: true, `,"user":"ann"`: true, `,"user":"ann","user":"bob"`: false, `,"user":"ann","USER":"bob"`: false, `,"details":{"file":"a","File":"b"}`: false} {
		if _, err := ParseCustody([]byte(fmt.Sprintf(line, extra))); (err == nil) != want {
			t.Errorf("%s: %v, want it read: %v", extra, err, want)
		}
	}
}
