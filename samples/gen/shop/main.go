// Command shop makes a capture of a small shop of services with failures, and the ground truth about
// it from the logs of the services.
//
// Real servers and clients communicate over real sockets, with each pod in its own network namespace;
// every packet is captured at the pods' interfaces. No traffic leaves the machine. It needs root, ip,
// ethtool, redis-server and PostgreSQL. Names, counts and times come from a scenario, which is a file
// or is generated from a seed.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"log"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"
)

const bound = 6 * time.Minute // for the whole run

func main() {
	log.SetFlags(0)
	log.SetPrefix("shop: ")
	out := flag.String("out", "", "folder for the files; it must not be there, or be empty")
	seed := flag.Uint64("seed", 0, "makes a scenario with other names, counts and times; 0 is the usual one")
	file := flag.String("scenario", "", "a scenario to play instead")
	only := flag.Bool("print", false, "print the scenario and play nothing")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	ctx, cancel := context.WithTimeoutCause(ctx, bound, fmt.Errorf("not done after %s", bound))
	defer cancel()
	if err := run(ctx, *out, *file, *seed, *only); err != nil {
		log.Fatal(err)
	}
}

func run(ctx context.Context, out, file string, seed uint64, only bool) error {
	sc := usual()
	var err error
	switch {
	case file != "":
		sc, err = readScenario(file)
	case seed != 0:
		sc = fromSeed(seed)
	}
	if err == nil {
		err = sc.check()
	}
	if err != nil {
		return err
	}
	if only {
		enc := json.NewEncoder(os.Stdout)
		enc.SetIndent("", "  ")
		return enc.Encode(sc)
	}
	if os.Getuid() != 0 {
		return errors.New("making network namespaces needs root; hint: run with sudo")
	}
	if out == "" {
		return errors.New("no folder given; hint: -out DIR")
	}
	if err := os.MkdirAll(out, 0o755); err != nil {
		return err
	}
	if list, err := os.ReadDir(out); err != nil || len(list) > 0 {
		return errors.Join(err, fmt.Errorf("%s is not empty", out))
	}
	l, err := newLab()
	if err != nil {
		return err
	}
	defer l.close()
	s := &shop{sc: sc, lab: l, log: newJournal(), keys: newKeyring()}
	if s.ca, err = newAuthority(sc.day(-800), sc.day(3000)); err != nil {
		return err
	}
	done := make(chan error, 1)
	go func() { done <- s.run(ctx) }()
	select {
	case err = <-done:
	case <-ctx.Done():
		err = context.Cause(ctx)
	}
	if err != nil {
		return err
	}
	return s.write(filepath.Clean(out))
}
