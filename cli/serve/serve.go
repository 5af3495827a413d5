package serve

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"regexp"
	"strings"
	"sync"

	"github.com/spf13/cobra"

	"github.com/pcapsule/pcapsule/cli/command"
	"github.com/pcapsule/pcapsule/cli/exit"
	"github.com/pcapsule/pcapsule/mcp"
	"github.com/pcapsule/pcapsule/mcp/door"
)

// serveFlags are the flags of serve.
type serveFlags struct {
	answerFlags
	addr, tokens, cert, key   string
	hosts, origins            []string
	url, issuer, issuerKeys   string
	scopes                    []string
	sessions, requests, conns int
	body                      command.Size
}

// HTTP returns the command serve.
func HTTP(with Options) *cobra.Command {
	var f serveFlags
	c := &cobra.Command{
		Use:   "serve [BUNDLE...]",
		Short: "Serve bundles to assistants: MCP over HTTP",
		Long: `Serve bundles to assistants over the Model Context Protocol on HTTP, at /mcp. Every answer
cites its packets and states what was recorded. Credentials are masked unless --secrets is given.
With --ring, clients can freeze a recorder's ring on this machine, dissect it, ask questions about
it and its last seconds, and start separate recordings. With --allow and without a bundle, it waits
for the first one below that folder. By default the server listens on this
machine only; any other address needs --token-file or tokens of an authorization server
(--oauth-issuer), and should use TLS (--tls-cert). docs/guide/mcp.md has the details.`,
		Example: `  pcapsule serve incident.pcapsule
  pcapsule serve --ring /var/lib/pcapsule
  pcapsule serve incident.pcapsule --addr 127.0.0.1:9000 --tools core --access-log access.jsonl
  pcapsule serve incident.pcapsule --addr 10.0.0.5:8898 --token-file tokens --tls-cert cert.pem --tls-key key.pem --host evidence.example.org`,
		ValidArgsFunction: command.CompleteBundles,
		RunE:              func(c *cobra.Command, args []string) error { return f.run(c, with, args) },
	}
	f.flags(c, with.Live)
	fl := c.Flags()
	fl.BoolVar(&f.packets, "packets", false, "allow downloads of snapshots' packets, which are never masked")
	fl.StringVar(&f.addr, "addr", "127.0.0.1:8898", "address to listen on")
	fl.StringVar(&f.tokens, "token-file", "", "file of bearer tokens, one per line, optionally after the holder's name")
	fl.StringVar(&f.cert, "tls-cert", "", "certificate for HTTPS, PEM")
	fl.StringVar(&f.key, "tls-key", "", "private key of the certificate, PEM")
	fl.StringSliceVar(&f.hosts, "host", nil, "additional host name that clients may use for this server")
	fl.StringSliceVar(&f.origins, "origin", nil, "origin of web pages that may send requests, such as https://tool.example.org")
	fl.StringVar(&f.url, "url", "", "this server's URL, ending in /mcp; the audience of the issuer's tokens")
	fl.StringVar(&f.issuer, "oauth-issuer", "", "authorization server whose tokens are accepted")
	fl.StringVar(&f.issuerKeys, "oauth-keys", "", "JSON Web Key Set of the authorization server: a file or an https URL")
	fl.StringSliceVar(&f.scopes, "oauth-scope", nil, "scope that a token must have")
	fl.IntVar(&f.sessions, "max-sessions", 64, "maximum number of sessions, in protocol revisions that have sessions")
	fl.IntVar(&f.requests, "max-requests", 128, "maximum number of requests in progress")
	fl.IntVar(&f.conns, "max-connections", 4096, "maximum number of open connections")
	f.body = 1 << 20
	fl.Var(&f.body, "max-body", "maximum size of a request")
	command.Between(fl, "max-sessions", &f.sessions, 1, 1<<20)
	command.Between(fl, "max-requests", &f.requests, 1, 1<<20)
	command.Between(fl, "max-connections", &f.conns, 1, 1<<20)
	command.Between(fl, "max-body", &f.body, 1, command.Largest)
	return c
}

