//go:build linux

// Command load generates the traffic for measuring recorders, and measures them: the same few kinds of
// traffic for every tool, with its own count of packets, their rate and the cost of the tool.
//
//	load serve HOST                               answers the kinds below; counters at SIGTERM
//	load udp HOST -rate N -seconds S              64-byte frames, N a second (0: flat out)
//	load bulk HOST -rate BITS -seconds S          one TCP connection (0: unlimited)
//	load http HOST -seconds S                     a connection a request; tls: the same over TLS
//	load under RESULT [-programs] COMMAND…        runs a tool and writes what it cost
//	load counting GROUP                           counts a control group's packets in the kernel
//	load count FILE                               packets in a pcap or PCAPNG file
//
// Answers are one line of key=value.
package main

import (
	"flag"
	"fmt"
	"os"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

const (
	udpPort  = "9001"
	bulkPort = "9002"
	httpPort = "8080"
	tlsPort  = "8443"
)

// kind is the kind of traffic given on the command line.
type kind struct {
	host    string
	rate    float64
	length  time.Duration
	most    int64 // bytes
	workers int
}

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "load:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	if len(args) < 2 {
		return fmt.Errorf("want a command and what it works on; the comment of this package lists them")
	}
	command, on, rest := args[0], args[1], args[2:]
	k := kind{host: on}
	fl := flag.NewFlagSet(command, flag.ContinueOnError)
	seconds := fl.Float64("seconds", 1, "how long")
	programs := fl.Bool("programs", false, "time the tool's programs in the kernel")
	fl.Float64Var(&k.rate, "rate", 0, "packets a second (udp) or bits a second (bulk); 0: all that go")
	fl.Int64Var(&k.most, "bytes", 1<<62, "bulk: end after so many bytes")
	fl.IntVar(&k.workers, "workers", 32, "http, tls: requests at a time")
	if err := fl.Parse(rest); err != nil {
		return err
	}
	k.length = time.Duration(*seconds * float64(time.Second))
	switch command {
	case "serve":
		return serve(on)
	case "udp":
		return k.udp()
	case "bulk":
		return k.bulk()
	case "http", "tls":
		return k.web(command == "tls")
	case "under":
		return under(on, *programs, fl.Args())
	case "counting":
		return counting(on)
	case "count":
		n, dropped, err := countFile(on)
		if err == nil {
			fmt.Printf("packets=%d told=%d\n", n, dropped)
		}
		return err
	}
	return fmt.Errorf("unknown command %q", command)
}

// answer prints one line for the calling script.
func answer(pairs ...any) {
	var b strings.Builder
	for i := 0; i+1 < len(pairs); i += 2 {
		fmt.Fprintf(&b, "%v=%v ", pairs[i], pairs[i+1])
	}
	fmt.Println(strings.TrimSpace(b.String()))
}

// processor is the CPU time of this process, including softirqs that ran in its context.
func processor() string {
	var u unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &u); err != nil {
		return "0"
	}
	return fmt.Sprintf("%.3f", float64(u.Utime.Nano()+u.Stime.Nano())/1e9)
}
