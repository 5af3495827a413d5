package cli

import (
	"bufio"
	"cmp"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/pcapsule/pcapsule/cli/command"
	"github.com/pcapsule/pcapsule/cli/exit"
	"github.com/pcapsule/pcapsule/forensics/ask"
)

// maxEvent limits one line of a server's stream.
const maxEvent = 4 << 20

// tailServer prints the calls that a server streams.
func (e *env) tailServer(ctx context.Context, filter string, f *tailFlags) error {
	req, client, err := f.request(ctx, filter)
	if err != nil {
		return err
	}
	resp, err := client.Do(req)
	if err != nil {
		return exit.With(fmt.Errorf("asking the server: %w", err), exit.Other, "start the server with pcapsule serve --ring RING, which prints its address")
	}
	defer resp.Body.Close()
	if kind, _, _ := strings.Cut(resp.Header.Get("Content-Type"), ";"); resp.StatusCode != http.StatusOK || kind != "text/event-stream" {
		return refusal(resp)
	}
	in := bufio.NewScanner(resp.Body)
	in.Buffer(nil, maxEvent)
	kind := ""
	for in.Scan() {
		line := in.Text()
		if k, ok := strings.CutPrefix(line, "event: "); ok {
			kind = k
		} else if data, ok := strings.CutPrefix(line, "data: "); ok {
			if err := e.tailEvent(kind, []byte(data), f.format); err != nil {
				return err
			}
		}
	}
	if ctx.Err() != nil {
		return nil
	}
	if err := in.Err(); err != nil {
		return fmt.Errorf("reading the server's stream: %w", err)
	}
	return errors.New("the server ended the stream")
}

// refusal returns the error that pcapsule serve answered with, or that another server answered.
func refusal(resp *http.Response) error {
	var own struct{ Error string }
	text, _ := io.ReadAll(io.LimitReader(resp.Body, 64<<10)) // only to explain
	if json.Unmarshal(text, &own) == nil && own.Error != "" {
		return fmt.Errorf("the server refused: %s: %s", resp.Status, own.Error)
	}
	kind := resp.Header.Get("Content-Type")
	if !strings.HasPrefix(kind, "text/html") {
		kind, _, _ = strings.Cut(strings.TrimSpace(string(text)), "\n")
	}
	what := strings.Join(slices.DeleteFunc([]string{resp.Header.Get("Server"), kind}, func(s string) bool { return s == "" }), ", ")
	return exit.With(fmt.Errorf("the server answered %s (%s), which is no stream of calls", resp.Status, ask.Clip(cmp.Or(what, "empty"), 100)), exit.Other, "give --server the address that pcapsule serve prints")
}

// request checks the address and prepares the request.
func (f *tailFlags) request(ctx context.Context, filter string) (*http.Request, *http.Client, error) {
	u, err := url.Parse(f.server)
	if err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Host == "" || u.User != nil {
		return nil, nil, exit.Usagef("--server %q: must be http://HOST:PORT or https://HOST:PORT", f.server)
	}
	token, err := command.Token(f.tokenFile)
	if err != nil {
		return nil, nil, err
	}
	if token != "" && u.Scheme == "http" && !onLoopback(u.Hostname()) {
		return nil, nil, exit.Usagef("--server %s: a token would cross the network unencrypted; use https", f.server)
	}
	config := &tls.Config{MinVersion: tls.VersionTLS12, ServerName: f.name}
	if config.RootCAs, err = command.Authorities(f.ca); err != nil {
		return nil, nil, err
	}
	u = u.JoinPath("mcp", "tail")
	u.Path = strings.Replace(u.Path, "/mcp/mcp/", "/mcp/", 1) // the address that serve prints ends in /mcp
	u.RawQuery = url.Values{"kfl": {filter}, "format": {"full"}}.Encode()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		return nil, nil, err
	}
	req.Header.Set("Accept", "text/event-stream")
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	return req, &http.Client{
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }, // the token is for this server
		Transport: &http.Transport{Proxy: http.ProxyFromEnvironment, TLSClientConfig: config,
			DialContext: (&net.Dialer{Timeout: 10 * time.Second}).DialContext, TLSHandshakeTimeout: 10 * time.Second, ResponseHeaderTimeout: time.Minute},
	}, nil
}

// onLoopback reports whether a host is this machine.
func onLoopback(host string) bool {
	ip, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && ip.Unmap().IsLoopback()
}
