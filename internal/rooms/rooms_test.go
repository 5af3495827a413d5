// Package rooms enforces the layout: which package may import which. It has tests only.
package rooms

import (
	"encoding/json"
	"maps"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/pcapsule/pcapsule/internal/sources"
)

const module = "github.com/pcapsule/pcapsule/"

const (
	words = "internal/plural" // without dependencies; every package with text for people may import it
	files = "internal/whole"  // without dependencies; every package that writes files may import it
	texts = "internal/clip"   // without dependencies; every package that shortens text may import it
	times = "internal/when"   // without dependencies; every package with times from people may import it
	marks = "internal/quote"  // without dependencies; every package with text for other programs may import it
)

type pkg struct {
	ImportPath string
	Imports    []string
	Deps       []string
}

func packages(t *testing.T) map[string]pkg {
	sources.Look(t, "../..")
	cmd := exec.Command("go", "list", "-json=ImportPath,Imports,Deps", module+"...")
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("listing packages: %v", err)
	}
	all := map[string]pkg{}
	for d := json.NewDecoder(strings.NewReader(string(out))); d.More(); {
		var p pkg
		if err := d.Decode(&p); err != nil {
			t.Fatal(err)
		}
		all[strings.TrimPrefix(p.ImportPath, module)] = p
	}
	return all
}

// within reports whether a package is in one of the folders: "recorder/" includes all packages below,
// "exporter" is a single package.
func within(name string, rooms ...string) bool {
	for _, r := range rooms {
		if name == r || strings.HasSuffix(r, "/") && strings.HasPrefix(name+"/", r) {
			return true
		}
	}
	return false
}

// forTests reports whether a package serves tests, which may make bundles of anything.
func forTests(name string) bool { return strings.HasSuffix(name, "test") }

// testProgram is the program with DuckDB that tests start.
const testProgram = "internal/duckdbtest/program"

