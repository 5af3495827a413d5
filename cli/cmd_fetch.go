package cli

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/pcapsule/pcapsule/cli/command"
	"github.com/pcapsule/pcapsule/cli/console"
	"github.com/pcapsule/pcapsule/cli/exit"
	"github.com/pcapsule/pcapsule/exporter"
	"github.com/pcapsule/pcapsule/exporter/bundle"
	"github.com/pcapsule/pcapsule/exporter/derive"
	"github.com/pcapsule/pcapsule/hub/offer"
	"github.com/pcapsule/pcapsule/internal/plural"
	"github.com/pcapsule/pcapsule/recorder/transfer"
	"github.com/pcapsule/pcapsule/store"
)

// maxOffer limits the size of a hub's offer.
const maxOffer = 256 << 20

type fetchFlags struct {
	output, ca, name, tokenFile string
	wait                        time.Duration
}

func (e *env) cmdFetch() *cobra.Command {
	var f fetchFlags
	c := &cobra.Command{
		Use:   "fetch HUB [NAMESPACE/]SNAPSHOT -o FOLDER",
		Short: "Get the bundles of a cluster's snapshot",
		Long: `Get the bundles of a snapshot from the hub of a cluster into a folder, one for each node, and
verify them. To resume after an interruption, run the same command again. A node whose part is
missing also gets a bundle, which states the coverage gap. If the snapshot has a KFL filter, this
command cuts each bundle to the connections that match.

HUB is the address of pcapsule-hub, such as that of a kubectl port-forward. Kubernetes decides who
may fetch a snapshot: the token's account needs the right to get snapshots/content. NAMESPACE is that
of a snapshot outside the hub's namespace.`,
		Example: `  kubectl -n pcapsule port-forward service/pcapsule-hub 8443 &
  kubectl -n pcapsule get configmap pcapsule-ca -o jsonpath='{.data.ca\.crt}' >ca.crt
  PCAPSULE_TOKEN=$(kubectl -n pcapsule create token investigator) pcapsule fetch https://localhost:8443 incident --ca ca.crt -o incident
  pcapsule query incident/*.pcapsule 'http && status_code >= 500'`,
		Args: cobra.ExactArgs(2),
		RunE: func(c *cobra.Command, args []string) error {
			return e.runFetch(c.Context(), args[0], args[1], &f)
		},
	}
	fl := c.Flags()
	fl.StringVarP(&f.output, "output", "o", "", "folder for the bundles; created if it does not exist")
	fl.StringVar(&f.ca, "ca", "", "certificate authority of the hub, in PEM (default: the system's authorities)")
	fl.StringVar(&f.name, "server-name", "", "name in the hub's certificate (default: the host name in HUB)")
	fl.StringVar(&f.tokenFile, "token-file", "", "file with the token (default: $PCAPSULE_TOKEN)")
	fl.DurationVar(&f.wait, "wait", 0, "how long to wait until the snapshot is ready")
	command.Between(fl, "wait", &f.wait, 0, command.Longest)
	return c
}

// fetch is one run.
type fetch struct {
	e      *env
	base   *url.URL
	client *http.Client
	header http.Header
	dir    string
}

func (e *env) runFetch(ctx context.Context, hub, name string, f *fetchFlags) error {
	x, err := f.open(e, hub, name)
	if err != nil {
		return err
	}
	s, err := x.await(ctx, f.wait)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(f.output, 0o755); err != nil {
		return exit.OutputError(err, f.output)
	}
	var total, bundles int64
	for _, b := range s.Bundles {
		gone := slices.ContainsFunc(s.Missing, func(g offer.Gap) bool { return g.Node == b.Node })
		n, err := x.bundle(ctx, b, s.KFL, gone)
		if errors.Is(err, derive.ErrNothing) {
			s.Nothing = append(s.Nothing, b.Node)
			continue
		}
		if err != nil {
			return fmt.Errorf("fetching bundle %s: %w", b.Name, err)
		}
		total, bundles = total+n, bundles+1
	}
	x.explain(s)
	fmt.Fprintf(e.Out, "%s: %s, %s, from %s to %s\n", f.output, plural.Count(bundles, "bundle", "bundles"), console.ByteSize(total), s.From, s.To)
	return nil
}

// explain prints what the bundles lack.
func (x *fetch) explain(s *offer.Snapshot) {
	e := x.e
	if s.Selected != "" {
		fmt.Fprintln(e.Out, console.Line("the snapshot selects "+s.Selected))
	}
	if s.KFL != "" {
		fmt.Fprintln(e.Out, console.Line("the snapshot selects calls that match "+s.KFL))
	}
	for _, n := range s.Nothing {
		e.Warn("node %s recorded nothing that the snapshot selects", n)
	}
	if len(s.Namespaces) > 0 {
		e.Warn("you have the right to see %s: %s; connections with others are left out", plural.Count(int64(len(s.Namespaces)), "namespace", "namespaces"), strings.Join(s.Namespaces, ", "))
	}
	for _, g := range s.Missing {
		e.Warn("coverage gap: node %s from %s to %s (%s): %s", g.Node, s.From, s.To, g.Reason, g.Message)
	}
}

