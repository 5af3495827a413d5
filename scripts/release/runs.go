package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/pcapsule/pcapsule/recorder/ring/ringtest"
)

// A scenario is one run of pcapsule. On every system its exit code and output must be the same as on
// linux/amd64. In args, @ marks a path; its slashes become those of the system.
type scenario struct {
	name string
	code int    // -1: the same as on linux/amd64
	in   string // standard input; a file after @
	args []string
}

// deep is longer than the 260 characters that old Windows interfaces allow.
var deep = strings.Repeat("a-long-name-of-a-folder-in-an-archive-of-incidents/", 6)

const (
	initialize = `{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-06-18","capabilities":{},"clientInfo":{"name":"check","version":"1"}}}` + "\n" +
		`{"jsonrpc":"2.0","method":"notifications/initialized"}` + "\n"
	toolsList = `{"jsonrpc":"2.0","id":2,"method":"tools/list"}` + "\n"
	toolCall  = `{"jsonrpc":"2.0","id":3,"method":"tools/call","params":{"name":"find_failures","arguments":{"service":"payment"}}}` + "\n"
)

// scenarios are the runs after the bundles were made. Each command that reads a file has two kinds of
// invalid input.
var scenarios = []scenario{
	{"info", 0, "", []string{"info", "shop.pcapsule", "--json"}},
	{"info-missing", 3, "", []string{"info", "@no/such.pcapsule"}},
	{"info-text", 3, "", []string{"info", "@samples/README.md"}},
	{"verify", 0, "", []string{"verify", "shop.pcapsule"}},
	{"verify-again", 0, "", []string{"verify", "shop.pcapsule", "--rederive"}},
	{"verify-missing", 3, "", []string{"verify", "missing.pcapsule"}},
	{"verify-no-bundle", 7, "", []string{"verify", "samples"}},
	{"query", 0, "", []string{"query", "shop.pcapsule", `http && request.body.json().order == "12345"`, "--format", "ndjson"}},
	{"query-table", 0, "", []string{"query", "shop.pcapsule", "http", "--limit", "5"}},
	{"query-syntax", 11, "", []string{"query", "shop.pcapsule", "stats_code >= 500"}},
	{"query-missing", 3, "", []string{"query", "missing.pcapsule", "http"}},
	{"sql", 0, "", []string{"sql", "shop.pcapsule", "select protocol, count(*) from calls group by 1 order by 1", "--format", "csv"}},
	{"sql-refused", 10, "", []string{"sql", "shop.pcapsule", "copy calls to 'x.csv'"}},
	{"sql-file", 10, "", []string{"sql", "shop.pcapsule", "select * from read_text('samples/README.md')"}},
	{"sql-syntax", 11, "", []string{"sql", "shop.pcapsule", "selec 1"}},
	{"ask", 0, "", []string{"ask", "find-failures", "shop.pcapsule", "--service", "payment"}},
	{"ask-usage", 2, "", []string{"ask", "find-failures", "shop.pcapsule", "--no-such-flag"}},
	{"ask-missing", 3, "", []string{"ask", "find-failures", "missing.pcapsule"}},
	{"show", 0, "", []string{"show", "shop.pcapsule", "#42"}},
	{"show-none", 1, "", []string{"show", "shop.pcapsule", "000000000000"}},
	{"show-missing", 3, "", []string{"show", "missing.pcapsule", "#42"}},
	{"packets", 0, "", []string{"packets", "shop.pcapsule", `dst.service == "payment" && status_code >= 500`, "--with-context", "-o", "slice.pcapng"}},
	{"packets-exists", 5, "", []string{"packets", "shop.pcapsule", "http", "-o", "slice.pcapng"}},
	{"packets-folder", 2, "", []string{"packets", "shop.pcapsule", "http", "-o", "@no/such/folder/x.pcapng"}},
	{"report", 0, "", []string{"report", "shop.pcapsule", "-o", "overview.html"}},
	{"report-exists", 5, "", []string{"report", "shop.pcapsule", "-o", "overview.html"}},
	{"report-missing", 3, "", []string{"report", "missing.pcapsule", "-o", "other.html"}},
	{"mcp", 0, initialize + toolsList + toolCall, []string{"mcp", "shop.pcapsule"}},
	{"mcp-bad-json", 0, initialize + "{]\n", []string{"mcp", "shop.pcapsule"}},
	{"mcp-missing", 3, "", []string{"mcp", "missing.pcapsule"}},
	{"bundle-stdin", 0, "@samples/http1.pcapng", []string{"bundle", "-", "-o", "stdin.pcapsule"}},
	{"bundle-exists", 5, "", []string{"bundle", "@samples/shop.pcapng", "-o", "shop.pcapsule"}},
	{"bundle-no-capture", 3, "", []string{"bundle", "@samples/README.md", "-o", "readme.pcapsule"}},
	{"bundle-missing", 3, "", []string{"bundle", "@samples/none.pcapng", "-o", "none.pcapsule"}},
	{"long-path", 0, "", []string{"bundle", "@samples/redis.pcap", "-o", "@" + deep + "redis.pcapsule"}},
	{"long-path-verify", 0, "", []string{"verify", "@" + deep + "redis.pcapsule", "--rederive"}},
	{"long-path-query", 0, "", []string{"query", "@" + deep + "redis.pcapsule", "redis", "--count"}},
	{"kfl", 0, "", []string{"kfl", "explain", "http && status_code >= 500"}},
	{"schema", 0, "", []string{"schema", "calls"}},
	{"decode-as", 2, "", []string{"bundle", "@samples/redis.pcap", "--decode-as", "tcp=redis", "-o", "x.pcapsule"}},
	{"ring-missing", 3, "", []string{"ring", "ls", "missing"}},
	{"ring-ls", 0, "", []string{"ring", "ls", "ring", "--json"}},
	{"ring-verify", 0, "", []string{"ring", "verify", "ring"}},
	{"ring-bundle", 0, "", []string{"bundle", "ring", "-o", "ring.pcapsule"}},
	{"snapshot", 0, "", []string{"snapshot", "ring", "--last", "99999h", "-o", "snapshot.pcapsule"}},
	{"snapshot-exists", 5, "", []string{"snapshot", "ring", "--last", "99999h", "-o", "snapshot.pcapsule"}},
	{"snapshot-verify", 0, "", []string{"verify", "snapshot.pcapsule", "--rederive"}},
}

