package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	sdk "github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/pcapsule/pcapsule/scripts/bench/ask/questions"
)

// filters are KFL of all kinds: fields, protocols, names, times, texts, nothing that matches.
var filters = []string{
	`failed`, `http && status_code >= 400`, `dns || tls`, `elapsed_time > 10ms`, `src.ip == dst.ip || dst.port < 1024`, `path.startsWith("/")`,
	`!(protocol in ["http1", "dns"]) && request_bytes > 0`, `summary.contains("e") && outcome != "ok"`, `host.matches("^[a-z0-9.]+$")`, `status_code == 599`,
}

// statements are SQL over the tables that questions read most.
var statements = []string{
	`select protocol, outcome, count(*) n, sum(elapsed_us) us, sum(request_bytes) sent, sum(response_bytes) received from calls group by all order by all`,
	`select lower(hex(call_id)) id, endpoint, who_src.who, summary, error, attempt from calls c left join endpoints who_src on who_src.endpoint_id = c.src_id order by ts_ns, call_no limit 30`,
	`select * from flows order by flow_id limit 20`,
	`select * from connections order by conn_id limit 20`,
	`select kind, count(*) n from anomalies group by all order by all`,
	`select src_ip, dst_ip, dst_port, count(*) n, count(distinct conn_id) conns, max(elapsed_us) worst, quantile_disc(elapsed_us, 0.5) middle from calls group by all order by all limit 50`,
}

// plan says what to ask.
type plan struct {
	id     string // of everything that decides what is asked, but for the names chosen
	inputs int
	ask    *regexp.Regexp
	whole  bool // all names are chosen
}

func newPlan(inputs int, ask *regexp.Regexp) plan {
	hash := sha256.Sum256(fmt.Append(nil, inputs, questions.All(), filters, statements, commands))
	return plan{id: hex.EncodeToString(hash[:8]), inputs: inputs, ask: ask, whole: ask.String() == ""}
}

// chosen returns the answers to the questions that the plan selects.
func (p plan) chosen(a *answers) *answers {
	return &answers{a.Plan, slices.DeleteFunc(slices.Clone(a.List), func(x answer) bool { return !p.ask.MatchString(x.Name) })}
}

// list returns everything to ask of a server and on command lines.
func (p plan) list(ctx context.Context, client *sdk.ClientSession) ([]answer, error) {
	tools, err := client.ListTools(ctx, nil)
	if err != nil {
		return nil, err
	}
	facts, err := questions.Find(ctx, func(ctx context.Context, tool, in string) (string, error) { return call(ctx, client, tool, in) })
	if err != nil {
		return nil, err
	}
	var list []answer
	add := func(name, key, text string) {
		in, _ := json.Marshal(map[string]any{key: text, "limit": 20}) // strings and numbers always marshal
		list = append(list, answer{Name: name, Input: string(in)})
	}
	for _, t := range tools.Tools {
		inputs := facts.Inputs(t.Name)
		if len(inputs) == 0 {
			inputs = []string{`{}`}
		}
		if p.inputs > 0 {
			inputs = inputs[:min(p.inputs, len(inputs))]
		}
		for _, in := range inputs {
			list = append(list, answer{Name: t.Name, Input: in})
		}
	}
	for _, kfl := range filters {
		add("list_api_calls", "kfl", kfl)
	}
	for _, sql := range statements {
		add("run_sql", "sql", sql)
	}
	for _, c := range commands {
		in, _ := json.Marshal(c)
		list = append(list, answer{Name: "pcapsule " + c[0], Input: string(in)})
	}
	return list, nil
}

// askAll asks everything about a bundle: the questions of earlier answers, or those of a plan.
func (p *program) askAll(ctx context.Context, bundle string, plan plan, earlier *answers) ([]answer, error) {
	exports, err := os.MkdirTemp("", "pcapsule-compare-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(exports)
	cmd := exec.CommandContext(ctx, p.path, "mcp", bundle, "--keep", "0", "--deadline", "10m", "--export-dir", exports)
	client, err := sdk.NewClient(&sdk.Implementation{Name: "compare", Version: "1"}, nil).Connect(ctx, &sdk.CommandTransport{Command: cmd}, nil)
	if err != nil {
		return nil, fmt.Errorf("connecting to %s mcp: %w", p.path, err)
	}
	defer client.Close()
	var list []answer
	if earlier != nil {
		list = slices.Clone(earlier.List)
	} else if list, err = plan.list(ctx, client); err != nil {
		return nil, err
	}
	list = plan.chosen(&answers{List: list}).List
	places := strings.NewReplacer(bundle, "BUNDLE", filepath.Dir(bundle), "DIR", exports, "EXPORTS")
	for i := range list {
		text, err := p.one(ctx, client, bundle, exports, list[i])
		if err != nil {
			return nil, fmt.Errorf("asking %s %s: %w", list[i].Name, list[i].Input, err)
		}
		list[i].Text = places.Replace(text)
	}
	return list, nil
}

// one asks one question or runs one command line.
func (p *program) one(ctx context.Context, client *sdk.ClientSession, bundle, exports string, q answer) (string, error) {
	if strings.HasPrefix(q.Name, "pcapsule ") {
		var args []string
		if err := json.Unmarshal([]byte(q.Input), &args); err != nil {
			return "", err
		}
		return p.command(ctx, bundle, args)
	}
	text, err := call(ctx, client, q.Name, q.Input)
	var refused *refusedError
	if errors.As(err, &refused) {
		return "refused: " + refused.text, nil
	}
	if err != nil {
		return "", err
	}
	text = comparable(text)
	files, err := filepath.Glob(filepath.Join(exports, "*"))
	if err != nil {
		return "", err
	}
	for _, file := range files { // export_pcap wrote it
		data, err := os.ReadFile(file)
		if err != nil {
			return "", err
		}
		text += fmt.Sprintf("%s: %x\n", filepath.Base(file), sha256.Sum256(data))
		if err := os.Remove(file); err != nil {
			return "", err
		}
	}
	return text, nil
}

// refusedError is an answer that reports an error.
type refusedError struct{ text string }

func (e *refusedError) Error() string { return e.text }

// call calls a tool and returns the text of its answer.
func call(ctx context.Context, client *sdk.ClientSession, name, in string) (string, error) {
	r, err := client.CallTool(ctx, &sdk.CallToolParams{Name: name, Arguments: json.RawMessage(in)})
	if err != nil {
		return "", err
	}
	var b strings.Builder
	for _, part := range r.Content {
		if t, ok := part.(*sdk.TextContent); ok {
			b.WriteString(t.Text)
		}
	}
	if r.IsError {
		return "", &refusedError{b.String()}
	}
	return b.String(), nil
}