func (f *serveFlags) run(c *cobra.Command, with Options, args []string) error {
	o, err := f.options(c)
	if err != nil {
		return err
	}
	later := len(args) == 0 && f.ring == "" && len(f.allow) > 0
	if later && f.copies == "" {
		if args, err = f.await(c.Context(), with, awaitEvery); err != nil {
			return err
		}
		later = false
	}
	s, end, err := f.server(c.Context(), with, args)
	if err != nil {
		return err
	}
	defer end()
	if later {
		ctx, stop := context.WithCancel(c.Context())
		var began sync.WaitGroup
		began.Go(func() { f.begin(ctx, with, s) })
		defer began.Wait()
		defer stop()
	}
	ln, err := (&net.ListenConfig{}).Listen(c.Context(), "tcp", f.addr)
	if err != nil {
		return exit.With(fmt.Errorf("listening on %s: %w", f.addr, err), exit.Other, "choose another address or port with --addr")
	}
	scheme := "http"
	if f.cert != "" {
		pair, err := tls.LoadX509KeyPair(f.cert, f.key)
		if err != nil {
			ln.Close()
			return exit.With(fmt.Errorf("--tls-cert %s and --tls-key %s: %w", f.cert, f.key, err), exit.NotCapture, "give a certificate and its private key, both in PEM format")
		}
		ln = tls.NewListener(ln, &tls.Config{Certificates: []tls.Certificate{pair}, MinVersion: tls.VersionTLS12, NextProtos: []string{"http/1.1"}})
		scheme = "https"
	}
	fmt.Fprintf(with.Err, "listening on %s://%s/mcp\n", scheme, ln.Addr())
	if scheme == "http" && !loopback(ln.Addr().String()) {
		with.Warn("tokens and answers cross the network unencrypted; use HTTPS with --tls-cert and --tls-key")
	}
	return s.Serve(c.Context(), ln, o)
}

// begin opens the first bundles that appear. Until then, s answers about live copies only.
func (f *serveFlags) begin(ctx context.Context, with Options, s *mcp.Server) {
	paths, err := f.await(ctx, with, awaitEvery)
	if err == nil {
		err = s.Begin(ctx, paths)
	}
	if err != nil && ctx.Err() == nil {
		with.Warn("no bundle is open: %v; open one with open_case", err)
	}
}

var hostName = regexp.MustCompile(`^[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*$`)

// options checks the flags about the address and its access control.
func (f *serveFlags) options(c *cobra.Command) (mcp.HTTPOptions, error) {
	o := mcp.HTTPOptions{Origins: f.origins, MaxSessions: f.sessions, MaxRequests: f.requests, MaxConns: f.conns, MaxBody: int64(f.body)}
	for _, h := range f.hosts {
		if !hostName.MatchString(h) && net.ParseIP(h) == nil {
			return o, exit.Usagef("--host %q: must be a host name or an address, without a port; a name in another script begins with xn--", h)
		}
		o.Hosts = append(o.Hosts, strings.ToLower(h))
	}
	for _, origin := range f.origins {
		if u, err := url.Parse(origin); err != nil || u.Host == "" || u.Scheme+"://"+u.Host != origin || strings.ToLower(origin) != origin {
			return o, exit.Usagef("--origin %q: must be a scheme, a host and perhaps a port, in lower case, such as https://tool.example.org", origin)
		}
	}
	if _, _, err := net.SplitHostPort(f.addr); err != nil {
		return o, exit.Usagef("--addr %s: must be host:port, such as 127.0.0.1:8898", f.addr)
	}
	if (f.cert == "") != (f.key == "") {
		return o, exit.Usagef("--tls-cert and --tls-key must be given together")
	}
	var err error
	if f.tokens != "" {
		if o.Tokens, err = door.LoadTokens(f.tokens); err != nil {
			return o, exit.With(err, exit.NotCapture, "docs/guide/mcp.md describes the file of tokens")
		}
	}
	if f.issuer != "" || f.issuerKeys != "" || f.url != "" || len(f.scopes) > 0 {
		if f.issuer == "" || f.issuerKeys == "" || f.url == "" {
			return o, exit.Usagef("--oauth-issuer, --oauth-keys and --url must be given together")
		}
		o.OAuth = &door.OAuth{Issuer: f.issuer, Keys: f.issuerKeys, Resource: f.url, Scopes: f.scopes}
		var keys *door.KeysError
		switch err := o.OAuth.Check(c.Context()); {
		case errors.As(err, &keys):
			return o, exit.With(err, exit.NotCapture, "give the JSON Web Key Set of the authorization server")
		case err != nil:
			return o, exit.With(err, exit.Usage, "")
		}
	}
	if !loopback(f.addr) && len(o.Tokens) == 0 && o.OAuth == nil {
		return o, exit.Usagef("--addr %s is reachable from other machines: give --token-file or --oauth-issuer", f.addr)
	}
	return o, nil
}

// loopback reports whether an address is reachable only from this machine.
func loopback(addr string) bool {
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return false
	}
	if host == "localhost" {
		return true
	}
	ip, err := netip.ParseAddr(host)
	return err == nil && ip.Unmap().IsLoopback()
}