// TestImportsPointToTheWire checks that each package imports only packages closer to the wire.
func TestImportsPointToTheWire(t *testing.T) {
	rules := []struct {
		room, why string
		allowed   []string
	}{
		{"exporter/table", "what a row is depends on nothing", nil},
		{"exporter/cursor", "a bounded reader depends on nothing", nil},
		{"kfl/", "the language knows its own list of names and the columns of protocols", []string{"kfl/", "exporter/table"}},
		{"bpf/", "programs and their loaders only", []string{"bpf/"}},
		{"recorder/", "the recorder knows no exporter", []string{"recorder/", "bpf/", "internal/yamltext"}},
		{"recorder/pcapng", "files depend on nothing", nil},
		{"exporter/bundle/sha", "a hash depends on nothing", nil},
		{"exporter/bundle", "a bundle is files and tables", []string{"exporter/table", "exporter/bundle/"}},
		{"exporter/seal", "signatures know bundles, not packets", []string{"exporter/bundle", "exporter/table"}},
		{"exporter/decode", "frames depend on nothing", []string{"exporter/cursor"}},
		{"exporter/", "of the recorder: files, rings, identity, secrets, filters", []string{"exporter/", "recorder/pcapng", "recorder/ring", "recorder/workload", "recorder/secrets", "recorder/filter", "recorder/rows", "recorder/transfer", "internal/pdf", "internal/protoview"}},
		{"exporter/internal/alerts", "what other programs said needs no packets", nil},
		{"exporter/internal/read", "a stage knows rounds, not the stages behind it", []string{"exporter/bundle", "exporter/bundle/sha", "exporter/decode", "exporter/internal/alerts", "exporter/internal/flow", "exporter/internal/memory", "exporter/internal/proof", "exporter/internal/recording", "exporter/internal/round", "exporter/table", "recorder/filter", "recorder/pcapng", "recorder/ring", "recorder/secrets", "recorder/workload"}},
		{"exporter/internal/proof", "whose packet it is, by packets alone", []string{"exporter/decode", "exporter/internal/flow", "exporter/internal/memory", "exporter/internal/round", "recorder/pcapng"}},
		{"exporter/internal/recording", "what files say about clocks needs no reader", []string{"exporter/decode", "exporter/internal/flow", "recorder/pcapng", "recorder/ring"}},
		{"exporter/internal/assemble", "a stage knows rounds, not the other stages", []string{"exporter/dissect", "exporter/internal/flow", "exporter/internal/round"}},
		{"exporter/internal/join", "a stage knows rounds, and where its rows go", []string{"exporter/bundle", "exporter/decode", "exporter/dissect", "exporter/internal/alerts", "exporter/internal/flow", "exporter/internal/memory", "exporter/internal/round", "exporter/internal/write", "exporter/table", "recorder/secrets", "recorder/workload"}},
		{"exporter/internal/write", "rows in, files out", []string{"exporter/bundle", "exporter/dissect", "exporter/internal/columnar", "exporter/internal/memory", "exporter/table"}},
		{"exporter/internal/encoded", "encodings depend on nothing", nil},
		{"exporter/dissect/", "dissectors see bytes, not packets", []string{"exporter/dissect/", "exporter/cursor", "exporter/table", "exporter/internal/tlskeys", "internal/protoview", "recorder/secrets"}},
		{"exporter/internal/tlskeys", "a connection's keys know no dissector", []string{"exporter/cursor", "recorder/secrets"}},
		{"forensics/", "questions need bundles, not the pipeline", []string{"forensics/", "exporter/bundle", "exporter/table", "exporter/tables", "exporter/decode", "recorder/pcapng", "recorder/secrets", "kfl/", "internal/protoview", "internal/yamltext"}},
		{"forensics/shown", "shaping an answer asks nothing", []string{"forensics", "forensics/redact", "internal/protoview"}},
		{"forensics/reader", "a bundle is read from its files", []string{"exporter/bundle", "exporter/table", "exporter/tables", "forensics", "forensics/ask", "forensics/ask/terms", "forensics/internal/carve", "forensics/internal/cite", "forensics/internal/layers", "forensics/redact", "forensics/shown", "kfl"}},
		{"exporter/tables", "reading rows needs no pipeline", []string{"exporter/bundle", "exporter/internal/parts", "exporter/table"}},
		{"forensics/ask/terms", "the words of questions need only the language and what a row is", []string{"exporter/table", "kfl"}},
		{"forensics/ask/relation", "SQL that ties calls is text", []string{"forensics/ask/terms", "forensics/statements"}},
		{"forensics/geoip", "files of places know no bundle", nil},
		{"forensics/indicator", "lists know no bundle", nil},
		{"forensics/encode", "values of an answer, not questions", []string{"forensics"}},
		{"forensics/internal/copies", "which calls are one needs no bundle", []string{"exporter/table"}},
		{"forensics/internal/older", "columns are text", nil},
		{"web/", "the page has no code of the program", []string{"web/"}},
		{"mcp/", "assistants ask forensics", []string{"mcp/", "web", "forensics", "forensics/encode", "forensics/ask/", "forensics/check/", "forensics/redact/", "forensics/shown", "forensics/reader", "forensics/finding/", "exporter/bundle", "exporter/table", "kfl/", "internal/accesslog"}},
		{"mcp/door", "who may ask knows no question", nil},
		{"mcp/object", "JSON depends on nothing", nil},
		{"mcp/queue", "waiting depends on nothing", nil},
		{"mcp/rpc", "messages depend on nothing", nil},
		{"mcp/store", "an interface depends on nothing", nil},
		{"mcp/cases", "cases know no question", []string{"forensics", "mcp/store"}},
		{"mcp/tools", "tools know no client", []string{"exporter/bundle", "forensics", "forensics/ask", "forensics/ask/terms", "forensics/encode", "forensics/redact", "forensics/shown", "kfl/", "mcp/cases", "mcp/object", "mcp/store"}},
		{"internal/accesslog", "a log needs no bundle", nil},
		{"exporter/handover", "packages know bundles and seals, not packets", []string{"exporter/bundle", "exporter/seal", "internal/pdf"}},
		{"internal/protoview", "a message without its schema depends on nothing", nil},
		{"internal/pdf", "paper knows nothing of what is on it", nil},
		{"cli/agekey", "keys that both programs read", []string{"cli/exit", "recorder/keys"}},
		{"cli/exporting", "what commands that make bundles share", []string{"cli/agekey", "cli/console"}},
		{"cli/verify", "checking needs no case", []string{"cli/console", "cli/custody", "cli/exit", "cli/exporting", "cli/ringcmd", "exporter/bundle", "exporter/derive", "exporter/seal", "recorder/ring"}},
		{"cli/viewer", "what a browser can run has no database and no recorder", []string{"cli/agekey", "cli/console", "cli/custody", "cli/exit", "cli/exporting", "cli/verify", "exporter", "exporter/bundle", "exporter/handover", "forensics/reader", "internal/version", "recorder/pcapng"}},
		{"cmd/pcapsule-viewer", "a program is a few lines", []string{"cli/viewer"}},
		{"cli/custody", "evidence is files: no packets and no questions", []string{"internal/yamltext", "exporter/bundle", "exporter/commit", "exporter/derive", "exporter/handover", "exporter/seal", "cli/agekey", "cli/command", "cli/console", "cli/exit", "internal/version", "recorder/ring", "recorder/ring/signingkey"}},
		{"cli/format", "an answer is printed, not asked for", []string{"forensics", "forensics/encode", "cli/console", "cli/exit", "internal/version"}},
		{"cli/record", "recording reads no capture; masks are those of answers", []string{"forensics/redact", "cli/agekey", "cli/command", "cli/console", "cli/exit", "cli/policyflag", "internal/version", "recorder", "recorder/filter", "recorder/keys", "recorder/ring", "recorder/ring/signingkey", "recorder/sight"}},
		{"cli/serve", "servers ask forensics", []string{"forensics", "forensics/ask", "forensics/finding", "forensics/geoip", "forensics/indicator", "forensics/redact", "internal/accesslog", "cli/clients", "cli/command", "cli/console", "cli/exit", "internal/version", "mcp", "mcp/door", "mcp/store", "mcp/tools"}},
		{"cli/recorder", "the node's program has no part of the laptop's but its masks", []string{"forensics/redact", "cli/agekey", "cli/command", "cli/console", "cli/doctor", "cli/exit", "cli/policyflag", "cli/ringcmd", "internal/version", "recorder", "recorder/agent", "recorder/filter", "recorder/keys", "recorder/ring", "recorder/ring/signingkey", "recorder/workload"}},
		{"cli/policyflag", "flags that both programs have", []string{"cli/command", "cli/exit", "recorder/policy", "recorder/workload"}},
		{"cli/clients", "configurations of other programs depend on nothing", nil},
		{"cli/exit", "exit codes depend on nothing", nil},
		{"cli/lakecmd", "what two programs declare has limits like other flags", []string{"cli/command"}},
		{"cli/wireshark", "a profile is files about a case", []string{"forensics", "kfl"}},
		{"cli/console", "text for people depends on exit codes alone", []string{"cli/exit"}},
		{"cli/page", "answers on paper need no case", []string{"cli/console", "report/value"}},
		{"cli/command", "a command that both programs have needs no bundle", []string{"kfl/nearest", "cli/console", "cli/exit", "internal/version", "recorder/filter"}},
		{"cli/doctor", "a command that both programs have needs no bundle", []string{"cli/console", "cli/exit", "recorder", "recorder/keys"}},
		{"cli/ringcmd", "a command that both programs have needs no bundle", []string{"cli/command", "cli/console", "cli/exit", "recorder/pcapng", "recorder/ring", "recorder/ring/signingkey", "recorder/sight"}},
		{"cmd/pcapsule-recorder", "a program is a few lines", []string{"cli/recorder"}},
		{"recorder/internal/kube", "the cluster's names need no packets", []string{"recorder/workload"}},
		{"recorder/internal/machine", "what a machine says of itself needs no packets", []string{"bpf", "recorder/ring", "recorder/workload"}},
		{"recorder/agent", "the node's recorder joins recorder and cluster", []string{"recorder", "recorder/internal/enroll", "recorder/internal/kube", "recorder/filter", "recorder/keys", "recorder/mutual", "recorder/pcapng", "recorder/pins", "recorder/policy", "recorder/ring", "recorder/transfer", "recorder/workload"}},
		{"recorder/ring/signingkey", "keys know no ring", []string{"recorder/ring/internal/durable"}},
		{"recorder/ring/internal/durable", "what a ring needs of a file system knows no ring", nil},
		{"recorder/transfer", "moving files knows nothing of what is in them", nil},
		{"recorder/mutual", "certificates depend on nothing", nil},
		{"recorder/pins", "pins are files of a ring", []string{"recorder/ring", "recorder/rows", "recorder/transfer"}},
		{"recorder/rows", "a folder of sets knows nothing of what is in them", []string{"recorder/transfer"}},
		{"recorder/internal/enroll", "a certificate needs no packets", []string{"recorder/mutual"}},
		{"hub/", "the hub collects; its program adds the exporter", []string{"hub/", "kfl", "recorder/filter", "recorder/mutual", "recorder/pins", "recorder/ring", "recorder/rows", "recorder/transfer"}},
		{"hub/live", "a copy of a ring is files", []string{"hub/offer", "recorder/pins", "recorder/ring", "recorder/rows", "recorder/transfer"}},
		{"hub/offer", "laptops read it", []string{"recorder/transfer"}},
		{"hub/resource", "the resource knows times and filters, not files", []string{"kfl", "recorder/filter", "recorder/ring"}},
		{"hub/authority", "certificates need no packets", []string{"recorder/mutual"}},
		{"hub/collect", "parts are files; who dissects them is up to the caller", []string{"hub/resource", "recorder/pins", "recorder/ring", "recorder/transfer"}},
		{"hub/control", "what is done when, not how", []string{"hub/collect", "hub/download", "hub/jobs", "hub/offer", "hub/resource", "hub/served", "recorder/ring"}},
		{"hub/jobs", "a Job knows no files", []string{"hub/resource"}},
		{"cli/hub", "the hub's program has no part of the laptop's but its access log with its masks", []string{"exporter", "exporter/bundle", "exporter/derive", "forensics/redact", "hub", "hub/collect", "hub/control", "hub/download", "hub/jobs", "hub/offer", "hub/resource", "internal/accesslog", "cli/command", "cli/console", "cli/exit", "internal/version", "recorder/ring", "recorder/rows", "store"}},
		{"cmd/pcapsule-hub", "a program is a few lines", []string{"cli/hub"}},
		{"store", "bundles elsewhere are files", []string{"exporter/bundle", "recorder/transfer"}},
		{"collection", "what is known of many cases, and a report about it", []string{"exporter/bundle", "exporter/seal", "forensics", "forensics/ask", "forensics/control", "forensics/finding", "internal/yamltext", "report/value"}},
		{"samples/weeks", "traffic, not bundles", []string{"samples/traffic", "recorder/pcapng"}},
		{"report/", "reports ask forensics", []string{"report/", "forensics", "forensics/ask/", "forensics/check/", "forensics/redact/", "forensics/finding/", "exporter/bundle", "exporter/table", "kfl/", "internal/pdf", "internal/yamltext"}},
	}
	for name, p := range packages(t) {
		for _, imp := range p.Imports {
			if forTests(imp) && !forTests(name) && !within(name, "scripts/", "internal/testgate") {
				t.Errorf("%s imports %s, which is for tests", name, imp)
			}
		}
		for _, r := range rules {
			if !within(name, r.room) || forTests(name) {
				continue
			}
			for _, imp := range p.Imports {
				ours, ok := strings.CutPrefix(imp, module)
				if ok && !slices.Contains([]string{files, texts, times, marks}, ours) && !within(ours, r.allowed...) && (ours != words || within(name, "kfl/", "bpf/", "recorder/", "exporter/") && !within(name, "exporter/seal", "exporter/handover")) {
					t.Errorf("%s imports %s: %s", name, ours, r.why)
				}
			}
		}
	}
}

