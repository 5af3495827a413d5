// Command kernels boots Debian's kernels in QEMU and checks the recorder in each. It prints a list
// with an item per kernel, and fails if a check fails.
//
// It needs only apt's configuration, QEMU and cpio from the machine. Kernels and the programs of the
// guest are Debian packages, which stay in the cache folder.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
)

// kernel is one item of the list.
type kernel struct {
	version string
	arch    string
	suite   string // Debian release; the newest matching package is used
	image   string // regular expression of the package that holds the kernel
	modules string // of the package with its modules, if different
	short   bool   // also a part of make test
}

var kernels = []kernel{
	{"5.10", "amd64", "bullseye", `linux-image-5\.10\.0-\d+-amd64`, "", false},
	{"6.1", "amd64", "bookworm", `linux-image-6\.1\.0-\d+-amd64`, "", true},
	{"6.12", "amd64", "trixie", `linux-image-6\.12\.\d+\+deb13-amd64`, "", true},
	{"6.16", "amd64", "trixie-backports", `linux-image-6\.16\.\d+\+deb13-amd64`, "", false},
	{"6.18", "amd64", "trixie-backports", `linux-image-6\.18\.\d+\+deb13-amd64`, "", false},
	{"6.19", "amd64", "trixie-backports", `linux-binary-6\.19\.\d+\+deb13-amd64`, `linux-modules-6\.19\.\d+\+deb13-amd64`, false},
	{"7.0", "amd64", "trixie-backports", `linux-binary-7\.0\.\d+\+deb13-amd64`, `linux-modules-7\.0\.\d+\+deb13-amd64`, false},
	{"7.1", "amd64", "trixie-backports", `linux-binary-7\.1\.\d+\+deb13-amd64`, `linux-modules-7\.1\.\d+\+deb13-amd64`, false},
	{"7.2", "amd64", "trixie-backports", `linux-binary-7\.2\.\d+\+deb13-amd64`, `linux-modules-7\.2\.\d+\+deb13-amd64`, false},
	{"6.1", "arm64", "bookworm", `linux-image-6\.1\.0-\d+-arm64`, "", false},
	{"6.12", "arm64", "trixie", `linux-image-6\.12\.\d+\+deb13-arm64`, "", false},
}

func main() {
	cache := flag.String("cache", ".cache/kernels", "`folder` for packages, kernels and logs")
	only := flag.String("only", "", "`versions` to boot, with commas; 6.1/arm64 names one architecture")
	short := flag.Bool("short", false, "boot only the kernels of make test")
	output := flag.String("o", "", "also write the list to this `file`, between its marks")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, *cache, choose(*only, *short), *output); err != nil {
		fmt.Fprintln(os.Stderr, "kernels:", err)
		os.Exit(1)
	}
}

func choose(only string, short bool) (list []kernel) {
	names := strings.Split(only, ",")
	for _, k := range kernels {
		if only == "" && (!short || k.short) || only != "" && (slices.Contains(names, k.version) || slices.Contains(names, k.version+"/"+k.arch)) {
			list = append(list, k)
		}
	}
	return list
}

func run(ctx context.Context, cache string, list []kernel, output string) error {
	if len(list) == 0 {
		return errors.New("no such kernel: -only takes versions of the list")
	}
	cache, err := filepath.Abs(cache)
	if err != nil {
		return err
	}
	a, err := newArchive(ctx, cache, list)
	if err != nil {
		return err
	}
	rows := make([]row, len(list))
	var boots sync.WaitGroup
	room := make(chan struct{}, max(1, runtime.NumCPU())) // a guest mostly uses one processor
	for i, k := range list {
		rows[i].kernel = k
		m, err := a.machine(ctx, k)
		if err != nil {
			rows[i].results = []result{{Name: "boot", State: bad, Detail: err.Error()}}
			continue
		}
		room <- struct{}{}
		boots.Go(func() {
			rows[i].boot(ctx, m)
			<-room
		})
	}
	boots.Wait()
	if ctx.Err() != nil {
		return ctx.Err()
	}
	failed := 0
	for _, r := range rows {
		r.print(os.Stdout)
		failed += r.failed()
	}
	text := listOf(rows)
	fmt.Print(text)
	if output != "" {
		if err := writeList(output, text); err != nil {
			return err
		}
	}
	if failed > 0 {
		return fmt.Errorf("%d checks failed", failed)
	}
	return nil
}

// machine prepares the machine of a kernel. It updates the package lists if the mirror no longer has a
// listed package.
func (a *archive) machine(ctx context.Context, k kernel) (*machine, error) {
	m, err := a.prepare(ctx, k)
	if err == nil || a.updated {
		return m, err
	}
	if err := a.update(ctx); err != nil {
		return nil, err
	}
	return a.prepare(ctx, k)
}

// boot runs the machine and records the reports of its program.
func (r *row) boot(ctx context.Context, m *machine) {
	var err error
	r.release, r.seconds, r.results, err = m.run(ctx)
	if err != nil && r.release == "" && ctx.Err() == nil {
		// It ended before our program began, which occasionally happens under emulation.
		r.release, r.seconds, r.results, err = m.run(ctx)
	}
	if err != nil {
		r.results = append(r.results, result{Name: "boot", State: bad, Detail: err.Error()})
	}
}
