// Package kubectl is the command kubectl, which is also the plugin kubectl-pcapsule: it makes
// snapshots of a cluster, fetches them, and asks questions about them. It runs the program kubectl,
// so it uses that program's connection, login and rights, and needs no others than those of a
// person who may have snapshots.
package kubectl

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/pcapsule/pcapsule/cli/command"
	"github.com/pcapsule/pcapsule/cli/console"
	"github.com/pcapsule/pcapsule/cli/exit"
	"github.com/pcapsule/pcapsule/hub/offer"
)

// Plugin is the name under which kubectl finds the program.
const Plugin = "kubectl-pcapsule"

// Args are the arguments of pcapsule for a command line. Those of a program with the name of the plugin begin
// with Plugin.
func Args(line []string) []string {
	if strings.TrimSuffix(filepath.Base(line[0]), ".exe") == Plugin {
		return slices.Concat([]string{Plugin}, line[1:])
	}
	return line[1:]
}

// AsPlugin makes help and hints of the command kubectl below root name it as kubectl users call it, kubectl
// pcapsule, if args are those of the plugin. It returns the arguments for root.
func AsPlugin(root *cobra.Command, args []string) []string {
	if len(args) == 0 || args[0] != Plugin {
		return args
	}
	root.Annotations = map[string]string{cobra.CommandDisplayNameAnnotation: "kubectl"}
	for _, c := range root.Commands() {
		if c.Name() == "kubectl" {
			c.Use = "pcapsule"
		}
	}
	return slices.Concat([]string{"pcapsule"}, args[1:])
}

type env struct {
	*console.Streams
	namespace, context, kubeconfig string // of the hub; for kubectl
	hub                            string // its address; empty: through a forwarded port
	account, tokenFile             string
}

// Command returns the command kubectl.
func Command(s *console.Streams) *cobra.Command {
	e := &env{Streams: s}
	c := &cobra.Command{
		Use:   "kubectl",
		Short: "Make and read snapshots of a cluster, as a plugin of kubectl",
		Long: `Make snapshots of a cluster with pcapsule-hub, get their bundles, and ask questions about them.

Link pcapsule as ` + Plugin + ` in your PATH to use it as a plugin: kubectl pcapsule snapshot.

It runs kubectl with your configuration and rights. To fetch bundles it sends the hub a Kubernetes
token: from your kubeconfig, $PCAPSULE_TOKEN or --token-file, or one that it creates for a service
account (--account).

SNAPSHOT is the name of a snapshot in the hub's namespace, or NAMESPACE/SNAPSHOT. With the role
pcapsule-tenant in a namespace you make and get those there; you also need the hub's address (--hub),
because forwarding its port needs a right in its namespace.`,
		Example: `  ln -s "$(command -v pcapsule)" /usr/local/bin/` + Plugin + `
  kubectl pcapsule snapshot incident --last 10m
  kubectl pcapsule query incident 'http && status_code >= 500'
  kubectl pcapsule tail 'http && status_code >= 500'
  kubectl pcapsule snapshot shop/incident --last 10m --hub https://hub.example:8443 -o incident
  kubectl pcapsule record shop/payment-7d4b9 --for 1m -o payment.pcapsule`,
	}
	fl := c.PersistentFlags()
	fl.StringVarP(&e.namespace, "namespace", "n", "pcapsule", "namespace of the hub")
	fl.StringVar(&e.context, "context", "", "context of the kubeconfig")
	fl.StringVar(&e.kubeconfig, "kubeconfig", "", "kubeconfig file")
	fl.StringVar(&e.hub, "hub", "", "address of the hub, such as https://hub.example:8443 (default: through kubectl port-forward)")
	fl.StringVar(&e.account, "account", "", "service account whose token gets bundles, of the hub's namespace or NAMESPACE/NAME")
	fl.StringVar(&e.tokenFile, "token-file", "", "file with a token that gets bundles (default: $PCAPSULE_TOKEN)")
	c.AddCommand(e.cmdSnapshot(), e.cmdFetch(), e.cmdRecord(), e.cmdTail(), e.cmdMCP())
	for _, q := range questions {
		c.AddCommand(e.cmdQuestion(q))
	}
	for _, sub := range c.Commands() {
		sub.Args = command.CheckArgs(sub.Args)
		sub.PreRunE = func(*cobra.Command, []string) error {
			return cmp.Or(readable("--kubeconfig", e.kubeconfig), readable("--token-file", e.tokenFile))
		}
	}
	return c
}