// TestFewProgramsLinkDuckDB checks that tests, but for those of the package that has DuckDB, do not link it: of each such
// program the linker writes 100 MB.
func TestFewProgramsLinkDuckDB(t *testing.T) {
	sources.Look(t, "../..")
	out, err := exec.Command("go", "list", "-test", "-f", `{{.ImportPath}} {{join .Deps " "}}`, module+"...").Output()
	if err != nil {
		t.Fatalf("listing tests: %v", err)
	}
	found := map[string]bool{}
	for line := range strings.Lines(string(out)) {
		name, deps, _ := strings.Cut(strings.TrimPrefix(line, module), " ")
		if (strings.HasSuffix(name, ".test") || within(name, "cmd/", testProgram)) && strings.Contains(deps, "github.com/duckdb/") {
			found[name] = true
		}
	}
	want := []string{"cmd/pcapsule", "forensics/internal/engine.test", testProgram}
	if got := slices.Sorted(maps.Keys(found)); !slices.Equal(got, want) {
		t.Errorf("DuckDB is in %q, want only %q: open cases with workertest and read bundles with duckdbtest", got, want)
	}
}

// TestHeavyLibrariesStayInTheirRoom checks that only one package imports DuckDB, and that programs for
// laptops have no Kubernetes libraries.
func TestHeavyLibrariesStayInTheirRoom(t *testing.T) {
	for name, p := range packages(t) {
		for _, imp := range p.Imports {
			if strings.HasPrefix(imp, "github.com/duckdb/") && name != "forensics/internal/engine" && name != testProgram {
				t.Errorf("%s imports %s; only forensics/internal/engine may", name, imp)
			}
		}
		laptop := within(name, "exporter/", "forensics/", "kfl/", "mcp/", "report/", "cli", "cmd/pcapsule", "hub/offer")
		for _, dep := range p.Deps {
			records := within(name, "cli", "cmd/pcapsule") // pcapsule record
			if laptop && (strings.HasPrefix(dep, "k8s.io/") || !records && strings.HasPrefix(dep, "github.com/cilium/ebpf")) {
				t.Errorf("%s reaches %s", name, dep)
			}
		}
	}
}

