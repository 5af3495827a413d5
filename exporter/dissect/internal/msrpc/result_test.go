package msrpc

import (
	"encoding/binary"
	"testing"

	"github.com/pcapsule/pcapsule/exporter/table"
)

func TestResults(t *testing.T) {
	le, be := binary.LittleEndian, binary.BigEndian
	for _, tt := range []struct {
		name    string
		call    Call
		stubs   []string
		sealed  bool
		order   binary.ByteOrder
		result  string
		outcome string
	}{
		{"NTSTATUS", Call{Interface: "netlogon", Operation: 26}, []string{"\x00\x00\x00\x00\x00\x00\x00\x00\xff\xff\x2f\x21\xe8\x03\x00\x00\x22\x00\x00\xc0"}, false, le, "STATUS_ACCESS_DENIED", table.Refused},
		{"an exception of the interface: the same number is a Win32 error", Call{Interface: "netlogon", Operation: 20}, []string{"\x05\x00\x00\x00"}, false, le, "ERROR_ACCESS_DENIED", table.Refused},
		{"big-endian", Call{Interface: "samr", Operation: 5}, []string{"\xc0\x00\x00\xdf"}, false, be, "STATUS_NO_SUCH_DOMAIN", table.ClientError},
		{"success", Call{Interface: "samr", Operation: 5}, []string{"aaaa\x00\x00\x00\x00"}, false, le, "", ""},
		{"a warning", Call{Interface: "samr", Operation: 13}, []string{"\x05\x01\x00\x00"}, false, le, "STATUS_MORE_ENTRIES", ""},
		{"a value in two messages", Call{Interface: "svcctl", Operation: 12}, []string{"aaaaaaaa\x05\x00", "\x00", "", "\x00"}, false, le, "ERROR_ACCESS_DENIED", table.Refused},
		{"encrypted", Call{Interface: "netlogon", Operation: 26}, []string{"\x22\x00\x00\xc0"}, true, le, "encrypted result", table.Unread},
		{"encrypted, but without a value", Call{Interface: "efsrpc", Operation: 3}, []string{"abcdabcd"}, true, le, "", ""},
		{"too short", Call{Interface: "samr", Operation: 5}, []string{"\x22\x00", "\x00"}, false, le, "result missing", table.Unread},
		{"an interface that is not known", Call{Interface: "00000001-0002-0003-0405-060708090a0b", Operation: 5}, []string{"\x22\x00\x00\xc0"}, false, le, "result not known", table.Unread},
		{"a method of an object that is not known", Call{Interface: "00000001-0002-0003-0405-060708090a0b", Operation: 5, Object: true}, []string{"\x05\x00\x07\x80"}, false, le, "E_ACCESSDENIED", table.Refused},
		{"a handle at the end", Call{Interface: "clusapi", Operation: 0}, []string{"\x22\x00\x00\xc0"}, false, le, "result not known", table.Unread},
		{"the end of a list", Call{Interface: "epmapper", Operation: 2}, []string{"\xd6\xa0\xc9\x16"}, false, le, "ept_s_not_registered", ""},
		{"nothing is registered", Call{Interface: "epmapper", Operation: 3}, []string{"\xd6\xa0\xc9\x16"}, false, le, "ept_s_not_registered", table.ClientError},
	} {
		tail := Tail{Sealed: tt.sealed}
		for _, s := range tt.stubs {
			tail.Add([]byte(s))
		}
		if r := tt.call.Result(&tail, tt.order); r.Name+r.Why != tt.result || r.Outcome != tt.outcome {
			t.Errorf("%s: %s%s %q, want %s %q", tt.name, r.Name, r.Why, r.Outcome, tt.result, tt.outcome)
		}
	}
}

// TestResultsHaveInterfaces finds a line for an interface without a name, and a word that no code reads.
func TestResultsHaveInterfaces(t *testing.T) {
	known := map[string]bool{"object": true}
	for _, name := range interfaces() {
		known[name] = true
	}
	for name, lines := range results() {
		if !known[name] {
			t.Errorf("results.txt has interface %s, which is not in interfaces.txt", name)
		}
		for n, word := range lines {
			switch word {
			case "ntstatus", "win32", "hresult", "mapi", "list", "void", "unknown":
			default:
				t.Errorf("results.txt, %s %d: %q is no kind of result", name, n, word)
			}
		}
	}
}
