package acceptance

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/pcapsule/pcapsule/internal/captures"

	sdk "github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/pcapsule/pcapsule/exporter"
	"github.com/pcapsule/pcapsule/forensics"
	"github.com/pcapsule/pcapsule/forensics/finding"
	"github.com/pcapsule/pcapsule/forensics/finding/all"
	"github.com/pcapsule/pcapsule/mcp"
)

// zones are the time zones in which the commands are run.
var zones = []string{"UTC", "Asia/Kathmandu", "America/St_Johns"}

// fewPages is the number of pages of a list: the first, the last, and one with a page before and
// after it. Each page asks the question again. onePage is a page size that fits every list.
const fewPages, onePage = 3, 1000

// equalCapture is the sampling rate of captures: 40 are compared.
const equalCapture = 40

// requests and requestsKFL are a condition, in SQL and in KFL, for rows that are requests of
// applications. They list what is none and do not ask the traits of protocols, so that a wrong trait
// is found.
const (
	requests    = "(protocol NOT IN ('tls', 'quic', 'sctp', 'openvpn', 'wireguard', 'tcp', 'udp', 'ip', 'icmp_payload', 'sctp_payload', 'sctp_messages', 'quic_stream') AND (protocol <> 'icmp' OR ends_with(method, '_request')))"
	requestsKFL = `protocol not in ["tls", "quic", "sctp", "openvpn", "wireguard", "tcp", "udp", "ip", "icmp_payload", "sctp_payload", "sctp_messages", "quic_stream"] and (protocol != "icmp" or method.endsWith("_request"))`
)

// sameNumbers are numbers with one meaning: the SQL that counts them, KFL for the same calls, and the
// fields of answers that have them, as question.field.
var sameNumbers = []struct {
	name, sql, kfl string
	fields         []string
}{
	{"calls", "SELECT count(*) FROM calls", "true", []string{"get_api_stats.total_calls", "find_failures.calls"}},
	{"failed calls", "SELECT count(*) FROM calls WHERE failed", "failed", []string{"find_failures.failed_calls"}},
	{"failed calls by outcome", "SELECT count(*) FROM calls_raw WHERE outcome IN ('client_error', 'server_error', 'refused', 'no_answer')", `outcome in ["client_error", "server_error", "refused", "no_answer"]`, []string{"find_failures.failed_calls"}},
	{"requests", "SELECT count(*) FROM calls WHERE " + requests, requestsKFL, []string{"get_latency.calls", "get_service_map.total_calls", "get_capacity.calls"}},
	{"requests without an answer", "SELECT count(*) FROM calls WHERE outcome = 'no_answer' AND " + requests, `outcome == "no_answer" and ` + requestsKFL, []string{"get_latency.no_answer"}},
	{"calls by hour", "SELECT coalesce(sum(n), 0)::BIGINT FROM (SELECT date_trunc('hour', ts) AS hour, count(*) AS n FROM calls GROUP BY 1)", "true", nil},
}

// TestNumbersAreEqualEverywhere reads the same numbers through SQL, KFL, the commands, the tools and
// the REST paths, from the samples, from public captures, and from overlapping bundles.
func TestNumbersAreEqualEverywhere(t *testing.T) {
	compare := func(name string, places []string, paths ...string) {
		t.Run(name, func(t *testing.T) {
			t.Parallel() // it waits for programs most of the time
			compareFaces(t, places, paths)
		})
	}
	for i, name := range []string{"shop.pcapng", "http1.pcapng", "dns.pcap", "tls.pcapng", "vantages.pcapng"} {
		capture := filepath.Join("..", "..", "samples", name)
		whole := madeOf(t, capture, 0, 0)
		places := slices.Concat(zones[i%len(zones):], zones[:i%len(zones)])
		if !thorough() && i > 0 {
			places = places[:1]
		}
		compare(name, places, whole)
		from, to := windowOf(t, whole)
		early, late := madeOf(t, capture, 0, from+(to-from)*2/3), madeOf(t, capture, from+(to-from)/3, 0)
		if thorough() || i%2 == 0 {
			compare(name+" in two that overlap", zones[:1], early, late)
		}
		if thorough() || i == 1 {
			compare(name+" in three, the other way round", zones[1:2], late, whole, early)
		}
	}
	dir := captures.Dir(t)
	for i, line := range lines(t, filepath.Join(dir, "INDEX.tsv"))[1:] {
		name, _, _ := strings.Cut(line, "\t")
		if i%equalCapture != 0 {
			continue
		}
		if path := madeOf(t, filepath.Join(dir, name), 0, 0); path != "" {
			compare(name, zones[i/equalCapture%len(zones):][:1], path)
		}
	}
}

