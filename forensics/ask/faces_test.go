package ask_test

import (
	"fmt"
	"net/netip"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/pcapsule/pcapsule/exporter"
	"github.com/pcapsule/pcapsule/forensics"
	"github.com/pcapsule/pcapsule/forensics/ask"
	"github.com/pcapsule/pcapsule/forensics/ask/asktest"
	"github.com/pcapsule/pcapsule/forensics/ask/failures"
	"github.com/pcapsule/pcapsule/forensics/ask/latency"
	"github.com/pcapsule/pcapsule/forensics/ask/service"
	"github.com/pcapsule/pcapsule/forensics/ask/servicemap"
	"github.com/pcapsule/pcapsule/forensics/ask/terms"
	"github.com/pcapsule/pcapsule/forensics/ask/trace"
	"github.com/pcapsule/pcapsule/internal/captures"
	"github.com/pcapsule/pcapsule/internal/nightly"
)

// unlike are public captures unlike the samples, about which answers once contradicted each other.
var unlike = []string{"mixed/ndpi-whatsapp_login_call.pcap", "other/arkime-stun-ice-testcall.pcap", "sip/zeek-wireshark.pcap", "other/suricata-modbus-modbus.pcap", "other/zeek-dnp3.pcap",
	"icmp/ndpi-icmp-tunnel.pcap", "other/ndpi-jabber.pcap", "link/zeek-Teredo.pcap", "mixed/zeek-nmap-vsn.pcap", "other/ipfixprobe-ovpn.pcap"}

// together is how many captures are in one bundle: what is asked costs the same for any number of them.
const together = 8

