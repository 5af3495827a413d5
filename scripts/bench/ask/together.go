package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/pcapsule/pcapsule/mcp"
)

// mixed are the questions that clients ask in turn, each from another place on.
var mixed = []string{"list_cases", "get_overview", "list_api_calls", "get_service_map", "get_api_stats", "get_api_call", "find_failures",
	"get_latency", "list_l4_flows", "get_dependencies", "trace_request", "describe_service", "list_external", "get_pair"}

// together lets clients ask at once and says how long each waited for its answers.
func together(ctx context.Context, server *mcp.Server, f *facts, o options) error {
	forgetPeak()
	until := time.Now().Add(o.mix)
	times, errs := make([][]time.Duration, o.clients), make([]error, o.clients)
	var all sync.WaitGroup
	for i := range o.clients {
		all.Go(func() { times[i], errs[i] = oneOfMany(ctx, server, f, i, until) })
	}
	all.Wait()
	if err := errors.Join(errs...); err != nil {
		return err
	}
	fmt.Printf("\n%d clients at once for %.0f s; %s\n%-10s %8s %9s %9s %9s\n", o.clients, o.mix.Seconds(), load(), "client", "answers", "p50 s", "p99 s", "worst s")
	fewest, most, total := len(times[0]), 0, 0
	for i, t := range times {
		slices.Sort(t)
		fmt.Printf("%-10d %8d %9.2f %9.2f %9.2f\n", i+1, len(t), middle(t).Seconds(), t[len(t)*99/100].Seconds(), t[len(t)-1].Seconds())
		fewest, most, total = min(fewest, len(t)), max(most, len(t)), total+len(t)
	}
	fmt.Printf("fewest answers / most: %.2f; %.1f answers a second in all; peak %d MiB\n", float64(fewest)/float64(most), float64(total)/o.mix.Seconds(), peak())
	return nil
}

func oneOfMany(ctx context.Context, server *mcp.Server, f *facts, no int, until time.Time) ([]time.Duration, error) {
	a, err := connect(ctx, server, fmt.Sprintf("client-%d", no+1))
	if err != nil {
		return nil, err
	}
	defer a.Close()
	var times []time.Duration
	for i := no; time.Now().Before(until) || len(times) == 0; i++ {
		tool := mixed[i%len(mixed)]
		inputs := f.inputs(tool)
		begin := time.Now()
		if _, err := call(ctx, a, tool, inputs[i/len(mixed)%len(inputs)]); err != nil {
			return nil, err
		}
		times = append(times, time.Since(begin))
	}
	return times, nil
}
