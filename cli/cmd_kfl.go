package cli

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/pcapsule/pcapsule/cli/command"
	"github.com/pcapsule/pcapsule/cli/console"
	"github.com/pcapsule/pcapsule/cli/exit"
	"github.com/pcapsule/pcapsule/forensics"
	"github.com/pcapsule/pcapsule/kfl"
)

func (e *env) cmdKFL() *cobra.Command {
	c := &cobra.Command{
		Use:   "kfl",
		Short: "Check, format, explain and complete KFL filters",
		Long: `KFL is the filter language for calls; docs/kfl.md describes it. These commands need no bundle.
If the filter is -, it is read from standard input. Macros are read from --macros FILE, or else
from pcapsule/macros.kfl in the configuration folder ($XDG_CONFIG_HOME or ~/.config).`,
		Example: `  pcapsule kfl check 'http && stats_code >= 500'
  pcapsule kfl fmt 'http and response.status==503'
  pcapsule kfl complete 'http && sta' --json`,
	}
	for _, sub := range []*cobra.Command{e.cmdKFLCheck(), e.cmdKFLFmt(), e.cmdKFLExplain(), e.cmdKFLSQL(), e.cmdKFLComplete(), e.cmdKFLFields()} {
		sub.Args = command.CheckArgs(sub.Args)
		run := sub.RunE
		sub.RunE = func(c *cobra.Command, args []string) error { return e.questionError(run(c, args)) }
		c.AddCommand(sub)
	}
	return c
}

// kflFlags are the flags that the kfl commands share.
type kflFlags struct {
	macros string
	bundle []string
	asJSON bool
}

func (f *kflFlags) flags(c *cobra.Command, what string) {
	c.Flags().StringVar(&f.macros, "macros", "", "file of macros (default: pcapsule/macros.kfl in the configuration folder)")
	c.Flags().StringSliceVar(&f.bundle, "bundle", nil, "use the columns of this bundle instead of those that this release knows")
	c.Flags().BoolVar(&f.asJSON, "json", false, what)
}

// source returns the KFL of an argument, or of standard input.
func (e *env) source(arg string) (string, error) {
	if arg != "-" {
		return arg, nil
	}
	const most = 1 << 20 // far above the length that the compiler accepts
	data, err := io.ReadAll(io.LimitReader(e.In, most))
	if err != nil {
		return "", fmt.Errorf("reading standard input: %w", err)
	}
	return strings.TrimSuffix(string(data), "\n"), nil
}

// macros reads a file of macros. If path is empty it reads the one in the configuration
// folder, if there is one.
func (e *env) macros(path string) (map[string]string, error) {
	given := path != ""
	if !given {
		dir, err := os.UserConfigDir()
		if err != nil {
			return nil, nil // a machine without a home folder has no macros
		}
		path = filepath.Join(dir, "pcapsule", "macros.kfl")
	}
	f, err := os.Open(path)
	if !given && (errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrPermission)) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("opening macros: %w", err)
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, 2<<20))
	if err != nil {
		return nil, fmt.Errorf("reading macros: %w", err)
	}
	list, err := kfl.ParseMacros(string(data))
	var fault *kfl.Error
	if errors.As(err, &fault) {
		return nil, exit.With(fmt.Errorf("macros of %s: %s", path, fault.Pretty()), exit.Syntax, "each line is name := filter; docs/kfl.md describes KFL")
	}
	return list, err
}

// given reads KFL and the environment it is compiled for. end closes the case that was
// opened for that.
func (e *env) given(c *cobra.Command, text string, f *kflFlags) (src string, lang kfl.Env, end func(), err error) {
	if src, err = e.source(text); err != nil {
		return "", kfl.Env{}, nil, err
	}
	lang, cs, err := e.language(c, f)
	end = func() {
		if cs != nil {
			cs.Close()
		}
	}
	return src, lang, end, err
}

