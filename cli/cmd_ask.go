package cli

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strings"

	"github.com/google/jsonschema-go/jsonschema"
	"github.com/spf13/cobra"

	"github.com/pcapsule/pcapsule/cli/command"
	"github.com/pcapsule/pcapsule/cli/console"
	"github.com/pcapsule/pcapsule/cli/exit"
	"github.com/pcapsule/pcapsule/cli/page"
	"github.com/pcapsule/pcapsule/forensics"
	"github.com/pcapsule/pcapsule/forensics/ask"
	"github.com/pcapsule/pcapsule/forensics/finding/all"
	"github.com/pcapsule/pcapsule/mcp/tools"
)

func (e *env) cmdAsk() *cobra.Command {
	c := &cobra.Command{
		Use:   "ask QUESTION BUNDLE|CAPTURE...",
		Short: "Answer common questions: failures, traces, dependencies, latency, patterns, access",
		Long: `Ask one of the questions below. Every answer states how much of the time range was recorded
and cites the calls and packets behind it. pcapsule mcp and pcapsule serve offer the same questions
as tools. pcapsule ask QUESTION --help lists the flags of a question.`,
		Example: `  pcapsule ask get-api-stats incident.pcapsule --service checkout
  pcapsule ask get-api-stats incident.pcapsule --from 15m --order errors --json | jq .endpoints`,
		RunE: func(c *cobra.Command, args []string) error {
			if len(args) > 0 {
				return notAQuestion(c, args)
			}
			return c.Help()
		},
		Args: cobra.ArbitraryArgs,
	}
	c.SetFlagErrorFunc(func(at *cobra.Command, err error) error {
		if words := at.Flags().Args(); at == c && len(words) > 0 {
			return notAQuestion(c, words)
		}
		return command.FlagError(at, err)
	})
	for _, q := range all.Questions() {
		c.AddCommand(e.cmdQuestion(q))
	}
	return c
}

// notAQuestion is the error if the first word after ask is not a question.
func notAQuestion(c *cobra.Command, words []string) error {
	if _, err := os.Stat(words[0]); err == nil {
		question := "QUESTION"
		if len(words) > 1 {
			question = words[1]
		}
		return exit.With(fmt.Errorf("missing question before %s", words[0]), exit.Usage, "put the question first: pcapsule ask "+question+" "+words[0])
	}
	hint := "pcapsule ask --help lists the questions"
	if near := command.Likely(c, words[0]); near != "" {
		hint = near
	}
	return exit.With(fmt.Errorf("unknown question %q", words[0]), exit.Usage, hint)
}

