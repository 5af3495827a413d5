package serve

import (
	"context"
	"crypto/rand"
	"fmt"
	"html"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"

	"github.com/spf13/cobra"

	"github.com/pcapsule/pcapsule/cli/command"
	"github.com/pcapsule/pcapsule/cli/exit"
	"github.com/pcapsule/pcapsule/forensics"
	"github.com/pcapsule/pcapsule/mcp"
	"github.com/pcapsule/pcapsule/mcp/door"
)

// Page returns the command open. bundles makes bundles of the captures among its arguments, and
// flags adds the flags about captures.
func Page(with Options, bundles func(ctx context.Context, paths []string) ([]string, error), flags func(*cobra.Command)) *cobra.Command {
	a := answerFlags{packets: true, tools: "all", deadline: forensics.AnswerTime, parallel: 2, memory: forensics.DefaultMemory, temp: 4 << 30, keep: 32 << 20}
	var addr string
	var onlyPrint bool
	c := &cobra.Command{
		Use:   "open [BUNDLE|CAPTURE...|RING|https://HUB]",
		Short: "Look at bundles in a browser: calls, causes, a map, packets",
		Long: `Look at bundles in a browser. The page is served on this machine only, to the person with the address
that is printed, until Ctrl-C. Captures are made into a bundle first. Credentials are masked unless
--secrets is given; packets that are saved for Wireshark are as recorded. Of a recorder's ring on this
machine, the page shows the last minutes. The page of a hub is served by the hub, and asks for a token
of Kubernetes. docs/guide/page.md shows the page.`,
		Example: `  pcapsule open incident.pcapsule
  pcapsule open trace.pcapng --keys tls.keylog
  pcapsule open incident.pcapsule --print
  pcapsule open /var/lib/pcapsule
  pcapsule open https://hub.example.org`,
		ValidArgsFunction: command.CompleteBundles,
		RunE: func(c *cobra.Command, args []string) error {
			if len(args) == 1 && strings.HasPrefix(args[0], "https://") {
				return visit(c.Context(), with, args[0], onlyPrint)
			}
			if len(args) == 1 && a.ring == "" && isRing(args[0]) {
				a.ring, args = args[0], nil
			}
			if !loopback(addr) {
				return exit.Usagef("--addr %s: must be an address of this machine, such as 127.0.0.1:8899; pcapsule serve listens on others", addr)
			}
			var paths []string
			if len(args) > 0 || a.ring == "" {
				var err error
				if paths, err = bundles(c.Context(), args); err != nil {
					return err
				}
			}
			s, end, err := a.server(c.Context(), with, paths)
			if err != nil {
				return err
			}
			defer end()
			return show(c.Context(), with, s, addr, onlyPrint)
		},
	}
	f := c.Flags()
	f.StringVar(&addr, "addr", "127.0.0.1:0", "address to listen on; port 0 is any free port")
	f.BoolVar(&onlyPrint, "print", false, "print the address, but start no browser")
	f.StringVar(&a.ring, "ring", "", "ring of a recorder on this machine: clients can freeze, dissect and query time ranges of it, and query its last seconds")
	f.StringVar(&a.redact, "redact", "", "policy file that says what to mask; without it, credentials are masked")
	a.listFlags(f)
	f.BoolVar(&a.secrets, "secrets", false, "show secrets: mask nothing but the evidence of findings")
	a.liveKeep, a.liveMost = with.Live.Keep, command.Size(with.Live.Bytes)
	flags(c)
	return c
}

// show serves the page on an address of this machine until ctx is done.
func show(ctx context.Context, with Options, s *mcp.Server, addr string, onlyPrint bool) error {
	ln, err := (&net.ListenConfig{}).Listen(ctx, "tcp", addr)
	if err != nil {
		return exit.With(fmt.Errorf("listening on %s: %w", addr, err), exit.Other, "choose another address or port with --addr")
	}
	// The token is behind #, so the browser sends it to nobody.
	token := rand.Text()
	address := fmt.Sprintf("http://%s/#token=%s", ln.Addr(), token)
	if _, err := fmt.Fprintln(with.Out, address); err != nil {
		ln.Close()
		return fmt.Errorf("printing the address: %w", err)
	}
	fmt.Fprintln(with.Err, "Ctrl-C ends it")
	if !onlyPrint {
		dir, err := browse(ctx, address)
		if err != nil {
			with.Warn("no browser could be started: %v; open the address above", err)
		}
		if dir != "" {
			defer os.RemoveAll(dir)
		}
	}
	return s.Serve(ctx, ln, mcp.HTTPOptions{Tokens: []door.Token{door.NewToken("open", token)}})
}

// visit leads a browser to the page of a hub, which has its own server and asks for a token.
func visit(ctx context.Context, with Options, address string, onlyPrint bool) error {
	u, err := url.Parse(address)
	if err != nil || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" || u.Path != "" && u.Path != "/" {
		return exit.Usagef("%s: the address of a hub is https://, its name and perhaps a port", address)
	}
	u.Path = "/"
	if _, err := fmt.Fprintln(with.Out, u); err != nil {
		return fmt.Errorf("printing the address: %w", err)
	}
	fmt.Fprintln(with.Err, "the page asks for a token of Kubernetes: kubectl create token NAME makes one")
	if onlyPrint {
		return nil
	}
	name, args := browser(u.String())
	if err := exec.CommandContext(ctx, name, args...).Run(); err != nil {
		with.Warn("no browser could be started: %v; open the address above", err)
	}
	return nil
}

// isRing reports whether a folder is that of a recorder's ring, and not of a snapshot of one.
func isRing(dir string) bool {
	has := func(name string) bool {
		info, err := os.Lstat(filepath.Join(dir, name))
		return err == nil && info.Mode().IsRegular()
	}
	return has("seals.jsonl") && !has("pin.json")
}

// browser is the command that starts a browser.
func browser(target string) (name string, args []string) {
	switch runtime.GOOS {
	case "darwin":
		return "open", []string{target}
	case "windows":
		return "rundll32", []string{"url.dll,FileProtocolHandler", target}
	}
	return "xdg-open", []string{target}
}

// browse starts a browser with a file that leads to address, in a folder that only its owner can read: other
// users can see the arguments of a program, and they must not learn the token. The caller removes the folder.
func browse(ctx context.Context, address string) (dir string, err error) {
	if dir, err = os.MkdirTemp("", "pcapsule-open-"); err != nil {
		return "", err
	}
	file := filepath.Join(dir, "open.html")
	text := `<!doctype html><meta charset="utf-8"><title>pcapsule</title><meta http-equiv="refresh" content="0; url=` + html.EscapeString(address) + `">`
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		return dir, err
	}
	name, args := browser(file)
	cmd := exec.CommandContext(ctx, name, args...)
	if err := cmd.Start(); err != nil {
		return dir, err
	}
	go func() { _ = cmd.Wait() }() // it ends when the browser has the file; nothing depends on how
	return dir, nil
}