// program returns a command of pcapsule.
func program(ctx context.Context, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, os.Args[0], args...)
	cmd.Env = append(os.Environ(), asProgram+"=1")
	return cmd
}

// madeOf makes a bundle of a part of a capture; empty if the file is not a capture.
func madeOf(t *testing.T, capture string, from, to int64) string {
	path := filepath.Join(t.TempDir(), "e.pcapsule")
	o := exporter.Options{Release: "acceptance", Jobs: 1, FromNs: from, ToNs: to}
	if kube := strings.TrimSuffix(capture, ".pcapng") + ".kube.json"; exists(kube) {
		o.Kube = []string{kube}
	}
	if _, err := exporter.Run(context.Background(), []string{capture}, path, o); err != nil {
		return ""
	}
	return path
}

func windowOf(t *testing.T, path string) (first, last int64) {
	c, err := forensics.Open(context.Background(), []string{path}, forensics.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	first, last, _ = c.Window()
	return first, last
}

// faces are the interfaces to one case.
type faces struct {
	t     *testing.T
	paths []string
	c     *forensics.Case
	tools *sdk.ClientSession
	rest  *httptest.Server
}

// facesOf opens bundles through all interfaces, until the test ends.
func facesOf(t *testing.T, paths ...string) *faces {
	ctx := context.Background()
	c, err := forensics.Open(ctx, paths, forensics.Options{Threads: 2}) // without masking, as in the commands
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	finding.Bind(c, all.Analyzers())
	s, err := mcp.New(c, mcp.Options{Release: "acceptance", Questions: all.Questions()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	near, far := sdk.NewInMemoryTransports()
	if _, err := s.MCP().Connect(ctx, far, nil); err != nil {
		t.Fatal(err)
	}
	tools, err := sdk.NewClient(&sdk.Implementation{Name: "acceptance", Version: "1"}, nil).Connect(ctx, near, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { tools.Close() })
	rest := httptest.NewServer(s.Handler(mcp.HTTPOptions{}))
	t.Cleanup(rest.Close)
	return &faces{t, paths, c, tools, rest}
}

// compareFaces runs the SQL command in every time zone of places, and the command of each question in
// one of them, which depends on the first one.
func compareFaces(t *testing.T, places, paths []string) {
	f := facesOf(t, paths...)
	answers := map[string]string{} // by question and interface
	answer := func(way, field string, ask func(question string) string) string {
		question, name := questionOf(field), field[strings.IndexByte(field, '.')+1:]
		if answers[way+question] == "" {
			answers[way+question] = ask(question)
		}
		return fieldOf(answers[way+question], name)
	}
	var counts, asked []string
	for _, n := range sameNumbers {
		counts = append(counts, "("+n.sql+")")
		for _, field := range n.fields {
			asked = append(asked, questionOf(field))
		}
	}
	slices.Sort(asked)
	asked = slices.Compact(asked)
	for _, zone := range places {
		answers["sql"+zone] = lastLine(f.command(zone, []string{"sql"}, "SELECT "+strings.Join(counts, ", "), "--format", "csv"))
	}
	for i, n := range sameNumbers {
		want := f.sql(n.sql)
		got := map[string]string{"KFL": f.kfl(n.kfl)}
		for _, field := range n.fields {
			got["tool "+field] = answer("tool", field, f.tool)
		}
		for _, zone := range places {
			if list := strings.Split(answers["sql"+zone], ","); len(list) == len(sameNumbers) {
				got["command sql in "+zone] = list[i]
			} else {
				t.Fatalf("command sql in %s prints %s", zone, answers["sql"+zone])
			}
		}
		for _, field := range n.fields {
			zone := places[slices.Index(asked, questionOf(field))%len(places)]
			got["command ask "+field+" in "+zone] = answer("command", field, func(question string) string {
				return f.command(zone, []string{"ask", strings.ReplaceAll(question, "_", "-")}, "--json")
			})
		}
		if i == 1 {
			got["command query"] = lastLine(f.command(places[0], []string{"query"}, n.kfl, "--count"))
		}
		for where, v := range got {
			if v != want {
				t.Errorf("%s: %s by %s, but %s by SQL", n.name, v, where, want)
			}
		}
	}
	f.lists()
}

// lists reads the lists of calls to the end: each call occurs once, for any page size.
func (f *faces) lists() {
	want := f.ids("SELECT lower(hex(call_id)) FROM calls ORDER BY ts_ns, call_no")
	for _, size := range []int{min(len(want)/fewPages+1, onePage), onePage} {
		for name, page := range map[string]func(cursor string, size int) ([]byte, error){"list_api_calls": f.toolPage, "/mcp/calls": f.restPage} {
			var got []string
			for cursor, n := "", 0; n == 0 || cursor != ""; n++ {
				raw, err := page(cursor, size)
				if err != nil || n > len(want)+1 {
					f.t.Errorf("%s, page %d of %d rows: %v", name, n, size, err)
					break
				}
				var out struct {
					Calls []struct {
						CallID string `json:"call_id"`
						ID     string `json:"id"`
					} `json:"calls"`
					Next   string `json:"next_cursor"`
					Cursor string `json:"cursor"`
				}
				if err := json.Unmarshal(raw, &out); err != nil {
					f.t.Fatalf("%s: %v\n%s", name, err, raw)
				}
				for _, c := range out.Calls {
					got = append(got, c.CallID+c.ID)
				}
				cursor = out.Next + out.Cursor
			}
			if a, b := sorted(got), sorted(want); !slices.Equal(a, b) {
				f.t.Errorf("%s with pages of %d: %d calls, want %d", name, size, len(a), len(b))
			}
		}
	}
}

func sorted(list []string) []string {
	list = slices.Clone(list)
	slices.Sort(list)
	return list
}

func (f *faces) ids(sql string) (out []string) {
	r, err := f.c.Query(context.Background(), forensics.Query{SQL: sql, Limit: 1 << 20})
	if err != nil {
		f.t.Fatalf("%s: %v", sql, err)
	}
	for _, row := range r.Rows {
		out = append(out, fmt.Sprint(row[0]))
	}
	return out
}

func (f *faces) sql(sql string) string { return f.ids(sql)[0] }

func (f *faces) kfl(kfl string) string {
	r, err := f.c.Query(context.Background(), forensics.Query{KFL: kfl, Count: true})
	if err != nil {
		f.t.Fatalf("%s: %v", kfl, err)
	}
	return fmt.Sprint(r.Rows[0][0])
}

func (f *faces) call(tool string, args map[string]any) ([]byte, error) {
	r, err := f.tools.CallTool(context.Background(), &sdk.CallToolParams{Name: tool, Arguments: args})
	if err != nil || r.IsError {
		return nil, fmt.Errorf("%s: %+v, %w", tool, r, err)
	}
	return json.Marshal(r.StructuredContent)
}

func (f *faces) tool(question string) string {
	raw, err := f.call(question, map[string]any{})
	if err != nil {
		return err.Error()
	}
	return string(raw)
}

func (f *faces) toolPage(cursor string, size int) ([]byte, error) {
	args := map[string]any{"limit": size, "max_bytes": 1 << 20}
	if cursor != "" {
		args["cursor"] = cursor
	}
	return f.call("list_api_calls", args)
}

func (f *faces) restPage(cursor string, size int) ([]byte, error) {
	r, err := http.Get(f.rest.URL + "/mcp/calls?limit=" + strconv.Itoa(size) + "&cursor=" + url.QueryEscape(cursor))
	if err != nil {
		return nil, err
	}
	defer r.Body.Close()
	raw, err := io.ReadAll(r.Body)
	if r.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%s: %s", r.Status, raw)
	}
	return raw, err
}

func (f *faces) command(zone string, verb []string, args ...string) string {
	cmd := program(context.Background(), slices.Concat(verb, f.paths, args)...)
	cmd.Env = append(cmd.Env, "TZ="+zone)
	out, err := cmd.Output()
	if err != nil {
		return fmt.Sprintf("%v: %v", cmd.Args[1:], err)
	}
	return string(out)
}

// questionOf returns the question of a field.
func questionOf(field string) string {
	question, _, _ := strings.Cut(field, ".")
	return question
}

func fieldOf(text, name string) string {
	var o map[string]any
	if err := json.Unmarshal([]byte(text), &o); err != nil {
		return err.Error()
	}
	if o[name] == nil {
		return "0"
	}
	return fmt.Sprint(o[name])
}

func lastLine(text string) string {
	list := strings.Split(strings.TrimSpace(text), "\n")
	return strings.TrimSpace(list[len(list)-1])
}
