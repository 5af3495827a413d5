package ask_test

import (
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os/exec"
	"strings"
	"testing"

	"github.com/pcapsule/pcapsule/forensics"
	"github.com/pcapsule/pcapsule/forensics/ask/asktest"
)

// TestCitationsOfAnswersOpenInTshark looks in the frames that tshark shows for the requests of the calls that answers cite.
func TestCitationsOfAnswersOpenInTshark(t *testing.T) {
	if _, err := exec.LookPath("tshark"); err != nil {
		t.Skip("needs tshark")
	}
	out, err := exec.Command("tshark", "-n", "-r", asktest.Sample("shop.pcapng"), "-T", "jsonraw", "-j", "frame").Output()
	if err != nil {
		t.Fatal(err)
	}
	var shown []struct {
		Source struct {
			Layers struct {
				Raw []any `json:"frame_raw"`
			} `json:"layers"`
		} `json:"_source"`
	}
	if err := json.Unmarshal(out, &shown); err != nil {
		t.Fatal(err)
	}
	c := asktest.Open(t, "shop.pcapng")
	r, err := c.Query(ctx, forensics.Query{SQL: "SELECT lower(hex(call_id)), method || ' ' || path FROM calls WHERE protocol = 'http1' AND method IS NOT NULL", Limit: 1 << 20})
	if err != nil {
		t.Fatal(err)
	}
	requests := map[string]string{}
	for _, row := range r.Rows {
		requests[row[0].(string)], _ = row[1].(string)
	}
	for _, q := range []struct{ name, in string }{
		{"find_failures", `{"list_calls":true}`}, {"trace_request", `{"text":"12345"}`}, {"get_timeline", `{"workload":"payment"}`}, {"audit_access", `{"service":"payment"}`},
		{"get_pair", `{"src":"frontend","dst":"payment"}`}, {"search_content", `{"pattern":"12345"}`}, {"list_objects", `{}`},
		{"get_pair", `{"src":"gateway","dst":"frontend"}`},
	} {
		checked := 0
		eachCited(asktest.Put(t, c, q.name, q.in), func(id, packets string) {
			want := requests[id]
			if want == "" {
				return
			}
			checked++
			var data strings.Builder
			_, list, _ := strings.Cut(strings.Replace(packets, "frames", "frame", 1), "shop.pcapng frame ")
			for part := range strings.SplitSeq(list, ",") {
				var first, last int
				if n, _ := fmt.Sscanf(part, "%d-%d", &first, &last); n < 2 {
					last = first
				}
				for no := max(first, 1); no <= min(last, len(shown)); no++ {
					digits, _ := shown[no-1].Source.Layers.Raw[0].(string)
					bytes, _ := hex.DecodeString(digits)
					data.Write(bytes)
				}
			}
			if !strings.Contains(data.String(), want) {
				t.Errorf("%s: call %s cites %q, where tshark does not show %q", q.name, id, packets, want)
			}
		})
		if checked == 0 {
			t.Errorf("%s %s cites no request", q.name, q.in)
		}
	}
}

// eachCited calls do for each object of an answer that has a call and packets.
func eachCited(v any, do func(id, packets string)) {
	switch x := v.(type) {
	case map[string]any:
		id, _ := x["call_id"].(string)
		if packets, ok := x["packets"].(string); ok && id != "" {
			do(id, packets)
		}
		for _, e := range x {
			eachCited(e, do)
		}
	case []any:
		for _, e := range x {
			eachCited(e, do)
		}
	}
}
