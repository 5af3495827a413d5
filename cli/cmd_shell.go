package cli

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/pcapsule/pcapsule/cli/command"
	"github.com/pcapsule/pcapsule/cli/console"
	"github.com/pcapsule/pcapsule/cli/exit"
	"github.com/pcapsule/pcapsule/forensics/finding/all"
	"github.com/pcapsule/pcapsule/kfl"
)

const shellHelp = `a KFL filter   list the calls that match
SELECT …       run SQL
a question     answer it: get-latency --service shop/cart
show 42        show a call; also follow, info, schema
help, exit     show this text; leave (also Ctrl-D)
Tab            complete a name; arrow up: earlier lines
`

func (e *env) cmdShell() *cobra.Command {
	c := &cobra.Command{
		Use:   "shell BUNDLE|CAPTURE...",
		Short: "Explore a bundle interactively: KFL, SQL, questions and show, with completion",
		Long:  "Open a prompt. A line is one of these:\n\n  " + strings.ReplaceAll(strings.TrimSpace(shellHelp), "\n", "\n  "),
		Example: `  pcapsule shell incident.pcapsule
  echo 'http && status_code >= 500' | pcapsule shell incident.pcapsule`,
		Args:              cobra.MinimumNArgs(1),
		ValidArgsFunction: command.CompleteBundles,
		RunE:              func(c *cobra.Command, args []string) error { return e.runShell(c.Context(), args) },
	}
	e.captureFlags(c)
	return c
}

func (e *env) runShell(ctx context.Context, args []string) error {
	cs, err := e.openCase(ctx, args) // once, so that a problem with a bundle is reported once
	if err != nil {
		return err
	}
	lang := cs.Language(ctx, nil)
	var paths []string
	for _, b := range cs.Bundles() {
		paths = append(paths, b.Path)
	}
	if err := cs.Close(); err != nil {
		return err
	}
	read, end := e.lines(lang)
	defer end()
	for {
		line, err := read()
		if errors.Is(err, io.EOF) || err == nil && slices.Contains([]string{"exit", "quit", `\q`, ".quit", ".exit"}, line) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("reading a line: %w", err)
		}
		if line == "" {
			continue
		}
		if line == "help" {
			fmt.Fprint(e.Out, shellHelp)
			continue
		}
		running, stop := signal.NotifyContext(ctx, os.Interrupt)
		e.runLine(running, shellArgs(line, paths))
		if stop(); ctx.Err() != nil {
			return ctx.Err()
		}
	}
}

// runLine runs one command line. An error is printed and does not end the shell.
func (e *env) runLine(ctx context.Context, args []string) {
	one := &env{prompt: true, Streams: console.Streams{In: strings.NewReader(""), Out: e.Out, Err: e.Err, Colour: e.Colour}}
	root := one.root()
	root.SetArgs(append([]string{"--color", e.Colour}, args...))
	root.SetOut(one.Out)
	root.SetErr(one.Err)
	used, err := root.ExecuteContextC(ctx)
	one.EndPager()
	if err != nil && !exit.IsClosedPipe(err) {
		if !one.running {
			err = misused(root, args, err)
		}
		one.report(err, exitCode(ctx, err), used.CommandPath())
	}
}

// shellArgs translates a line of the shell into a command line.
func shellArgs(line string, paths []string) []string {
	words := strings.Fields(line)
	with := func(head []string, tail ...string) []string { return slices.Concat(head, paths, tail) }
	switch first := strings.ToLower(words[0]); first {
	case "select", "with", "from", "describe", "summarize", "values", "table", "pivot", "unpivot":
		return with([]string{"sql"}, "--", line)
	case `\d`, `\d+`: // of psql
		if len(words) > 1 {
			return append([]string{"schema", "--"}, words[1:]...)
		}
		return with([]string{"sql"}, "--", "SHOW TABLES")
	case `\dt`, ".tables":
		return with([]string{"sql"}, "--", "SHOW TABLES")
	case "show", "follow":
		if len(words) == 2 && strings.EqualFold(strings.TrimRight(words[1], ";"), "tables") {
			return with([]string{"sql"}, "--", line)
		}
		return with(words[:1], words[1:]...)
	case "info":
		return with(words)
	case "schema":
		return words
	case "ask":
		if len(words) > 1 {
			return with(words[:2], words[2:]...)
		}
		return words
	}
	for _, q := range all.Questions() {
		if q.Name == words[0] || dashed(q.Name) == words[0] {
			return with([]string{"ask", words[0]}, words[1:]...)
		}
	}
	return with([]string{"query"}, "--", line)
}