// elsewhere are the runs with different output on systems that cannot record.
var elsewhere = []scenario{
	{"record", 1, "", []string{"record", "-w", "out.pcapng"}},
	{"doctor", 1, "", []string{"doctor"}},
}

// bundleScenarios makes a bundle of every sample.
func bundleScenarios(samples []string) []scenario {
	var list []scenario
	for _, f := range samples {
		name := strings.TrimSuffix(strings.TrimSuffix(filepath.Base(f), ".pcapng"), ".pcap")
		args := []string{"bundle", "@samples/" + f, "-o", name + ".pcapsule"}
		code := 0
		if strings.HasPrefix(f, "hard/") {
			code = -1 // some are damaged on purpose
		}
		switch f {
		case "shop.pcapng":
			args = append(args, "--kube", "@samples/shop.kube.json")
		case "tls.pcapng":
			args = append(args, "--keys", "@samples/tls.keylog")
		}
		list = append(list, scenario{"bundle-" + name, code, "", args})
	}
	return list
}

// captures are the capture files of samples/ and samples/hard/, by relative path.
func captures() ([]string, error) {
	var list []string
	err := filepath.WalkDir("samples", func(p string, e fs.DirEntry, err error) error {
		rel := strings.TrimPrefix(filepath.ToSlash(p), "samples/")
		if err == nil && !e.IsDir() && (strings.HasSuffix(p, ".pcap") || strings.HasSuffix(p, ".pcapng")) && (!strings.Contains(rel, "/") || strings.HasPrefix(rel, "hard/")) {
			list = append(list, rel)
		}
		return err
	})
	slices.Sort(list)
	return list, err
}