// TestClusterStaysAtTheAgent checks that only the agent reaches Kubernetes libraries, and that programs
// for nodes have neither DuckDB nor C.
func TestClusterStaysAtTheAgent(t *testing.T) {
	all := packages(t)
	node := []string{"recorder/", "cmd/pcapsule-recorder", "cli/recorder"}
	cluster := []string{"recorder/agent", "recorder/internal/enroll", "recorder/internal/kube", "cmd/pcapsule-recorder", "cli/recorder"}
	for _, name := range []string{"cmd/pcapsule-recorder", "recorder/agent", "recorder/internal/kube", "cli/recorder"} {
		if len(all[name].Deps) == 0 {
			t.Errorf("%s is missing", name)
		}
	}
	for name, p := range all {
		for _, dep := range p.Deps {
			switch {
			case within(name, append(node, "hub/", "cmd/pcapsule-hub")...) && strings.Contains(dep, "duckdb"):
				t.Errorf("%s reaches %s: programs for clusters must not have DuckDB", name, dep)
			case within(name, "hub/", "cmd/pcapsule-hub") && strings.HasPrefix(dep, "github.com/cilium/ebpf"):
				t.Errorf("%s reaches %s: the hub records nothing", name, dep)
			case within(name, "recorder/") && !within(name, cluster...) && (strings.HasPrefix(dep, "k8s.io/") || strings.HasPrefix(dep, "github.com/prometheus/")):
				t.Errorf("%s reaches %s: the recorder takes a workload.Source", name, dep)
			}
		}
	}
}