// lines reads lines from a terminal, with editing, history and completion, or from a pipe.
func (e *env) lines(lang kfl.Env) (read func() (string, error), end func()) {
	in, out := os.Stdin, console.File(e.Out)
	if out == nil || !console.Terminal(e.Out) || !term.IsTerminal(int(in.Fd())) {
		s := bufio.NewScanner(e.In)
		return func() (string, error) {
			if !s.Scan() {
				if s.Err() != nil {
					return "", s.Err()
				}
				return "", io.EOF
			}
			return strings.TrimSpace(s.Text()), nil
		}, func() {}
	}
	signal.Reset(os.Interrupt) // Ctrl-C ends the running line, not the shell
	t := term.NewTerminal(struct {
		io.Reader
		io.Writer
	}{in, out}, "pcapsule> ")
	h := openHistory()
	t.History = h
	t.AutoCompleteCallback = func(line string, pos int, key rune) (string, int, bool) {
		if key != '\t' {
			return "", 0, false
		}
		text, at, others := completeLine(line, pos, lang)
		if len(others) > 0 {
			for _, l := range console.Wrap(strings.Join(others, "  "), max(console.Columns(e.Out), console.LeastWidth)) {
				fmt.Fprintf(t, "%s\n", l)
			}
		}
		return text, at, true
	}
	fmt.Fprintln(e.Out, "Type help to see what you can enter; Ctrl-D exits.")
	return func() (string, error) {
		before, err := term.MakeRaw(int(in.Fd()))
		if err != nil {
			return "", err
		}
		defer term.Restore(int(in.Fd()), before)
		if w, height, err := term.GetSize(int(out.Fd())); err == nil && w > 0 { // 0 is unknown
			_ = t.SetSize(w, height) // an error only affects line breaks
		}
		line, err := t.ReadLine()
		return strings.TrimSpace(line), err
	}, h.close
}

const maxOffered = 40 // listed candidates

// completeLine completes the KFL, the question or the command in a line. If there are
// several candidates it completes their common prefix and returns them in others.
func completeLine(line string, pos int, lang kfl.Env) (text string, at int, others []string) {
	list := kfl.CompleteIn(line, pos, lang)
	if word := line[:pos]; !strings.ContainsAny(word, " \t") {
		names := []string{"show", "follow", "info", "schema", "ask", "help", "exit", "select"}
		for _, q := range all.Questions() {
			names = append(names, dashed(q.Name))
		}
		for _, n := range names {
			if strings.HasPrefix(n, word) {
				// A minus in this name is not an operator.
				list = slices.DeleteFunc(list, func(c kfl.Candidate) bool { return c.Start > 0 })
				list = append(list, kfl.Candidate{Text: n, Start: 0, End: pos})
			}
		}
	}
	if len(list) == 0 {
		return line, pos, nil
	}
	first, common := list[0], list[0].Text
	for _, c := range list {
		for !strings.HasPrefix(c.Text, common) {
			common = common[:len(common)-1]
		}
		if len(others) < maxOffered {
			others = append(others, c.Text)
		}
	}
	if len(list) == 1 {
		others = nil
	}
	if len(common) < pos-first.Start {
		return line, pos, others
	}
	return line[:first.Start] + common + line[first.End:], first.Start + len(common), others
}

const maxHistory = 1000 // lines

// history keeps lines across sessions, in the user's cache.
type history struct {
	path  string
	lines []string // oldest first
}

func openHistory() *history {
	h := &history{}
	if dir, err := os.UserCacheDir(); err == nil {
		h.path = filepath.Join(dir, "pcapsule", "history")
		if data, err := os.ReadFile(h.path); err == nil {
			h.lines = strings.Split(strings.TrimRight(string(data), "\n"), "\n")
		}
	}
	return h
}

// Add implements term.History.
func (h *history) Add(line string) {
	if line != "" && (len(h.lines) == 0 || h.lines[len(h.lines)-1] != line) {
		h.lines = append(h.lines, line)
	}
}

// Len implements term.History.
func (h *history) Len() int { return len(h.lines) }

// At implements term.History; the newest line is 0.
func (h *history) At(i int) string { return h.lines[len(h.lines)-1-i] }

// close writes the history. Filters may contain secrets, so only the owner can read it. If
// it cannot be written it is lost without an error.
func (h *history) close() {
	if h.path == "" || os.MkdirAll(filepath.Dir(h.path), 0o700) != nil {
		return
	}
	keep := h.lines[max(0, len(h.lines)-maxHistory):]
	_ = os.WriteFile(h.path, []byte(strings.Join(keep, "\n")+"\n"), 0o600)
}