// readable refuses a file, if a flag names one, that cannot be opened.
func readable(flag, path string) error {
	if path == "" {
		return nil
	}
	f, err := os.Open(path)
	if err != nil {
		return exit.With(fmt.Errorf("%s: %w", flag, err), exit.NotCapture, "")
	}
	return f.Close()
}

// in returns e for the objects of a namespace; "": the hub's.
func (e *env) in(namespace string) *env {
	x := *e
	x.namespace = cmp.Or(namespace, e.namespace)
	return &x
}

// kubectl returns a command of kubectl.
func (e *env) kubectl(ctx context.Context, args ...string) *exec.Cmd {
	for _, f := range [][2]string{{"namespace", e.namespace}, {"context", e.context}, {"kubeconfig", e.kubeconfig}} {
		if f[1] != "" {
			args = append(args, "--"+f[0]+"="+f[1])
		}
	}
	cmd := exec.CommandContext(ctx, "kubectl", args...)
	cmd.WaitDelay = 5 * time.Second
	return cmd
}

// output runs kubectl and returns what it prints.
func (e *env) output(ctx context.Context, stdin []byte, args ...string) ([]byte, error) {
	cmd := e.kubectl(ctx, args...)
	var errs bytes.Buffer
	cmd.Stdin, cmd.Stderr = bytes.NewReader(stdin), &errs
	out, err := cmd.Output()
	if err != nil {
		return nil, failed(ctx, args[0], err, errs.String())
	}
	return out, nil
}

// failed is the error of kubectl, with what it said last.
func failed(ctx context.Context, verb string, err error, said string) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if errors.Is(err, exec.ErrNotFound) {
		return exit.With(errors.New("kubectl is not in the PATH"), exit.Other, "install kubectl, which this command runs")
	}
	said = strings.TrimSpace(said)
	if said = said[strings.LastIndexByte(said, '\n')+1:]; said == "" {
		said = err.Error()
	}
	for strings.HasPrefix(said, "error: ") {
		said = strings.TrimPrefix(said, "error: ")
	}
	for _, way := range []string{"connection refused", " was refused", "no such host", "i/o timeout"} {
		if strings.Contains(said, way) {
			said, _, _ = strings.Cut(said[max(0, strings.Index(said, "dial ")):], "; ")
			said = strings.NewReplacer("dial tcp ", "", "dial tcp: ", "", "connect: ", "").Replace(said)
			return exit.With(fmt.Errorf("the cluster cannot be reached: %s", said), exit.Other, "kubectl cluster-info shows which cluster is used; --context and --kubeconfig choose another")
		}
	}
	if strings.Contains(said, "current-context") {
		return exit.With(errors.New("the kubeconfig chooses no cluster"), exit.Other, "kubectl config get-contexts lists clusters; give --context, or --kubeconfig with another file")
	}
	return fmt.Errorf("kubectl %s: %s", verb, said)
}

// get reads an object of the API, [NAMESPACE/]NAME.
func (e *env) get(ctx context.Context, out any, kind, name string) error {
	namespace, plain, _ := offer.Split(name)
	text, err := e.in(namespace).output(ctx, nil, "get", kind, plain, "-o", "json")
	if err != nil {
		return err
	}
	if err := json.Unmarshal(text, out); err != nil {
		return fmt.Errorf("reading %s %s: %w", kind, name, err)
	}
	return nil
}

// pcapsule runs another command of this program.
func (e *env) pcapsule(ctx context.Context, token string, args ...string) error {
	path, err := os.Executable()
	if err != nil {
		return fmt.Errorf("finding pcapsule: %w", err)
	}
	cmd := exec.CommandContext(ctx, path, args...)
	cmd.Args[0] = "pcapsule"
	cmd.Env = os.Environ()
	if token != "" {
		cmd.Env = append(cmd.Env, "PCAPSULE_TOKEN="+token)
	}
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, console.Direct(e.Out), console.Direct(e.Err)
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	cmd.WaitDelay = 5 * time.Second
	return exit.OfProgram(cmd.Run())
}