// checkRuns runs every scenario with an unpacked program and compares the results with the reference,
// unless it is the reference.
func checkRuns(t *target, dir, reference string, note noter) error {
	if err := t.run.tree.make(); err != nil {
		return err
	}
	work := filepath.Join(dir, "work")
	if err := os.MkdirAll(filepath.Join(work, filepath.FromSlash(deep)), 0o755); err != nil {
		return err
	}
	if err := os.CopyFS(filepath.Join(work, "samples"), os.DirFS("samples")); err != nil {
		return err
	}
	if err := copyRing(work, reference); err != nil {
		return err
	}
	files, err := captures()
	if err != nil {
		return err
	}
	bundles := bundleScenarios(files)
	all := append(bundles, scenarios...)
	if t.os != "linux" {
		all = append(all, elsewhere...)
	}
	began := time.Now()
	if err := t.play(work, all); err != nil {
		return err
	}
	took := time.Since(began).Round(time.Second)
	if err := checkCodes(work, all, reference); err != nil {
		return err
	}
	answers, err := t.serve(work)
	if err != nil {
		return fmt.Errorf("serve on loopback: %w", err)
	}
	if reference == "" {
		note(t.name(), "commands", "%d calls end with the codes wanted, serve answers on loopback (%s)", len(all), took)
		return os.WriteFile(filepath.Join(work, "serve.out"), answers, 0o644)
	}
	want, err := os.ReadFile(filepath.Join(reference, "serve.out"))
	if err != nil {
		return err
	}
	if !bytes.Equal(want, answers) {
		return errors.New("serve answers differently from linux/amd64")
	}
	n, err := compareBundles(reference, work)
	if err != nil {
		return err
	}
	note(t.name(), "bundles", "%d bundles, byte for byte those of linux/amd64", n)
	for _, s := range all {
		if err := t.compareSaid(reference, work, s); err != nil {
			return err
		}
	}
	note(t.name(), "commands", "%d calls end and print as on linux/amd64, serve answers on loopback (%s)", len(all), took)
	return nil
}

// copyRing copies the same ring to every work folder, because a ring has a random name.
func copyRing(work, reference string) error {
	if reference != "" {
		return os.CopyFS(filepath.Join(work, "ring"), os.DirFS(filepath.Join(reference, "ring")))
	}
	capture, err := os.ReadFile("samples/http1.pcapng")
	if err != nil {
		return err
	}
	_, err = ringtest.Fill(filepath.Join(work, "ring"), capture, 1, 50)
	return err
}

// exe is the path of the program as seen from the work folder.
func (t *target) exe(work string) (string, error) {
	found, err := filepath.Glob(filepath.Join(filepath.Dir(work), "pcapsule_*", t.file(pcapsule)))
	if err != nil || len(found) != 1 {
		return "", fmt.Errorf("%d programs in %s, want 1", len(found), filepath.Dir(work))
	}
	return found[0], nil
}

