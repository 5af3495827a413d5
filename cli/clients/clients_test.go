package clients

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestEdits(t *testing.T) {
	for _, c := range []struct{ name, list, before, after, removed string }{
		{"no file", "mcpServers", "", "{\n  \"mcpServers\": {\n    \"x\": {\n      \"args\": [\n        \"mcp\"\n      ],\n      \"command\": \"/bin/pcapsule\"\n    }\n  }\n}\n", "{\n  \"mcpServers\": {}\n}\n"},
		{"others and comments stay", "servers",
			"// mine\n{\n\t\"servers\": {\n\t\t\"a\": {\"command\": \"a\"} // note\n\t},\n\t\"z\": 1e3, /* last */\n}\n",
			"// mine\n{\n\t\"servers\": {\n\t\t\"a\": {\"command\": \"a\"}, // note\n\t\t\"x\": {\n\t\t\t\"args\": [\n\t\t\t\t\"mcp\"\n\t\t\t],\n\t\t\t\"command\": \"/bin/pcapsule\"\n\t\t}\n\t},\n\t\"z\": 1e3, /* last */\n}\n",
			"// mine\n{\n\t\"servers\": {\n\t\t\"a\": {\"command\": \"a\"} // note\n\t},\n\t\"z\": 1e3, /* last */\n}\n"},
		{"a comma after the last one", "s", "{\"s\": {\"a\": 1,\n}}", "{\"s\": {\"a\": 1,\n  \"x\": {\n    \"args\": [\n      \"mcp\"\n    ],\n    \"command\": \"/bin/pcapsule\"\n  }\n}}", "{\"s\": {\"a\": 1\n}}"},
		{"an older entry", "s", "{\"s\": {\"x\": {\"command\": \"/old/pcapsule\", \"args\": [\"mcp\", \"b\"]}, \"a\": {}}}", "{\"s\": {\"x\": {\n  \"args\": [\n    \"mcp\"\n  ],\n  \"command\": \"/bin/pcapsule\"\n}, \"a\": {}}}", "{\"s\": { \"a\": {}}}"},
		{"TOML", "", "model = \"m\"\n\n[mcp_servers.a]\ncommand = \"a\"\n", "model = \"m\"\n\n[mcp_servers.a]\ncommand = \"a\"\n\n[mcp_servers.x]\ncommand = \"/bin/pcapsule\"\nargs = [\"mcp\"]\n", "model = \"m\"\n\n[mcp_servers.a]\ncommand = \"a\"\n"},
		{"TOML with an older entry", "", "[mcp_servers.x]\ncommand = \"/old/pcapsule\"\nargs = [\"mcp\"]\n\n# of y\n[y]\na = [[1],\n [2]]\n", "[mcp_servers.x]\ncommand = \"/bin/pcapsule\"\nargs = [\"mcp\"]\n\n# of y\n[y]\na = [[1],\n [2]]\n", "\n# of y\n[y]\na = [[1],\n [2]]\n"},
	} {
		dir := t.TempDir()
		file := filepath.Join(dir, "c")
		if c.before != "" {
			write(t, file, c.before)
		}
		client := Client{File: file, list: c.list, shaped: usual}
		x, err := client.Install("x", "/bin/pcapsule", []string{"mcp"})
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		backup, err := x.Write()
		if got := content(t, file); err != nil || got != c.after {
			t.Errorf("%s: %v\n%s\nwant\n%s", c.name, err, got, c.after)
		}
		if c.before != "" && content(t, backup) != c.before {
			t.Errorf("%s: the copy %s is not the older file", c.name, backup)
		}
		if again, err := client.Install("x", "/bin/pcapsule", []string{"mcp"}); err != nil || !again.Nothing() {
			t.Errorf("%s: a second installation changes something: %v", c.name, err)
		}
		if x, err = client.Uninstall("x"); err != nil {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		if _, err = x.Write(); err != nil {
			t.Errorf("%s: %v", c.name, err)
		}
		if got := content(t, file); got != c.removed {
			t.Errorf("%s: after removal\n%q\nwant\n%q", c.name, got, c.removed)
		}
	}
}

func TestRefused(t *testing.T) {
	for name, c := range map[string]struct{ list, text, want string }{
		"another server":      {"s", `{"s": {"x": {"command": "other"}}}`, "another server"},
		"not JSON":            {"s", "{\n\"s\": nope}", "line 2 is not valid JSON"},
		"a list":              {"s", `{"s": []}`, "expected an object"},
		"twice":               {"s", `{"s": {}, "s": {}}`, "not two"},
		"deep":                {"s", `{"a": ` + strings.Repeat("[", 9999), "nested"},
		"an open comment":     {"s", `{ /* `, "end of a comment"},
		"rest":                {"s", `{} {}`, "expected the end"},
		"TOML, lines":         {"", "a = '''\n[mcp_servers.x]\n'''\n", "only a person"},
		"TOML, inline":        {"", "mcp_servers = {}\n", "only a person"},
		"TOML, inline inside": {"", "[mcp_servers]\nx = { command = \"a\" }\n", "only a person"},
		"TOML, other":         {"", "[mcp_servers.x]\ncommand = \"a\"\n", "another server"},
	} {
		file := filepath.Join(t.TempDir(), "c")
		write(t, file, c.text)
		client := Client{File: file, list: c.list, shaped: usual}
		if _, err := client.Install("x", "/bin/pcapsule", []string{"mcp"}); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
	}
	file := filepath.Join(t.TempDir(), "c")
	write(t, file, "{}")
	client := Client{File: file, list: "s", shaped: usual}
	x, err := client.Install("x", "/bin/pcapsule", []string{"mcp"})
	if err != nil {
		t.Fatal(err)
	}
	write(t, file, `{"new": 1}`)
	if _, err := x.Write(); err == nil || content(t, file) != `{"new": 1}` {
		t.Errorf("a file that changed meanwhile: %v", err)
	}
	if _, err := client.Uninstall("x"); err != nil || errors.Is(err, ErrOther) {
		t.Error(err)
	}
}

// A configuration that is a link, as those in a folder of dot files are, stays one.
func TestLink(t *testing.T) {
	dir := t.TempDir()
	write(t, filepath.Join(dir, "real"), "{}")
	link := filepath.Join(dir, "link")
	if err := os.Symlink("real", link); err != nil {
		t.Skipf("needs symbolic links: %v", err)
	}
	x, err := (&Client{File: link, list: "s", shaped: usual}).Install("x", "/bin/pcapsule", []string{"mcp"})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := x.Write(); err != nil {
		t.Fatal(err)
	}
	if to, err := os.Readlink(link); err != nil || to != "real" || !strings.Contains(content(t, link), "/bin/pcapsule") {
		t.Errorf("%s: %v", to, err)
	}
}

func FuzzJSON(f *testing.F) {
	f.Add(`{"s": {"a": 1, /* c */ }, // d` + "\n}")
	f.Fuzz(func(t *testing.T, text string) {
		out, err := setJSON([]byte(text), "s", "x", usual("c", nil))
		if err != nil {
			return
		}
		if v, err := jsonEntry(out, "s", "x"); err != nil || v == nil {
			t.Fatalf("%q became %q, without the entry: %v", text, out, err)
		}
		if out, err = unsetJSON(out, "s", "x"); err != nil {
			t.Fatal(err)
		}
		if v, err := jsonEntry(out, "s", "x"); err != nil || v != nil {
			t.Fatalf("%q still has the entry: %v", out, err)
		}
	})
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func content(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
