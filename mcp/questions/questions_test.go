package questions

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	sdk "github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/pcapsule/pcapsule/exporter"
	"github.com/pcapsule/pcapsule/forensics"
	"github.com/pcapsule/pcapsule/forensics/finding"
	findings "github.com/pcapsule/pcapsule/forensics/finding/all"
	"github.com/pcapsule/pcapsule/forensics/redact"
	"github.com/pcapsule/pcapsule/forensics/worker/workertest"
	"github.com/pcapsule/pcapsule/internal/nightly"
	"github.com/pcapsule/pcapsule/mcp"
)

// The budget of a question.
const (
	maxCalls = 6
	maxBytes = 80_000 // of results, 20,000 tokens
)

// scenarios have different names, numbers and times, but the same facts by role.
var scenarios = []string{"default", "other"}

// remoteCase is the scenario that scripts/e2e.sh adds: a running server's case of traffic without planted facts. Its
// answers are written and compared with those of another server.
//
//	PCAPSULE_QUESTIONS_URL        the server's MCP endpoint
//	PCAPSULE_QUESTIONS_ARGUMENTS  a JSON file with arguments by name, for all questions
//	PCAPSULE_QUESTIONS_DUMP       folder for the answers
const remoteCase = "remote"

func init() {
	if os.Getenv("PCAPSULE_QUESTIONS_URL") != "" {
		scenarios = append(scenarios, remoteCase)
	}
}

// openRemote returns the scenario of a running server: its questions have arguments and no facts.
func openRemote() (*scenario, error) {
	data, err := os.ReadFile(os.Getenv("PCAPSULE_QUESTIONS_ARGUMENTS"))
	if err != nil {
		return nil, err
	}
	s := &scenario{name: remoteCase, url: os.Getenv("PCAPSULE_QUESTIONS_URL")}
	var args map[string]any
	if err := json.Unmarshal(data, &args); err != nil {
		return nil, err
	}
	for _, sc := range scripts() {
		s.truth.Questions = append(s.truth.Questions, question{Number: sc.number, Arguments: args})
	}
	s.index()
	return s, nil
}

// script answers a question.
type script struct {
	number int
	run    func(*run)
}

func scripts() []script {
	all := slices.Concat(incidents(), services(), security(), architecture(), performance(), compliance(), debugging(), development())
	slices.SortFunc(all, func(a, b script) int { return cmp.Compare(a.number, b.number) })
	return all
}

var (
	kept   string   // folder of the bundles
	opened sync.Map // scenario → func that opens it
)

func TestMain(m *testing.M) {
	workertest.Main()
	var err error
	if kept, err = os.MkdirTemp("", "questions"); err != nil {
		panic(err)
	}
	code := m.Run()
	opened.Range(func(_, f any) bool {
		if s, err := f.(func() (*scenario, error))(); err == nil {
			s.close()
		}
		return true
	})
	_ = os.RemoveAll(kept) // a temporary folder
	os.Exit(code)
}

// scenario is a bundle of planted traffic with its truth and a server for it.
type scenario struct {
	name      string
	truth     truth
	url       string // of a running server, for remoteCase
	exports   string // folder for export_pcap
	names     map[string]string
	roles     map[string]string
	server    *mcp.Server
	plain     *forensics.Case // unmasked, to compare answers with the traffic
	wires     map[string][]wire
	published []wire // messages to brokers
	secrets   []string
	perCall   map[string]wire
}