// play runs scenarios one after another in one session, so that Wine starts once. The output of NAME
// is in NAME.out and NAME.err, its exit code in NAME.code.
func (t *target) play(work string, list []scenario) error {
	exe, err := t.exe(work)
	if err != nil {
		return err
	}
	step("%s: %d commands", t.name(), len(list))
	var b strings.Builder
	fmt.Fprintf(&b, "run() { n=$1; shift; rc=0; \"$@\" <\"$n.in\" >\"$n.out\" 2>\"$n.err\" || rc=$?; echo $rc >\"$n.code\"; }\n")
	for _, s := range list {
		in := []byte(s.in)
		if file, ok := strings.CutPrefix(s.in, "@"); ok {
			if in, err = os.ReadFile(file); err != nil {
				return err
			}
		}
		if err := os.WriteFile(filepath.Join(work, s.name+".in"), in, 0o644); err != nil {
			return err
		}
		words := []string{"run", s.name}
		for _, a := range slices.Concat(t.run.prefix, []string{exe}, s.args) {
			if p, ok := strings.CutPrefix(a, "@"); ok {
				if a = p; t.os == "windows" {
					a = strings.ReplaceAll(p, "/", `\`)
				}
			}
			words = append(words, "'"+strings.ReplaceAll(a, "'", `'\''`)+"'")
		}
		fmt.Fprintln(&b, strings.Join(words, " "))
	}
	if t.os == "windows" {
		fmt.Fprintln(&b, "wineserver -w || true") // otherwise its registry is not written
	}
	script := filepath.Join(work, "commands.sh")
	if err := os.WriteFile(script, []byte(b.String()), 0o644); err != nil {
		return err
	}
	c, err := t.run.tree.command(work, []string{filepath.Dir(work)}, append(t.run.environment(), "sh", "-u", script)...)
	if err != nil {
		return err
	}
	return c.Run()
}

// checkCodes checks exit codes against the expected ones, and on other systems against the reference.
func checkCodes(work string, list []scenario, reference string) error {
	var wrong []string
	for _, s := range list {
		got, err := os.ReadFile(filepath.Join(work, s.name+".code"))
		if err != nil {
			return err
		}
		want := fmt.Sprint(s.code)
		if m, err := os.ReadFile(filepath.Join(reference, s.name+".code")); reference != "" && err == nil {
			want = strings.TrimSpace(string(m))
		} else if s.code < 0 {
			continue
		}
		if code := strings.TrimSpace(string(got)); code != want {
			said, _ := os.ReadFile(filepath.Join(work, s.name+".err"))
			wrong = append(wrong, fmt.Sprintf("%s ends with %s, want %s: %.300s", s.name, code, want, said))
		}
	}
	if len(wrong) > 0 {
		return errors.New(strings.Join(wrong, "\n"))
	}
	return nil
}

// serve starts the HTTP server on loopback and sends requests.
func (t *target) serve(work string) ([]byte, error) {
	exe, err := t.exe(work)
	if err != nil {
		return nil, err
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	address := l.Addr().String()
	l.Close()
	c, err := t.run.tree.command(work, []string{filepath.Dir(work)}, slices.Concat(t.run.environment(), t.run.prefix, []string{exe, "serve", "shop.pcapsule", "--addr", address})...)
	if err != nil {
		return nil, err
	}
	var said bytes.Buffer
	c.Stdout, c.Stderr = &said, &said
	if err := c.Start(); err != nil {
		return nil, err
	}
	ended := make(chan error, 1)
	go func() { ended <- c.Wait() }()
	defer func() {
		_ = c.Process.Signal(os.Interrupt)
		select {
		case <-ended:
		case <-time.After(10 * time.Second):
			_ = c.Process.Kill()
			<-ended
		}
	}()
	ctx, cancel := context.WithTimeout(context.Background(), 90*time.Second)
	defer cancel()
	var all []byte
	for _, path := range []string{"/mcp/calls?kfl=status_code>=500&limit=3", "/mcp/calls?kfl=stats_code>=500"} {
		for {
			body, err := get(ctx, "http://"+address+strings.ReplaceAll(path, ">", "%3E"))
			if err == nil {
				all = append(append(all, body...), '\n')
				break
			}
			select {
			case err := <-ended:
				ended <- err
				return nil, fmt.Errorf("the server ended: %v\n%s", err, said.Bytes())
			case <-ctx.Done():
				return nil, fmt.Errorf("no answer: %w\n%s", err, said.Bytes())
			case <-time.After(300 * time.Millisecond):
			}
		}
	}
	return all, nil
}

func get(ctx context.Context, url string) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	return io.ReadAll(resp.Body)
}
