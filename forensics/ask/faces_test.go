package ask_test

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"github.com/pcapsule/pcapsule/exporter"
	"github.com/pcapsule/pcapsule/forensics"
	"github.com/pcapsule/pcapsule/forensics/ask"
	"github.com/pcapsule/pcapsule/forensics/ask/failures"
	"github.com/pcapsule/pcapsule/internal/captures"
)

// unlike are public captures unlike the samples, about which answers once contradicted each other.
var unlike = []string{"mixed/ndpi-whatsapp_login_call.pcap", "other/arkime-stun-ice-testcall.pcap", "sip/zeek-wireshark.pcap", "other/suricata-modbus-modbus.pcap", "other/zeek-dnp3.pcap",
	"icmp/ndpi-icmp-tunnel.pcap", "other/ndpi-jabber.pcap", "link/zeek-Teredo.pcap", "mixed/zeek-nmap-vsn.pcap", "other/ipfixprobe-ovpn.pcap"}

// eachCapture opens every sample, and public captures if there are any, and runs a test of each.
func eachCapture(t *testing.T, test func(t *testing.T, c *forensics.Case)) {
	files, err := filepath.Glob(filepath.Join("..", "..", "samples", "*.pcap*"))
	if err != nil || len(files) < 40 {
		t.Fatalf("%d samples: %v", len(files), err)
	}
	if dir := captures.Find(); dir != "" && !testing.Short() {
		for _, name := range unlike {
			files = append(files, filepath.Join(dir, name))
		}
	}
	for _, file := range files {
		name := filepath.Base(file)
		t.Run(name, func(t *testing.T) { test(t, share(t, "each "+name, []string{file}, exporter.Options{})) })
	}
}

// TestFailuresAgreeWithTheirCalls: the class of a group, the origin of its failures and how long its calls took are what the
// calls show, in the same terms in which get_latency states them.
func TestFailuresAgreeWithTheirCalls(t *testing.T) {
	groups := 0
	eachCapture(t, func(t *testing.T, c *forensics.Case) {
		out, err := failures.Ask(ctx, c, failures.In{Scope: ask.Scope{Limit: 1000}})
		if err != nil {
			t.Fatal(err)
		}
		for _, g := range out.Groups {
			groups++
			for _, x := range endings(t, c, g.CallIDs) {
				if none := x.Outcome == "no_answer"; (g.Class == "no_answer") != none && g.Class != "tls" && g.Class != "dns" {
					t.Errorf("%s to %s: class %s, but call %s ended with %s", g.Endpoint, g.Dst, g.Class, x.ID, x.Outcome)
				}
				if x.Took != nil && (g.MinMs == nil || *x.Took < *g.MinMs-0.002 || *x.Took > *g.MaxMs+0.002) || x.Took == nil && g.Calls == 1 && g.P50Ms != nil {
					t.Errorf("%s to %s took %v to %v ms, but call %s took %v", g.Endpoint, g.Dst, g.MinMs, g.MaxMs, x.ID, x.Took)
				}
			}
		}
		for _, o := range out.Causes {
			for _, x := range endings(t, c, o.CallIDs) {
				if o.What == "no_answer" && x.Answered {
					t.Errorf("the origin %s %s at %s is no answer, but call %s has one", o.Endpoint, o.Status, o.Dst, x.ID)
				}
			}
		}
	})
	if groups < 30 {
		t.Errorf("only %d groups were compared", groups)
	}
}

// ending is how a call ended.
type ending struct {
	ID       string   `json:"id"`
	Outcome  string   `json:"outcome"`
	Answered bool     `json:"answered"`
	Took     *float64 `json:"took"`
}

func endings(t *testing.T, c *forensics.Case, ids []string) []ending {
	t.Helper()
	list, _, err := ask.Rows[ending](ctx, c, 10, fmt.Sprintf(`SELECT lower(hex(call_id)) AS id, outcome, response_bytes > 0 AND outcome NOT IN ('no_answer', 'cut') AS answered,
		CASE WHEN outcome = 'no_answer' THEN waited_us ELSE elapsed_us END / 1000.0 AS took FROM calls WHERE lower(hex(call_id)) IN ('%s')`, strings.Join(ids, "', '")))
	if err != nil {
		t.Fatal(err)
	}
	return list
}