// open bundles a scenario, once.
func open(t *testing.T, name string) *scenario {
	t.Helper()
	f, _ := opened.LoadOrStore(name, sync.OnceValues(func() (*scenario, error) { return openScenario(name) }))
	s, err := f.(func() (*scenario, error))()
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func openScenario(name string) (*scenario, error) {
	if name == remoteCase {
		return openRemote()
	}
	ctx := context.Background()
	folder := filepath.Join("..", "..", "samples", "questions", name)
	s := &scenario{name: name, exports: filepath.Join(kept, name)}
	data, err := os.ReadFile(filepath.Join(folder, "truth.json"))
	if err != nil {
		return nil, err
	}
	if err := json.Unmarshal(data, &s.truth); err != nil {
		return nil, err
	}
	if err := os.Mkdir(s.exports, 0o755); err != nil {
		return nil, err
	}
	path := filepath.Join(kept, name+".pcapsule")
	if _, err := exporter.Run(ctx, []string{folder}, path, exporter.Options{Release: "test"}); err != nil {
		return nil, err
	}
	if s.plain, err = forensics.Open(ctx, []string{path}, forensics.Options{}); err != nil {
		return nil, err
	}
	finding.Bind(s.plain, findings.Analyzers())
	if err := s.readWires(ctx); err != nil {
		return nil, err
	}
	if err := s.readSecrets(ctx); err != nil {
		return nil, err
	}
	s.index()
	policy := redact.Default()
	c, err := forensics.Open(ctx, []string{path}, forensics.Options{MaskSecrets: true, Policy: policy})
	if err != nil {
		return nil, err
	}
	finding.Bind(c, findings.Analyzers())
	s.server, err = mcp.New(c, mcp.Options{Release: "test", Questions: findings.Questions(), Policy: policy, ExportDir: s.exports, Deadline: 5 * time.Minute})
	return s, err
}

func (s *scenario) close() {
	if s.server != nil {
		_ = s.server.Close() // the tests are over
	}
	if s.plain != nil {
		s.plain.Close()
	}
}

// connect returns a client of the scenario's server.
func (s *scenario) connect(t *testing.T) *sdk.ClientSession {
	t.Helper()
	var transport sdk.Transport = &sdk.StreamableClientTransport{Endpoint: s.url}
	if s.url == "" {
		a, b := sdk.NewInMemoryTransports()
		if _, err := s.server.MCP().Connect(context.Background(), a, nil); err != nil {
			t.Fatal(err)
		}
		transport = b
	}
	c, err := sdk.NewClient(&sdk.Implementation{Name: "test", Version: "1"}, nil).Connect(context.Background(), transport, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// question returns a question of the truth.
func (s *scenario) question(t *testing.T, number int) question {
	t.Helper()
	for _, q := range s.truth.Questions {
		if q.Number == number {
			return q
		}
	}
	t.Fatalf("no question %d in the truth of %s", number, s.name)
	return question{}
}

// run is one run of a script.
type run struct {
	t       *testing.T
	s       *scenario
	q       question
	client  *sdk.ClientSession
	calls   int
	bytes   int
	answers []node
	claims  map[string]*claim
}

// ask calls a tool.
func (a *run) ask(tool string, args map[string]any) node {
	a.t.Helper()
	if a.calls++; a.calls > maxCalls {
		a.t.Fatalf("call %d, want at most %d", a.calls, maxCalls)
	}
	r, err := a.client.CallTool(context.Background(), &sdk.CallToolParams{Name: tool, Arguments: args})
	if err != nil {
		a.t.Fatalf("%s: %v", tool, err)
	}
	text, ok := r.Content[0].(*sdk.TextContent)
	if !ok {
		a.t.Fatalf("%s: %T, want a text", tool, r.Content[0])
	}
	a.dump(tool, text.Text)
	if r.IsError {
		a.t.Fatalf("%s %v: %s", tool, args, text.Text)
	}
	if len(r.Content) != 1 {
		a.t.Fatalf("%s: %d contents, want 1", tool, len(r.Content))
	}
	if a.bytes += len(text.Text); a.bytes > maxBytes {
		a.t.Errorf("%d bytes of results after %s, want at most %d", a.bytes, tool, maxBytes)
	}
	for _, x := range a.s.leaks(text.Text) {
		a.t.Errorf("%s %v shows %q", tool, args, x)
	}
	n, err := parse(text.Text)
	if err != nil {
		a.t.Fatalf("%s: %v", tool, err)
	}
	n.tool, n.args = tool, args
	a.answers = append(a.answers, n)
	return n
}

// dump writes an answer to PCAPSULE_QUESTIONS_DUMP, for reading when a fact is missing.
func (a *run) dump(tool, text string) {
	a.t.Helper()
	dir := os.Getenv("PCAPSULE_QUESTIONS_DUMP")
	if dir == "" {
		return
	}
	file := filepath.Join(dir, fmt.Sprintf("%s-%02d-%d-%s.json", a.s.name, a.q.Number, a.calls, tool))
	if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
		a.t.Fatal(err)
	}
}

// arg returns an argument of the question.
func (a *run) arg(name string) string {
	a.t.Helper()
	v, ok := a.q.Arguments[name]
	if !ok {
		a.t.Fatalf("the question has no argument %s", name)
	}
	if n, ok := v.(float64); ok {
		return fmt.Sprint(n)
	}
	text, ok := v.(string)
	if !ok {
		a.t.Fatalf("argument %s is %T", name, v)
	}
	return text
}

// list returns an argument that is a list.
func (a *run) list(name string) (out []string) {
	a.t.Helper()
	list, ok := a.q.Arguments[name].([]any)
	if !ok {
		a.t.Fatalf("the question has no list %s", name)
	}
	for _, v := range list {
		out = append(out, fmt.Sprint(v))
	}
	return out
}

// window adds the question's from and to to other arguments.
func (a *run) window(more map[string]any) map[string]any {
	a.t.Helper()
	out := map[string]any{"from": a.arg("from"), "to": a.arg("to")}
	for k, v := range more {
		out[k] = v
	}
	return out
}

func TestQuestions(t *testing.T) {
	for i, name := range scenarios {
		t.Run(name, func(t *testing.T) {
			s := open(t, name)
			var table strings.Builder
			sum := result{}
			for _, sc := range scripts() {
				if (sc.number+i)%2 > nightly.Of(0, 1) {
					continue // of the other scenario
				}
				var r result
				t.Run(fmt.Sprintf("%02d", sc.number), func(t *testing.T) { r = s.run(t, sc) })
				fmt.Fprintf(&table, "%8d %6d %6d %4d/%d\n", sc.number, r.calls, r.bytes, r.ok, r.facts)
				sum.calls, sum.bytes, sum.ok, sum.facts = sum.calls+r.calls, sum.bytes+r.bytes, sum.ok+r.ok, sum.facts+r.facts
			}
			t.Logf("%s\nquestion  calls  bytes facts\n%s     all %6d %6d %4d/%d", name, table.String(), sum.calls, sum.bytes, sum.ok, sum.facts)
		})
	}
}

// TestEveryQuestionHasAScript fails if a script is missing or defined twice.
func TestEveryQuestionHasAScript(t *testing.T) {
	var numbers []int
	for _, s := range scripts() {
		numbers = append(numbers, s.number)
	}
	for i := range max(48, len(numbers)) {
		if i >= len(numbers) || numbers[i] != i+1 {
			t.Fatalf("scripts for %v, want 1 to 48", numbers)
		}
	}
}

type result struct{ calls, bytes, ok, facts int }

// run runs a script and compares its answers with the truth.
func (s *scenario) run(t *testing.T, sc script) (r result) {
	return s.runScript(t, sc).checkFacts()
}

// checkFacts compares the answers with the truth.
func (a *run) checkFacts() (r result) {
	t := a.t
	r.calls, r.bytes, r.facts = a.calls, a.bytes, len(a.q.Facts)
	if a.s.url != "" {
		return r
	}
	for _, f := range a.q.Facts {
		if problems := a.check(f); len(problems) > 0 {
			t.Errorf("%s (%s):\n  %s", f.ID, f.Says, strings.Join(problems, "\n  "))
			continue
		}
		r.ok++
	}
	for id := range a.claims {
		if !slices.ContainsFunc(a.q.Facts, func(f fact) bool { return f.ID == id }) {
			t.Errorf("the script claims %s, which is not in the truth", id)
		}
	}
	return r
}

// runScript runs a script.
func (s *scenario) runScript(t *testing.T, sc script) *run {
	t.Helper()
	a := s.start(t, s.question(t, sc.number))
	sc.run(a)
	return a
}

// start starts the run of a question.
func (s *scenario) start(t *testing.T, q question) *run {
	t.Helper()
	return &run{t: t, s: s, q: q, client: s.connect(t), claims: map[string]*claim{}}
}
