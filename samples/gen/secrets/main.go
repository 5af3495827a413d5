// Command secrets remakes the captures in samples/secrets: TLS, DTLS and QUIC of OpenSSL, GnuTLS,
// nginx, curl, crypto/tls, quic-go and others, each with its key log, and INDEX.tsv with the length and
// SHA-256 of the plaintext that the endpoints sent and received through these libraries.
//
// It needs root, ip, ethtool, tcpdump, tshark, openssl, gnutls-bin, nginx, curl, redis-server and
// PostgreSQL, and the output of wolfssl/build.sh for DTLS 1.3. Everything runs on the loopback
// interface of a separate network namespace. It ends only processes that it started, and removes its
// files outside the output folder.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
)

// inside names the variable that marks the process in the namespace.
const inside = "PCAPSULE_SECRETS_NETNS"

func main() {
	log.SetFlags(0)
	log.SetPrefix("secrets: ")
	out := flag.String("o", ".", "folder for the captures")
	only := flag.String("only", "", "beginnings of the names of the captures to make, with commas; empty means all")
	keep := flag.Bool("k", false, "go on after a capture that could not be made")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	var err error
	if os.Getenv(inside) == "" {
		err = enter(ctx)
	} else {
		err = run(ctx, *out, *only, *keep)
	}
	if err != nil {
		log.Fatal(err)
	}
}

// enter starts this program again in a new network namespace.
func enter(ctx context.Context) error {
	if os.Getuid() != 0 {
		return errors.New("making a network namespace needs root; hint: run with sudo")
	}
	self, err := os.Executable()
	if err != nil {
		return err
	}
	c := exec.CommandContext(ctx, self, os.Args[1:]...)
	// GODEBUG enables what crypto/tls no longer offers by default.
	c.Env = append(os.Environ(), inside+"=1", "QUIC_GO_DISABLE_GSO=true", "QUIC_GO_DISABLE_RECEIVE_BUFFER_WARNING=true",
		"GODEBUG=tlsrsakex=1,tls3des=1,tls10server=1,tlsunsafeekm=1,rsa1024min=0")
	c.Stdout, c.Stderr = os.Stdout, os.Stderr
	c.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET, Pdeathsig: syscall.SIGTERM}
	c.Cancel = func() error { return c.Process.Signal(syscall.SIGTERM) }
	return c.Run()
}

// scenario is one capture.
type scenario struct {
	name string // of the capture, without its extension
	make func(*lab, *shot) error
}

func scenarios() (all []scenario) {
	all = append(all, opensslTLS()...)
	all = append(all, opensslKeys()...)
	all = append(all, opensslDTLS()...)
	all = append(all, gnutlsAll()...)
	all = append(all, nginxAll()...)
	all = append(all, goAll()...)
	all = append(all, quicAll()...)
	all = append(all, netquicAll()...)
	all = append(all, serversAll()...)
	all = append(all, pionAll()...)
	all = append(all, wolfAll()...)
	all = append(all, hardAll()...)
	return all
}

func run(ctx context.Context, out, only string, keep bool) error {
	out, err := filepath.Abs(out)
	if err != nil {
		return err
	}
	l, err := newLab(ctx, out)
	if err != nil {
		return err
	}
	defer l.close()
	index, err := readIndex(filepath.Join(out, "INDEX.tsv"))
	if err != nil {
		return err
	}
	made, bad := 0, 0
	for _, s := range scenarios() {
		if !wanted(s.name, only) {
			continue
		}
		rows, err := l.take(s)
		if err != nil {
			err = fmt.Errorf("making %s: %w", s.name, err)
			if !keep || ctx.Err() != nil {
				return err
			}
			log.Print(err)
			bad++
			continue
		}
		made++
		index.replace(s.name, rows)
		if err := index.write(filepath.Join(out, "INDEX.tsv")); err != nil {
			return err
		}
		for _, r := range rows {
			log.Printf("%-70s %s %s %s", r.file, r.stream, r.state, r.tshark)
		}
	}
	if made == 0 {
		return fmt.Errorf("no capture's name begins with %q", only)
	}
	if bad > 0 {
		return fmt.Errorf("%d captures could not be made", bad)
	}
	return nil
}

func wanted(name, only string) bool {
	if only == "" {
		return true
	}
	for p := range strings.SplitSeq(only, ",") {
		if p != "" && strings.HasPrefix(name, p) {
			return true
		}
	}
	return false
}