// language returns the environment that KFL is compiled for: this release, or a bundle.
func (e *env) language(c *cobra.Command, f *kflFlags) (kfl.Env, *forensics.Case, error) {
	macros, err := e.macros(f.macros)
	if err != nil {
		return kfl.Env{}, nil, err
	}
	if len(f.bundle) == 0 {
		return kfl.Env{Macros: macros}, nil, nil
	}
	cs, err := e.openCase(c.Context(), f.bundle)
	if err != nil {
		return kfl.Env{}, nil, err
	}
	return cs.Language(c.Context(), macros), cs, nil
}

func (e *env) cmdKFLCheck() *cobra.Command {
	var f kflFlags
	c := &cobra.Command{
		Use:   "check [KFL]",
		Short: "Check whether KFL is valid, and point at the mistake if it is not",
		Long:  "Check a filter, and every macro. Without a filter only the macros are checked.",
		Args:  cobra.MaximumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			lang, cs, err := e.language(c, &f)
			if err != nil {
				return err
			}
			if cs != nil {
				defer cs.Close()
			}
			return e.runKFLCheck(args, lang, f.asJSON)
		},
	}
	f.flags(c, "print JSON: ok, notes, and the errors with their places")
	return c
}

// checked is the output of kfl check --json.
type checked struct {
	OK     bool       `json:"ok"`
	Notes  []string   `json:"notes"`
	Errors []kflError `json:"errors"`
}

type kflError struct {
	Offset  int    `json:"offset"` // bytes
	Line    int    `json:"line"`
	Column  int    `json:"column"` // characters
	Length  int    `json:"length"` // bytes
	Message string `json:"message"`
	Hint    string `json:"hint,omitempty"`
	Macro   string `json:"macro,omitempty"` // the macro whose text contains the mistake
	Limit   bool   `json:"limit,omitempty"`
}

func (e *env) runKFLCheck(args []string, lang kfl.Env, asJSON bool) error {
	out := checked{Notes: []string{}, Errors: []kflError{}}
	var faults []*kfl.Error
	if len(args) > 0 {
		src, err := e.source(args[0])
		if err != nil {
			return err
		}
		q, err := kfl.Compile(src, lang)
		var fault *kfl.Error
		if errors.As(err, &fault) {
			faults = append(faults, fault)
		} else {
			out.Notes = append(out.Notes, q.Notes()...)
		}
	}
	for _, fault := range kfl.CheckMacros(lang) {
		if len(faults) == 0 || *faults[0] != *fault { // compiling the filter may have reported it already
			faults = append(faults, fault)
		}
	}
	out.OK = len(faults) == 0
	if asJSON {
		for _, x := range faults {
			out.Errors = append(out.Errors, kflError{x.Offset, x.Line, x.Col, x.Len, x.Msg, x.Hint, x.Macro, x.Limit})
		}
		if err := e.JSON(out); err != nil {
			return err
		}
	}
	for i, x := range faults {
		if i == len(faults)-1 {
			return x
		}
		if !asJSON {
			fmt.Fprintln(e.Err, console.Lines(x.Pretty()))
		}
	}
	if !asJSON {
		for _, n := range out.Notes {
			fmt.Fprintln(e.Out, "note: "+n)
		}
		fmt.Fprintln(e.Out, "ok")
	}
	return nil
}

func (e *env) cmdKFLFmt() *cobra.Command {
	return &cobra.Command{
		Use:   "fmt KFL",
		Short: "Format KFL without changing its meaning",
		Args:  cobra.ExactArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			src, err := e.source(args[0])
			if err != nil {
				return err
			}
			text, err := kfl.Format(src)
			if err != nil {
				return err
			}
			_, err = fmt.Fprintln(e.Out, text)
			return err
		},
	}
}

// explained is the output of kfl explain --json.
type explained struct {
	KFL   string   `json:"kfl"`
	Where string   `json:"where"` // SQL condition on the view calls
	Args  []any    `json:"args"`
	From  string   `json:"from"` // the narrowest relation with all calls that can match
	Reads []string `json:"reads"`
	Notes []string `json:"notes"`
}