// open checks the arguments and prepares a client.
func (f *fetchFlags) open(e *env, hub, snapshot string) (*fetch, error) {
	u, err := url.Parse(hub)
	namespace, name, ok := offer.Split(snapshot)
	path := "v1"
	if namespace != "" {
		path = "v1/namespaces/" + namespace
	}
	switch {
	case err != nil || u.Scheme != "https" || u.Host == "" || u.User != nil:
		return nil, exit.Usagef("%q is not the address of a hub: use https://HOST:PORT", hub)
	case !ok:
		return nil, exit.Usagef("%q is not the name of a snapshot", snapshot)
	case f.output == "":
		return nil, exit.Usagef("missing output: give -o FOLDER")
	}
	if err := exit.Outside(f.output); err != nil {
		return nil, err
	}
	token, err := command.Token(f.tokenFile)
	if err != nil {
		return nil, err
	}
	if token == "" {
		return nil, exit.Usagef("missing token: set PCAPSULE_TOKEN, or give --token-file; kubectl create token creates one")
	}
	config := &tls.Config{MinVersion: tls.VersionTLS12, ServerName: f.name}
	if config.RootCAs, err = command.Authorities(f.ca); err != nil {
		return nil, err
	}
	return &fetch{e: e, base: u.JoinPath(path, "snapshots", name), dir: f.output, header: http.Header{"Authorization": {"Bearer " + token}},
		client: &http.Client{
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }, // the token is for this hub
			Transport: &http.Transport{Proxy: http.ProxyFromEnvironment, TLSClientConfig: config, DisableCompression: true,
				DialContext: (&net.Dialer{Timeout: 10 * time.Second}).DialContext, TLSHandshakeTimeout: 10 * time.Second, ResponseHeaderTimeout: 5 * time.Minute},
		}}, nil
}

// await asks for the snapshot until it is ready.
func (x *fetch) await(ctx context.Context, wait time.Duration) (*offer.Snapshot, error) {
	for end := time.Now().Add(wait); ; {
		s, err := x.ask(ctx)
		if err != nil {
			return nil, err
		}
		if s.Ready {
			return s, s.Check()
		}
		switch s.Phase {
		case "Failed":
			return nil, fmt.Errorf("the snapshot failed: %s", s.Message)
		case "Lost":
			return nil, fmt.Errorf("the snapshot is lost: %s", s.Message)
		}
		if time.Now().After(end) {
			return nil, exit.With(fmt.Errorf("the snapshot is not ready: its phase is %q", s.Phase), exit.Limit, "give --wait 10m, or check with: kubectl get snapshots")
		}
		select {
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		case <-time.After(time.Second):
		}
	}
}

func (x *fetch) ask(ctx context.Context) (*offer.Snapshot, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, x.base.String(), nil)
	if err != nil {
		return nil, err
	}
	req.Header = x.header.Clone()
	resp, err := x.client.Do(req)
	if err != nil {
		return nil, fmt.Errorf("asking the hub: %w", err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		text, _ := io.ReadAll(io.LimitReader(resp.Body, 512)) // only to explain
		line, _, _ := strings.Cut(strings.TrimSpace(string(text)), "\n")
		return nil, &transfer.StatusError{Code: resp.StatusCode, Text: line}
	}
	var s offer.Snapshot
	if err := json.NewDecoder(io.LimitReader(resp.Body, maxOffer)).Decode(&s); err != nil {
		return nil, fmt.Errorf("reading the hub's answer: %w", err)
	}
	return &s, nil
}

// wholeFolder is where bundles are until they are cut to the filter of their snapshot.
const wholeFolder = ".whole"

// bundle receives one bundle, and cuts it to a filter if there is one. If nothing is left, it returns derive.ErrNothing,
// except for a node whose part is missing: that bundle states the gap. It returns the size that was received.
func (x *fetch) bundle(ctx context.Context, b offer.Bundle, filter string, gone bool) (int64, error) {
	final := filepath.Join(x.dir, b.Name)
	if _, err := os.Lstat(final); filter == "" || err == nil { // received earlier, or to be received whole
		return x.receive(ctx, b, final)
	}
	dir := filepath.Join(x.dir, wholeFolder)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return 0, err
	}
	defer os.Remove(dir) // unless another is in it
	whole := filepath.Join(dir, b.Name)
	size, err := x.receive(ctx, b, whole)
	if err != nil {
		return 0, err
	}
	var f cutFlags
	f.output, f.memory = final, command.Size(exporter.DefaultMemory)
	err = x.e.runCut(ctx, []string{whole, filter}, &f)
	if gone && errors.Is(err, derive.ErrNothing) {
		return size, os.Rename(whole, final)
	}
	if err == nil || errors.Is(err, derive.ErrNothing) {
		err = errors.Join(err, os.RemoveAll(whole))
	}
	return size, err
}

// receive receives one bundle, and publishes it once it is verified. It returns its size.
func (x *fetch) receive(ctx context.Context, b offer.Bundle, final string) (int64, error) {
	size := transfer.Total(b.Files)
	if _, err := os.Lstat(final); err == nil {
		rep, err := bundle.Verify(ctx, final, nil)
		if err == nil {
			err = rep.Err()
		}
		return size, err // received earlier
	}
	bar := x.e.Progress()
	rep, err := store.Receive(ctx, transfer.Web{Base: x.base.JoinPath("bundles", b.Node), Client: x.client, Header: x.header}, b.Files, final, bar.Bytes(b.Name))
	bar.Clear()
	var altered transfer.AlteredErrors
	if errors.As(err, &altered) {
		return 0, exit.With(err, exit.Verify, "the hub's copy was altered, or the transfer was corrupted; the bundle did not get its final name")
	}
	if err == nil {
		err = rep.Err()
	}
	return size, err
}
