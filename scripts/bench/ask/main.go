// Command ask measures how long a server takes to answer questions about a large bundle.
//
// It acts as an assistant in the same process: it speaks MCP to a server like that of pcapsule mcp,
// calls every tool with several arguments from the bundle, and then lets several clients call a mix of
// tools in parallel. For each tool it prints times, processor time, sizes of answers and the process's
// peak memory.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	sdk "github.com/modelcontextprotocol/go-sdk/mcp"
	"github.com/pcapsule/pcapsule/forensics/worker"

	"github.com/pcapsule/pcapsule/forensics"
	"github.com/pcapsule/pcapsule/forensics/finding"
	findings "github.com/pcapsule/pcapsule/forensics/finding/all"
	"github.com/pcapsule/pcapsule/forensics/redact"
	"github.com/pcapsule/pcapsule/mcp"
	"github.com/pcapsule/pcapsule/scripts/bench/ask/questions"
)

type options struct {
	only            string
	repeat, clients int
	parallel        int
	keep            bool
	mix             time.Duration
	threads         int
	memory          int64
	verbose         bool
	exports         string // folder for export_pcap
}

func main() {
	worker.Main()
	var o options
	flag.StringVar(&o.only, "only", "", "only tools whose name contains this; several with commas")
	flag.IntVar(&o.repeat, "repeat", 3, "times that each question is asked")
	flag.IntVar(&o.clients, "clients", 10, "clients that ask at once; 0: none")
	flag.DurationVar(&o.mix, "mix", time.Minute, "how long they ask")
	flag.IntVar(&o.parallel, "parallel", 0, "answers that the server makes at once; 0: as many as it does by itself")
	flag.BoolVar(&o.keep, "keep", false, "let the server keep answers, as pcapsule mcp does; times are then also of answers that were kept")
	flag.IntVar(&o.threads, "threads", 0, "threads of the server's queries; 0: one per processor")
	flag.Int64Var(&o.memory, "memory", 1024, "MiB that queries may hold")
	flag.BoolVar(&o.verbose, "v", false, "a line for every question too")
	flag.Parse()
	if flag.NArg() != 1 || o.repeat < 1 {
		fmt.Fprintln(os.Stderr, "usage: ask [flags] BUNDLE")
		os.Exit(2)
	}
	if err := run(context.Background(), flag.Arg(0), o); err != nil {
		fmt.Fprintln(os.Stderr, "ask:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, dir string, o options) error {
	exports, err := os.MkdirTemp("", "pcapsule-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(exports)
	o.exports = exports
	begin := time.Now()
	policy := redact.Default()
	open := func(ctx context.Context, paths []string) (*forensics.Case, error) {
		c, err := forensics.Open(ctx, paths, forensics.Options{MaskSecrets: true, Policy: policy, MemoryLimit: o.memory << 20, Threads: o.threads, TempDir: filepath.Join(exports, "temp")})
		if err == nil {
			finding.Bind(c, findings.Analyzers())
		}
		return c, err
	}
	c, err := open(ctx, []string{dir})
	if err != nil {
		return err
	}
	keep := -1
	if o.keep {
		keep = 0
	}
	server, err := mcp.New(c, mcp.Options{Keep: keep, Release: "bench", Questions: findings.Questions(), ExportDir: exports, Policy: policy, Open: open, Deadline: 10 * time.Minute, Parallel: o.parallel})
	if err != nil {
		c.Close()
		return err
	}
	defer server.Close()
	a, err := connect(ctx, server, "bench")
	if err != nil {
		return err
	}
	defer a.Close()
	fmt.Printf("opened in %.2f s; memory limit of queries %d MiB; %s\n", time.Since(begin).Seconds(), o.memory, load())
	tools, err := a.ListTools(ctx, nil)
	if err != nil {
		return err
	}
	f, err := questions.Find(ctx, func(ctx context.Context, tool, in string) (string, error) {
		text, _, err := call(ctx, a, tool, in)
		return text, err
	})
	if err != nil {
		return err
	}
	var list []asked
	fmt.Printf("\n%-24s %3s %9s %9s %8s %10s %9s\n", "tool", "n", "median s", "worst s", "CPU s", "bytes", "peak MiB")
	for _, t := range tools.Tools {
		inputs := f.Inputs(t.Name)
		if !chosen(t.Name, o.only) {
			continue
		}
		if len(inputs) == 0 {
			fmt.Printf("%-24s   0\n", t.Name)
			continue
		}
		one, err := ask(ctx, a, t.Name, inputs, o)
		if err != nil {
			return err
		}
		one.print()
		list = append(list, one)
	}
	summary(list)
	if o.clients > 0 {
		return together(ctx, server, f, o)
	}
	return nil
}

func chosen(name, only string) bool {
	return only == "" || slices.ContainsFunc(strings.Split(only, ","), func(s string) bool { return strings.Contains(name, s) })
}

// connect adds a client to the server.
func connect(ctx context.Context, s *mcp.Server, name string) (*sdk.ClientSession, error) {
	here, there := sdk.NewInMemoryTransports()
	if _, err := s.MCP().Connect(ctx, there, nil); err != nil {
		return nil, err
	}
	return sdk.NewClient(&sdk.Implementation{Name: name, Version: "1"}, nil).Connect(ctx, here, nil)
}

// asked is the cost of one tool.
type asked struct {
	name   string
	times  []time.Duration // times of all answers, sorted
	cpu    time.Duration   // of the most expensive answer
	bytes  int             // of the longest answer
	peak   int64           // MiB
	failed string
	kept   int // answers from the cache
}

func ask(ctx context.Context, a *sdk.ClientSession, name string, inputs []string, o options) (asked, error) {
	out := asked{name: name}
	forgetPeak()
	for _, in := range inputs {
		for range o.repeat {
			if err := os.RemoveAll(filepath.Join(o.exports, "slice.pcapng")); err != nil { // an existing file is not overwritten
				return out, err
			}
			cpu, begin := processorTime(), time.Now()
			text, kept, err := call(ctx, a, name, in)
			took, used := time.Since(begin), processorTime()-cpu
			var bad *refusedError
			switch {
			case errors.As(err, &bad):
				out.failed = in + ": " + bad.text
			case err != nil:
				return out, err
			}
			if o.verbose {
				fmt.Printf("  %s %s: %.2f s, %.2f CPU s, %d bytes%s\n", name, in, took.Seconds(), used.Seconds(), len(text), map[bool]string{true: ", kept"}[kept])
			}
			if kept {
				out.kept++
			}
			out.times = append(out.times, took)
			out.cpu, out.bytes = max(out.cpu, used), max(out.bytes, len(text))
		}
	}
	out.peak = peak()
	slices.Sort(out.times)
	return out, nil
}

func (a asked) print() {
	fmt.Printf("%-24s %3d %9.2f %9.2f %8.2f %10d %9d\n", a.name, len(a.times), middle(a.times).Seconds(), a.times[len(a.times)-1].Seconds(), a.cpu.Seconds(), a.bytes, a.peak)
	if a.kept > 0 {
		fmt.Printf("  %d of them kept answers\n", a.kept)
	}
	if a.failed != "" {
		fmt.Printf("  refused %s\n", a.failed)
	}
}

// middle is the median; for an even number of times the mean of the two in the middle.
func middle(sorted []time.Duration) time.Duration {
	return (sorted[(len(sorted)-1)/2] + sorted[len(sorted)/2]) / 2
}

// summary compares the tools with their targets.
func summary(list []asked) {
	var medians []time.Duration
	var slow, worst []string
	for _, a := range list {
		medians = append(medians, middle(a.times))
		if middle(a.times) > time.Second {
			slow = append(slow, a.name)
		}
		if a.times[len(a.times)-1] > 3*time.Second {
			worst = append(worst, a.name)
		}
	}
	if len(list) == 0 {
		return
	}
	slices.Sort(medians)
	fmt.Printf("\n%d tools; the median of their medians is %.2f s (wanted: 1); %s\n", len(list), middle(medians).Seconds(), load())
	fmt.Printf("median above 1 s: %s\nworst above 3 s: %s\n", listed(slow), listed(worst))
}

func listed(names []string) string {
	if len(names) == 0 {
		return "none"
	}
	return strings.Join(names, ", ")
}

// refusedError is an answer that reports an invalid input.
type refusedError struct{ text string }

func (e *refusedError) Error() string { return e.text }

// call calls a tool and returns the text of the answer, and whether it came from the cache.
func call(ctx context.Context, a *sdk.ClientSession, name, in string) (text string, kept bool, err error) {
	r, err := a.CallTool(ctx, &sdk.CallToolParams{Name: name, Arguments: json.RawMessage(in)})
	if err != nil {
		return "", false, fmt.Errorf("asking %s: %w", name, err)
	}
	var b strings.Builder
	for _, part := range r.Content {
		if t, ok := part.(*sdk.TextContent); ok {
			b.WriteString(t.Text)
		}
	}
	if r.IsError {
		return b.String(), false, &refusedError{b.String()}
	}
	return b.String(), r.Meta["pcapsule/kept"] == true, nil
}