// cmdQuestion makes a command of a question, with a flag for each field of its input.
func (e *env) cmdQuestion(q ask.Question) *cobra.Command {
	var asJSON, asYAML bool
	given := map[string]func() any{}
	c := &cobra.Command{
		Use:               dashed(q.Name) + " BUNDLE|CAPTURE...",
		Short:             q.Title,
		Long:              q.Doc,
		ValidArgsFunction: command.CompleteBundles,
		Args:              command.CheckArgs(cobra.MinimumNArgs(1)),
	}
	if c.Name() != q.Name {
		c.Aliases = []string{q.Name}
	}
	c.RunE = func(c *cobra.Command, args []string) error {
		in := map[string]any{}
		for name, value := range given {
			if c.Flags().Changed(dashed(name)) {
				in[name] = value()
			}
		}
		raw, err := json.Marshal(in)
		if err != nil {
			return err
		}
		ctx, cs, end, err := e.caseWithin(c, args)
		if err != nil {
			return err
		}
		defer end()
		form, _ := in["format"].(string)
		drawn := !asJSON && form != "" && form != "json"
		var answer any
		switch {
		case asYAML || drawn:
			answer, err = q.Ask(ctx, cs, raw)
		case asJSON:
			answer, err = tools.Page(ctx, cs, q, raw)
		default:
			answer, err = tools.WholePage(ctx, cs, q, raw)
		}
		if usage := flagError(err); usage != err {
			return usage
		}
		if err != nil {
			return e.questionError(err)
		}
		if d, ok := answer.(ask.Document); ok && asYAML {
			return e.printDocument(d.Document())
		}
		if d, ok := answer.(interface{ Drawing() (string, []string) }); ok && drawn {
			return e.printDocument(d.Drawing())
		}
		return e.printAnswer(answer, asJSON)
	}
	in := tools.Input(q)
	for _, name := range slices.Sorted(maps.Keys(in.Properties)) {
		given[name] = addFlag(c, dashed(name), in.Properties[name])
		if values := ask.Allowed(in.Properties[name]); values != nil {
			completes(c, dashed(name), values...)
		}
		if slices.Contains(nameFlags, name) {
			cobra.CheckErr(c.RegisterFlagCompletionFunc(name, completeNames))
		}
	}
	e.maskFlag(c)
	e.listFlags(c)
	e.captureFlags(c)
	deadlineFlag(c, forensics.LongTime)
	e.WideFlag(c)
	c.Flags().BoolVar(&asJSON, "json", false, "print JSON: the full answer, with complete call ids and a KFL filter for each row that has one")
	if q.File {
		c.Flags().BoolVar(&asYAML, "yaml", false, "print only the YAML document, and its notes as warnings")
		c.MarkFlagsMutuallyExclusive("json", "yaml")
	}
	return c
}

// printDocument prints the document in an answer, and its notes as warnings, so that another program
// can read it from a pipe.
func (e *env) printDocument(text string, notes []string) error {
	for _, n := range notes {
		e.Warn("%s", n)
	}
	if text == "" {
		return exit.With(errors.New("nothing to write: no call or connection matches"), exit.Other, "ask without --yaml to see what was examined")
	}
	return e.masked(func(w io.Writer) error { _, err := io.WriteString(w, text); return err })(e.Out)
}

func dashed(name string) string { return strings.ReplaceAll(name, "_", "-") }

// addFlag makes a flag of a field and returns a function that reads its value. The value of
// a field that is neither a plain value nor a list of strings is JSON.
func addFlag(c *cobra.Command, name string, s *jsonschema.Schema) func() any {
	fl := c.Flags()
	kind := s.Type
	for _, t := range s.Types { // a list, a map or a pointer may be null
		if t != "null" {
			kind = t
		}
	}
	switch {
	case kind == "integer":
		v := fl.Int64(name, 0, s.Description)
		command.Between(fl, name, v, int64(*s.Minimum), int64(*s.Maximum))
		return func() any { return *v }
	case kind == "number":
		v := fl.Float64(name, 0, s.Description)
		command.Between(fl, name, v, *s.Minimum, *s.Maximum)
		return func() any { return *v }
	case kind == "boolean":
		v := fl.Bool(name, false, s.Description)
		return func() any { return *v }
	case kind == "array" && s.Items != nil && s.Items.Type == "string":
		v := fl.StringArray(name, nil, ask.Doc(s)+"; can be repeated")
		return func() any { return *v }
	case kind == "string":
		v := fl.String(name, "", ask.Doc(s))
		return func() any { return *v }
	}
	v := fl.String(name, "", s.Description+"; JSON")
	return func() any {
		if !json.Valid([]byte(*v)) {
			return *v // the question reports the error
		}
		return json.RawMessage(*v)
	}
}

// printAnswer prints an answer for a machine as JSON, or for a person as a page.
func (e *env) printAnswer(answer any, asJSON bool) error {
	var buf bytes.Buffer
	if err := e.masked(func(w io.Writer) error { return console.JSON(w, answer) })(&buf); err != nil {
		return err
	}
	if asJSON {
		_, err := e.Out.Write(buf.Bytes())
		return err
	}
	text, err := page.Text(buf.Bytes(), e.PageWidth(), e.Coloured())
	if err != nil {
		return err
	}
	_, err = io.WriteString(e.Out, text)
	return err
}
