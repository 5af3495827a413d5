package all_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"testing"

	"github.com/pcapsule/pcapsule/forensics"
	"github.com/pcapsule/pcapsule/forensics/ask"
	"github.com/pcapsule/pcapsule/forensics/ask/servicemap"
	"github.com/pcapsule/pcapsule/forensics/ask/terms"
	"github.com/pcapsule/pcapsule/forensics/finding/all"
	"github.com/pcapsule/pcapsule/internal/nightly"
)

// narrowing are the questions whose filters do not repeat the service of the input.
var narrowing = []string{"compare_periods", "get_api_stats", "get_latency", "get_capacity"}

// TestFiltersMatchTheCallsThatAreCounted asks every question about samples, and runs each filter that stands beside a number
// of calls. If the number is 0, the filter is for handshakes and unknown payload, and matches no request.
func TestFiltersMatchTheCallsThatAreCounted(t *testing.T) {
	t.Parallel()
	ran := map[string]int{}
	for _, samples := range nightly.Some([][]string{{"shop.pcapng", "etcd.pcapng", "smb.pcapng", "dns.pcap"}, {"proxy.pcapng", "wireguard.pcapng", "icmp.pcap", "tls.pcapng"}}, 1) {
		c := open(t, false, samples...)
		counts := map[string]int64{}
		matching := func(kfl string) int64 {
			n, known := counts[kfl]
			if !known {
				n = count(t, c, kfl)
				counts[kfl] = n
			}
			return n
		}
		for _, name := range someNames(t, c) {
			for _, q := range all.Questions() {
				if name != "" && slices.Contains(narrowing, q.Name) {
					continue
				}
				answer, err := q.AskAll(ctx, c, inputFor(q.Name, name))
				var in *ask.InputError
				if errors.As(err, &in) || answer == nil && err == nil {
					continue
				}
				if err != nil {
					t.Fatalf("%s: %s: %v", samples, q.Name, err)
				}
				eachObject(plain(t, answer), func(o map[string]any) {
					kfl, _ := o["kfl"].(string)
					n, counted := calls(o["calls"])
					if kfl == "" || !counted {
						return
					}
					ran[q.Name]++
					got := matching(kfl)
					if n == 0 {
						got = matching("(" + kfl + ")" + terms.NotCarriers)
					}
					if got != n {
						t.Errorf("%s: %s %s: %d calls, but %d match %s", samples, q.Name, name, n, got, kfl)
					}
				})
			}
		}
	}
	if len(ran) < 6 {
		t.Errorf("only these questions have filters beside numbers: %v", slices.Sorted(maps.Keys(ran)))
	}
}

// someNames are the names of four services of a case, and none.
func someNames(t *testing.T, c *forensics.Case) []string {
	t.Helper()
	o, err := servicemap.AskOverview(context.Background(), c, servicemap.OverviewIn{}, nil)
	if err != nil {
		t.Fatal(err)
	}
	names := []string{""}
	for _, s := range o.Services[:min(nightly.Of(1, 4), len(o.Services))] {
		names = append(names, s.Name)
	}
	return names
}

// inputFor is the input of a question, about one service if the question has that parameter and name is not empty.
func inputFor(question, name string) json.RawMessage {
	if name == "" {
		return json.RawMessage(`{}`)
	}
	in := map[string]any{"service": name}
	switch question {
	case "get_pair":
		in = map[string]any{"src": "*", "dst": name}
	case "get_timeline":
		in = map[string]any{"workload": name}
	}
	text, err := json.Marshal(in)
	if err != nil {
		panic(fmt.Sprint(err))
	}
	return text
}

// calls is a number of calls, or the sum of those of two periods.
func calls(v any) (n int64, ok bool) {
	switch v := v.(type) {
	case float64:
		return int64(v), true
	case []any:
		for _, x := range v {
			f, number := x.(float64)
			if !number {
				return 0, false
			}
			n += int64(f)
		}
		return n, len(v) == 2
	}
	return 0, false
}

// eachObject calls do for every object in an answer.
func eachObject(v any, do func(map[string]any)) {
	switch v := v.(type) {
	case map[string]any:
		do(v)
		for _, x := range v {
			eachObject(x, do)
		}
	case []any:
		for _, x := range v {
			eachObject(x, do)
		}
	}
}
