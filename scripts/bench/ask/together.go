package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/pcapsule/pcapsule/mcp"
	"github.com/pcapsule/pcapsule/scripts/bench/ask/questions"
)

// mixed are the calls that clients make in turn, each from a different starting point.
var mixed = []string{"list_cases", "get_overview", "list_api_calls", "get_service_map", "get_api_stats", "get_api_call", "find_failures",
	"get_latency", "list_l4_flows", "get_dependencies", "trace_request", "describe_service", "list_external", "get_pair"}

// together runs clients in parallel and reports how long each waited for its answers.
func together(ctx context.Context, server *mcp.Server, f *questions.Facts, o options) error {
	forgetPeak()
	begin := time.Now()
	until := begin.Add(o.mix)
	times, kept, errs := make([][]time.Duration, o.clients), make([]int, o.clients), make([]error, o.clients)
	cpu := processorTime()
	var all sync.WaitGroup
	for i := range o.clients {
		all.Go(func() { times[i], kept[i], errs[i] = oneOfMany(ctx, server, f, i, until) })
	}
	all.Wait()
	if err := errors.Join(errs...); err != nil {
		return err
	}
	fmt.Printf("\n%d clients at once for %.0f s; %s\n%-10s %8s %9s %9s %9s\n", o.clients, o.mix.Seconds(), load(), "client", "answers", "p50 s", "p99 s", "worst s")
	cpu = processorTime() - cpu
	fewest, most, total, again := len(times[0]), 0, 0, 0
	var worst []time.Duration
	for i, t := range times {
		slices.Sort(t)
		fmt.Printf("%-10d %8d %9.2f %9.2f %9.2f\n", i+1, len(t), middle(t).Seconds(), t[len(t)*99/100].Seconds(), t[len(t)-1].Seconds())
		fewest, most, total, again = min(fewest, len(t)), max(most, len(t)), total+len(t), again+kept[i]
		worst = append(worst, t[len(t)-1])
	}
	slices.Sort(worst)
	fmt.Printf("fewest answers / most: %.2f (wanted: 0.8); worst of the worst client / of the middle one: %.2f (wanted: 3 at most)\n",
		float64(fewest)/float64(most), float64(worst[len(worst)-1])/float64(middle(worst)))
	fmt.Printf("%d answers, %d of them kept; %.1f a second, %.2f CPU s for each that was made; peak %d MiB\n",
		total, again, float64(total)/time.Since(begin).Seconds(), cpu.Seconds()/float64(max(1, total-again)), peak())
	return nil
}

func oneOfMany(ctx context.Context, server *mcp.Server, f *questions.Facts, no int, until time.Time) (times []time.Duration, kept int, err error) {
	a, err := connect(ctx, server, fmt.Sprintf("client-%d", no+1))
	if err != nil {
		return nil, 0, err
	}
	defer a.Close()
	for i := no; time.Now().Before(until) || len(times) == 0; i++ {
		tool := mixed[i%len(mixed)]
		inputs := f.Inputs(tool)
		begin := time.Now()
		_, again, err := call(ctx, a, tool, inputs[i/len(mixed)%len(inputs)])
		if err != nil {
			return nil, 0, err
		}
		if again {
			kept++
		}
		times = append(times, time.Since(begin))
	}
	return times, kept, nil
}