// TestClusterProgramsAreStatic checks that the programs for clusters can be built without C.
func TestClusterProgramsAreStatic(t *testing.T) {
	cmd := exec.Command("go", "list", "-deps", "-f", "{{if .CgoFiles}}{{.ImportPath}}{{end}}{{with .Error}}{{.}}{{end}}", module+"cmd/pcapsule-recorder", module+"cmd/pcapsule-hub")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS=linux")
	out, err := cmd.CombinedOutput()
	if err != nil || len(strings.TrimSpace(string(out))) > 0 {
		t.Errorf("these need C or do not load: %s %v", out, err)
	}
}

// maxChain is the longest allowed chain of imports.
const maxChain = 9

// TestLineIsShort measures the longest chain of imports.
func TestLineIsShort(t *testing.T) {
	all := packages(t)
	memo := map[string][]string{}
	var longest func(name string) []string
	longest = func(name string) []string {
		if c, ok := memo[name]; ok {
			return c
		}
		var best []string
		for _, imp := range all[name].Imports {
			if ours, ok := strings.CutPrefix(imp, module); ok {
				if c := longest(ours); len(c) > len(best) {
					best = c
				}
			}
		}
		memo[name] = append([]string{name}, best...)
		return memo[name]
	}
	for name := range all {
		if c := longest(name); len(c) > maxChain {
			t.Errorf("a chain of %d packages, want at most %d: %s", len(c), maxChain, strings.Join(c, " → "))
		}
	}
}

// TestNoDrawersWithoutNames rejects packages with meaningless names.
func TestNoDrawersWithoutNames(t *testing.T) {
	for name := range packages(t) {
		last := name[strings.LastIndexByte(name, '/')+1:]
		if slices.Contains([]string{"common", "utils", "util", "helpers", "base", "types", "misc"}, last) {
			t.Errorf("package %s: name it for what it does", name)
		}
	}
}