// eachCapture opens bundles of all samples, and of public captures if there are any, and runs a test of each.
func eachCapture(t *testing.T, test func(t *testing.T, c *forensics.Case)) {
	files, err := filepath.Glob(asktest.Sample("*.pcap*"))
	if err != nil || len(files) < 40 {
		t.Fatalf("%d samples: %v", len(files), err)
	}
	if dir := captures.Find(); dir != "" {
		for _, name := range unlike {
			files = append(files, filepath.Join(dir, name))
		}
	}
	for group := range slices.Chunk(files, together) {
		name := filepath.Base(group[0])
		t.Run(name, func(t *testing.T) { test(t, asktest.Share(t, "each "+name, group, exporter.Options{})) })
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

// TestTracesStateNoTimeThatNobodySaw: a call of which only the response was captured has no duration, and one without a
// response is not said to have spent time in its server.
func TestTracesStateNoTimeThatNobodySaw(t *testing.T) {
	seen := map[string]int{}
	eachCapture(t, func(t *testing.T, c *forensics.Case) {
		rows, _, err := ask.Rows[ending](ctx, c, 10, `SELECT min(lower(hex(call_id))) AS id, error AS outcome, max(waited_us) / 1000.0 AS took FROM calls
			WHERE error IN ('no_request', 'no_response') AND elapsed_us IS NULL GROUP BY error, protocol ORDER BY ALL`)
		if err != nil {
			t.Fatal(err)
		}
		for _, x := range rows {
			out, err := trace.Ask(ctx, c, trace.In{CallID: x.ID})
			if err != nil {
				t.Fatal(err)
			}
			for _, one := range out.Chains {
				if one.Calls != 1 {
					continue
				}
				seen[x.Outcome]++
				if x.Outcome == "no_request" && one.ElapsedMs > 0 || strings.Contains(one.What, "was spent in ") || x.Took != nil && one.ElapsedMs > *x.Took+0.002 {
					t.Errorf("call %s has the error %s: %s", x.ID, x.Outcome, one.What)
				}
			}
		}
	})
	if seen["no_request"] < 2 || seen["no_response"] < 3 {
		t.Errorf("too few calls were traced: %v", seen)
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

// TestEdgesAreTheSameInEveryAnswer: an edge of the map is found by the address of its server, and get_dependencies and
// describe_service state the calls and the health of the map.
func TestEdgesAreTheSameInEveryAnswer(t *testing.T) {
	edges, rated := 0, 0
	eachCapture(t, func(t *testing.T, c *forensics.Case) {
		m, err := servicemap.AskServiceMap(ctx, c, servicemap.ServiceMapIn{Scope: ask.Scope{Limit: 1000}})
		if err != nil {
			t.Fatal(err)
		}
		dependents, callers := map[string][]servicemap.Dependency{}, map[string][]service.ServicePeer{}
		for i := range m.Edges[:min(nightly.Of(3, together), len(m.Edges))] {
			e := &m.Edges[i]
			if e.Src == e.Dst {
				continue
			}
			edges++
			if _, asked := dependents[e.Dst]; !asked {
				dependents[e.Dst], callers[e.Dst] = dependentsOf(t, c, e.Dst), callersOf(t, c, e.Dst)
			}
			at := slices.IndexFunc(dependents[e.Dst], func(x servicemap.Dependency) bool { return x.Src == e.Src && x.Dst == e.Dst })
			if at < 0 {
				t.Errorf("%s to %s: get_dependencies does not list it", e.Src, e.Dst)
				continue
			}
			d := dependents[e.Dst][at]
			if d.Calls != e.Calls || d.Failed != e.Failed || d.Faults != e.Faults || d.Faults > d.Calls {
				t.Errorf("%s to %s: the map has %d calls, %d failed, %d faults; get_dependencies %d, %d, %d", e.Src, e.Dst, e.Calls, e.Failed, e.Faults, d.Calls, d.Failed, d.Faults)
			}
			at = slices.IndexFunc(callers[e.Dst], func(p service.ServicePeer) bool { return p.Peer == e.Src })
			if at >= 0 && len(e.Protocols) == 1 && !strings.Contains(d.Why, "connection") {
				rated++
				if p := callers[e.Dst][at]; p.Health != d.Health || e.Calls > 0 && p.Calls != e.Calls {
					t.Errorf("%s to %s: describe_service says %d calls, %s (%s), get_dependencies %d, %s (%s)", e.Src, e.Dst, p.Calls, p.Health, p.Why, e.Calls, d.Health, d.Why)
				}
			}
		}
	})
	if edges < nightly.Of(15, 40) || rated < nightly.Of(4, 15) {
		t.Errorf("only %d edges and %d ratings were compared", edges, rated)
	}
}

// dependentsOf finds the clients of a server by one of its addresses.
func dependentsOf(t *testing.T, c *forensics.Case, name string) []servicemap.Dependency {
	t.Helper()
	rows, _, err := ask.Rows[struct {
		IP string `json:"ip"`
	}](ctx, c, 1, "SELECT dst_ip AS ip FROM calls WHERE dst_who = $1 OR dst_external AND host = $1 AND "+terms.NamesServer+" ORDER BY dst_who <> $1, call_no", name)
	if err != nil {
		t.Fatal(err)
	}
	if len(rows) > 0 {
		name = rows[0].IP
	}
	d, err := servicemap.AskDependencies(ctx, c, servicemap.DependenciesIn{Service: name, Scope: ask.Scope{Limit: 1000}})
	if err != nil {
		t.Fatal(err)
	}
	if len(d.Services) > 0 && d.Services[0].Place == terms.Outside && slices.Contains(d.Transitive, terms.AnyOutside) {
		t.Errorf("%s may be its own dependent: %v", name, d.Summary)
	}
	return d.Upstream
}

// callersOf lists the clients of a server as describe_service does, if the server has one address and no other name.
func callersOf(t *testing.T, c *forensics.Case, name string) []service.ServicePeer {
	t.Helper()
	n, err := ask.One[struct {
		Others int64 `json:"others"`
	}](ctx, c, "SELECT count(*) AS others FROM calls WHERE (dst_ip = $1 OR host = $1) AND dst_who <> $1", name)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := netip.ParseAddr(name); err != nil || n.Others > 0 {
		return nil
	}
	s, err := service.AskService(ctx, c, service.ServiceIn{Service: name, Scope: ask.Scope{Limit: 1000}})
	if err != nil {
		t.Fatal(err)
	}
	if s.Matched != "some" {
		t.Errorf("%s is a server in the map, but %s of it", name, s.Matched)
	}
	if s.NoID != nil && s.NoID.Of == 0 {
		t.Errorf("%s: a share of no requests: %+v", name, s.NoID)
	}
	return s.Callers
}

// TestEndpointsAreThoseOfTheirCalls: the filter of each endpoint matches as many calls as the endpoint has, and their column
// endpoint has its name. Calls of SMB and NFS have a path that is no part of their endpoint.
func TestEndpointsAreThoseOfTheirCalls(t *testing.T) {
	endpoints := 0
	eachCapture(t, func(t *testing.T, c *forensics.Case) {
		out, err := latency.AskAPIStats(ctx, c, latency.APIStatsIn{Scope: ask.Scope{Limit: 1000}})
		if err != nil {
			t.Fatal(err)
		}
		for i, e := range out.Endpoints {
			if i == 20*together {
				break
			}
			endpoints++
			if n := asktest.Matching(t, c, e.KFL); n != e.Calls {
				t.Errorf("%s %s at %s has %d calls, its filter %s matches %d", e.Protocol, e.Endpoint, e.Dst, e.Calls, e.KFL, n)
			}
		}
	})
	if endpoints < 200 {
		t.Errorf("only %d endpoints were compared", endpoints)
	}
}
