// Command calls makes a capture of many small calls between many services, to measure questions on a
// bundle with millions of rows. The traffic is generated from a seed: a gateway, services in levels,
// PostgreSQL, Redis, DNS and outside addresses, over one day.
//
// usage: calls -n 5000000 -o calls.pcap -kube calls.kube.json
package main

import (
	"bufio"
	"flag"
	"fmt"
	"os"
)

func main() {
	n := flag.Int("n", 5_000_000, "calls to make")
	out := flag.String("o", "calls.pcap", "capture to write")
	kube := flag.String("kube", "calls.kube.json", "what kubectl would say of the cluster")
	seed := flag.Int64("seed", 1, "of the invented traffic")
	hours := flag.Int("hours", 24, "length of the capture")
	day := flag.Int64("day", 0, "the day on which the capture begins, as a number")
	flag.Parse()
	if err := run(*n, *out, *kube, *seed, *hours, *day); err != nil {
		fmt.Fprintln(os.Stderr, "calls:", err)
		os.Exit(1)
	}
}

func run(n int, out, kube string, seed int64, hours int, day int64) (err error) {
	f, err := os.Create(out)
	if err != nil {
		return err
	}
	defer func() {
		if e := f.Close(); err == nil {
			err = e
		}
	}()
	w := bufio.NewWriterSize(f, 4<<20)
	c := newCluster(seed)
	if err := os.WriteFile(kube, c.kube(), 0o666); err != nil {
		return err
	}
	t := &traffic{wire: wire{w: w}, cluster: c, pools: map[pair]*pool{}, want: n, length: int64(hours) * 3600e9, day: day}
	if err := t.run(); err != nil {
		return err
	}
	fmt.Printf("%d calls, %d packets\n", t.calls, t.packets)
	return w.Flush()
}
