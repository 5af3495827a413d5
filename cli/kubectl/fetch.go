package kubectl

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/pcapsule/pcapsule/cli/cache"
	"github.com/pcapsule/pcapsule/cli/command"
	"github.com/pcapsule/pcapsule/cli/exit"
	"github.com/pcapsule/pcapsule/hub/offer"
)

// Ports of the hub's pod.
const (
	hubPort = "8443"
	mcpPort = "8898"
)

// maxPorts limits how long to wait until kubectl forwards a port.
const maxPorts = 30 * time.Second

func (e *env) cmdFetch() *cobra.Command {
	var output string
	c := &cobra.Command{
		Use:     "fetch [NAMESPACE/]SNAPSHOT [-o FOLDER]",
		Short:   "Get the bundles of a snapshot, and verify them",
		Long:    `Get the bundles of a snapshot into a folder, one for each node, and verify them.`,
		Example: "  kubectl pcapsule fetch incident -o incident",
		Args:    cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			_, name, err := named(args[0])
			if err != nil {
				return err
			}
			if output == "" {
				output = name
			}
			return e.fetch(c.Context(), args[0], output)
		},
	}
	c.Flags().StringVarP(&output, "output", "o", "", "folder for the bundles (default: the snapshot's name)")
	return c
}

// named splits the name of a snapshot.
func named(arg string) (namespace, name string, err error) {
	namespace, name, ok := offer.Split(arg)
	if !ok {
		err = exit.Usagef("%q is not the name of a snapshot: use SNAPSHOT or NAMESPACE/SNAPSHOT", arg)
	}
	return namespace, name, err
}

// fetch gets bundles from the hub.
func (e *env) fetch(ctx context.Context, name, dir string) error {
	return e.withHub(ctx, func(token, address string, flags []string) error {
		return e.pcapsule(ctx, token, slices.Concat([]string{"fetch", address, name, "-o", dir}, flags)...)
	})
}

// withHub reaches the hub while do runs, which gets a token, an address, and the flags with which a command of
// pcapsule checks the hub's certificate.
func (e *env) withHub(ctx context.Context, do func(token, address string, flags []string) error) error {
	token, err := e.token(ctx)
	if err != nil {
		return err
	}
	ca, err := e.output(ctx, nil, "get", "configmap", "pcapsule-ca", "-o", `jsonpath={.data.ca\.crt}`)
	if err != nil {
		return err
	}
	f, err := os.CreateTemp("", "pcapsule-ca-*.crt")
	if err != nil {
		return exit.OutputError(err, os.TempDir())
	}
	defer os.Remove(f.Name())
	_, err = f.Write(ca)
	if err := errors.Join(err, f.Close()); err != nil {
		return exit.OutputError(err, f.Name())
	}
	flags := []string{"--ca", f.Name(), "--server-name", "pcapsule-hub." + e.namespace + ".svc"}
	if e.hub != "" {
		return do(token, e.hub, flags)
	}
	port, stop, err := e.forward(ctx, "service/pcapsule-hub", ":"+hubPort)
	if err != nil {
		return err
	}
	defer stop()
	return do(token, "https://localhost:"+port, flags)
}

func (e *env) cmdTail() *cobra.Command {
	format := ""
	c := &cobra.Command{
		Use:   "tail [KFL]",
		Short: "Print calls of the cluster while they are recorded",
		Long: `Print the calls that match a KFL filter as they finish, on the nodes that the resource LiveConfig
selects. Without a filter all calls are printed. A warning states each coverage gap.`,
		Example: "  kubectl pcapsule tail 'http && status_code >= 500'",
		Args:    cobra.MaximumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			if formats := []string{"table", "ndjson"}; !slices.Contains(formats, format) {
				return command.OneOf("--format", format, formats)
			}
			return e.withHub(c.Context(), func(token, address string, flags []string) error {
				return e.pcapsule(c.Context(), token, slices.Concat([]string{"tail", "--server", address, "--format", format}, flags, []string{"--"}, args)...)
			})
		},
	}
	c.Flags().StringVar(&format, "format", "table", "table or ndjson")
	return c
}

// token finds a token for the hub.
func (e *env) token(ctx context.Context) (string, error) {
	switch {
	case e.tokenFile != "":
		return command.Token(e.tokenFile)
	case e.account != "":
		namespace, name, ok := offer.Split(e.account)
		if !ok {
			return "", exit.Usagef("--account: %q is not a service account: use NAME or NAMESPACE/NAME", e.account)
		}
		text, err := e.in(namespace).output(ctx, nil, "create", "token", name)
		return strings.TrimSpace(string(text)), err
	case os.Getenv("PCAPSULE_TOKEN") != "":
		return os.Getenv("PCAPSULE_TOKEN"), nil
	}
	text, err := e.output(ctx, nil, "config", "view", "--minify", "--raw", "-o", "jsonpath={.users[0].user.token}")
	if err != nil {
		return "", err
	}
	if token := strings.TrimSpace(string(text)); token != "" {
		return token, nil
	}
	return "", exit.With(errors.New("the user of the kubeconfig has no token that the hub could check"), exit.Usage,
		"give --account with a service account, or a token in $PCAPSULE_TOKEN")
}

var forwarding = regexp.MustCompile(`^Forwarding from 127\.0\.0\.1:(\d+) ->`)