func (e *env) cmdKFLExplain() *cobra.Command {
	var f kflFlags
	c := &cobra.Command{
		Use:   "explain KFL",
		Short: "Show the SQL for a KFL filter, with its arguments",
		Args:  cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			src, lang, end, err := e.given(c, args[0], &f)
			if err != nil {
				return err
			}
			defer end()
			q, err := kfl.Compile(src, lang)
			if err != nil {
				return err
			}
			if !f.asJSON {
				_, err = fmt.Fprint(e.Out, q.Explain(e.Screen()))
				return err
			}
			text, err := kfl.Format(src)
			if err != nil {
				return err
			}
			x := explained{KFL: text, Args: []any{}, From: q.From(), Reads: q.Columns(), Notes: append([]string{}, q.Notes()...)}
			x.Where, x.Args = q.SQL()
			if x.Args == nil {
				x.Args = []any{}
			}
			return e.JSON(x)
		},
	}
	f.flags(c, "print JSON")
	return c
}

func (e *env) cmdKFLComplete() *cobra.Command {
	var f kflFlags
	at := -1
	c := &cobra.Command{
		Use:   "complete KFL",
		Short: "List completions at a position, for editors",
		Long: `List completions at a position in KFL. --at is a byte offset; the default is the end. Each
candidate replaces the text between its start and end.`,
		Example: `  pcapsule kfl complete 'http && sta' --json
  pcapsule kfl complete 'protocol == "po'`,
		Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			src, lang, end, err := e.given(c, args[0], &f)
			if err != nil {
				return err
			}
			defer end()
			if at < 0 || at > len(src) {
				at = len(src)
			}
			list := kfl.CompleteIn(src, at, lang)
			if f.asJSON {
				if list == nil {
					list = []kfl.Candidate{}
				}
				return e.JSON(list)
			}
			for _, x := range list {
				if _, err := fmt.Fprintf(e.Out, "%s\t%s\t%s\n", x.Text, strings.TrimSpace(x.Kind+" "+x.Type), x.Doc); err != nil {
					return err
				}
			}
			return nil
		},
	}
	f.flags(c, "print JSON")
	c.Flags().IntVar(&at, "at", -1, "byte offset (default: the end)")
	command.Between(c.Flags(), "at", &at, 0, command.Most)
	return c
}

// kflField is the output of kfl fields --json for each field.
type kflField struct {
	Name      string   `json:"name"`
	Type      string   `json:"type"`
	Unit      string   `json:"unit,omitempty"`
	Aliases   []string `json:"aliases,omitempty"`
	Protocols []string `json:"protocols,omitempty"`
	Is        string   `json:"is,omitempty"`
	Doc       string   `json:"doc"`
}

func (e *env) cmdKFLFields() *cobra.Command {
	var asJSON bool
	c := &cobra.Command{
		Use:   "fields [WORD]",
		Short: "List KFL's fields and keywords, or those with WORD in the name or description",
		Args:  cobra.MaximumNArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			word := strings.ToLower(strings.Join(args, ""))
			list := []kflField{}
			for _, f := range kfl.Fields() {
				if all := strings.ToLower(f.Name + " " + strings.Join(f.Aliases, " ") + " " + f.Doc); !strings.Contains(all, word) {
					continue
				}
				list = append(list, kflField{f.Name, f.Type, f.Unit, f.Aliases, f.Protocols, f.Source, f.Doc})
			}
			if asJSON {
				return e.JSON(list)
			}
			if len(list) == 0 {
				e.Warn("no field or keyword contains %q in its name or description; pcapsule kfl fields lists all", word)
			}
			for _, f := range list {
				if err := console.Row(e.Out, fmt.Sprintf("%-28s %-13s ", f.Name, f.Type), f.Doc); err != nil {
					return err
				}
			}
			return nil
		},
	}
	c.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return c
}