// forward forwards a port of an object until stop is called.
func (e *env) forward(ctx context.Context, object, ports string) (port string, stop func(), err error) {
	ctx, cancel := context.WithCancel(ctx)
	cmd := e.kubectl(ctx, "port-forward", "--address=127.0.0.1", object, ports)
	var errs bytes.Buffer
	cmd.Stderr = &errs
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		err = failed(ctx, "port-forward", err, "") // before cancel, which is not the reason
		cancel()
		return "", nil, err
	}
	timer := time.AfterFunc(maxPorts, cancel)
	lines := bufio.NewScanner(out)
	for port == "" && lines.Scan() {
		if m := forwarding.FindStringSubmatch(lines.Text()); m != nil {
			port = m[1]
		}
	}
	if port == "" || !timer.Stop() {
		cancel()
		err := errors.Join(errors.New("kubectl did not forward a port"), cmd.Wait())
		return "", nil, failed(context.WithoutCancel(ctx), "port-forward", err, errs.String())
	}
	done := make(chan struct{})
	go func() { // kubectl writes a line for each connection
		defer close(done)
		for lines.Scan() {
		}
		_ = cmd.Wait() // it was told to end
	}()
	return port, func() { cancel(); <-done }, nil
}

// question is a command of pcapsule that reads bundles.
type question struct {
	name  string
	at    int // place of the snapshot among the arguments
	short string
}

var questions = []question{
	{"query", 0, "List the calls of a snapshot that match a KFL filter"},
	{"ask", 1, "Ask a question about a snapshot"},
	{"sql", 0, "Run SQL over the tables of a snapshot"},
	{"info", 0, "Summarize a snapshot"},
	{"show", 0, "Show a call of a snapshot"},
	{"report", 0, "Write a report about a snapshot"},
	{"shell", 0, "Ask questions about a snapshot at a prompt"},
}

func (e *env) cmdQuestion(q question) *cobra.Command {
	use := q.name + " [NAMESPACE/]SNAPSHOT [ARGUMENTS...]"
	if q.at == 1 {
		use = q.name + " QUESTION [NAMESPACE/]SNAPSHOT [ARGUMENTS...]"
	}
	return &cobra.Command{
		Use:   use,
		Short: q.short,
		Long: q.short + `, as pcapsule ` + q.name + ` does. Its bundles are fetched into the cache once.
Arguments after the snapshot are passed to pcapsule ` + q.name + `; put its flags after --.`,
		Args: cobra.MinimumNArgs(q.at + 1),
		RunE: func(c *cobra.Command, args []string) error {
			bundles, err := e.cached(c.Context(), args[q.at])
			if err != nil {
				return err
			}
			line := slices.Concat([]string{q.name}, args[:q.at], bundles, args[q.at+1:])
			return e.pcapsule(c.Context(), "", line...)
		},
	}
}

// cached returns the bundles of a snapshot, fetched once.
func (e *env) cached(ctx context.Context, name string) ([]string, error) {
	if _, _, err := named(name); err != nil {
		return nil, err
	}
	var s snapshot
	if err := e.get(ctx, &s, snapshots, name); err != nil {
		return nil, err
	}
	if !offer.Plain(s.Metadata.UID) {
		return nil, fmt.Errorf("snapshot %s has no valid UID: %.80q", name, s.Metadata.UID)
	}
	all, err := cache.Dir("snapshots")
	if err != nil {
		return nil, err
	}
	dir := filepath.Join(all, s.Metadata.UID)
	mark := filepath.Join(dir, "complete")
	if _, err := os.Stat(mark); err != nil {
		forget(all)
		err := e.quietly().fetch(ctx, name, dir)
		if err == nil {
			err = os.WriteFile(mark, nil, 0o600)
		}
		if err != nil {
			return nil, err
		}
	}
	now := time.Now()
	_ = os.Chtimes(dir, now, now) // for forget; a read-only cache can still be used
	return bundlesIn(dir)
}

// quietly returns e with standard error for both, where what a step prints is not the answer.
func (e *env) quietly() *env {
	streams, quiet := *e.Streams, *e
	streams.Out, quiet.Streams = streams.Err, &streams
	return &quiet
}

// forget removes the snapshots that were not used for cache.MaxAge.
func forget(all string) {
	list, err := os.ReadDir(all)
	if err != nil {
		return // there is none
	}
	for _, f := range list {
		if info, err := f.Info(); err == nil && time.Since(info.ModTime()) > cache.MaxAge {
			_ = os.RemoveAll(filepath.Join(all, f.Name())) // the next time tries again
		}
	}
}

// bundlesIn lists the bundles of a folder.
func bundlesIn(dir string) ([]string, error) {
	list, err := filepath.Glob(filepath.Join(dir, "*"+offer.Extension))
	if err == nil && len(list) == 0 {
		err = exit.With(errors.New("the snapshot has no bundles"), exit.Other, "")
	}
	return list, err
}

func (e *env) cmdMCP() *cobra.Command {
	port := 0
	c := &cobra.Command{
		Use:   "mcp",
		Short: "Reach the MCP server in the hub's pod",
		Long: `Forward a local port to the MCP server in the hub's pod, which the chart's value mcp.enabled starts, and
print its address. It ends with Ctrl-C.`,
		Example: "  kubectl pcapsule mcp",
		Args:    cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			p, stop, err := e.forward(c.Context(), "deployment/pcapsule-hub", fmt.Sprintf("%d:%s", port, mcpPort))
			if err != nil {
				return err
			}
			defer stop()
			fmt.Fprintf(e.Out, "http://127.0.0.1:%s/mcp\n", p)
			<-c.Context().Done()
			return nil
		},
	}
	c.Flags().IntVar(&port, "port", 8898, "local port; 0: a free one")
	command.Between(c.Flags(), "port", &port, 0, 65535)
	return c
}
