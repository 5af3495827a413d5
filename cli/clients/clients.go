// Package clients writes pcapsule into the configurations of the assistants on this machine.
//
// It changes the bytes of one entry and keeps all others, comments too. A configuration that it cannot read is refused;
// nothing is written then. Before a change, the older file is copied.
package clients

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"runtime"
	"slices"
	"strings"

	"github.com/pcapsule/pcapsule/internal/whole"
)

// Client is an assistant and its configuration.
type Client struct {
	Name   string // as --client has it
	Title  string
	File   string // its configuration
	list   string // the member with the servers; empty: the file is TOML
	sign   string // exists if the assistant is installed
	shaped func(command string, args []string) any
}

// Found reports whether the assistant seems to be installed.
func (c *Client) Found() bool {
	for _, path := range []string{c.sign, c.File} {
		if _, err := os.Stat(path); err == nil {
			return true
		}
	}
	return false
}

func usual(command string, args []string) any {
	return map[string]any{"command": command, "args": args}
}

func typed(more map[string]any) func(string, []string) any {
	return func(command string, args []string) any {
		entry := map[string]any{"command": command, "args": args}
		for k, v := range more {
			entry[k] = v
		}
		return entry
	}
}

// joined is for assistants that want one list with the program and its arguments.
func joined(command string, args []string) any {
	return map[string]any{"type": "local", "command": append([]string{command}, args...), "enabled": true}
}

// Known returns the assistants whose configuration is known, for the user of this process.
func Known() ([]Client, error) {
	home, err := os.UserHomeDir()
	if err != nil {
		return nil, err
	}
	config, err := os.UserConfigDir()
	if err != nil {
		return nil, err
	}
	return known(runtime.GOOS, home, config), nil
}

// known lists the assistants of a system. config is where its programs keep their configuration.
func known(system, home, config string) []Client {
	dotted := config // of programs that use ~/.config on macOS too
	if system == "darwin" {
		dotted = filepath.Join(home, ".config")
	}
	zed := filepath.Join(dotted, "zed")
	if system == "windows" {
		zed = filepath.Join(config, "Zed")
	}
	at := func(name, title, list string, shaped func(string, []string) any, dir, file string) Client {
		return Client{Name: name, Title: title, File: filepath.Join(dir, file), list: list, sign: dir, shaped: shaped}
	}
	const servers = "mcpServers"
	code := filepath.Join(config, "Code", "User")
	extension := func(id string) string { return filepath.Join(code, "globalStorage", id, "settings") }
	list := []Client{
		at("claude-code", "Claude Code", servers, typed(map[string]any{"type": "stdio"}), home, ".claude.json"),
		at("claude-desktop", "Claude Desktop", servers, usual, filepath.Join(config, "Claude"), "claude_desktop_config.json"),
		at("cline", "Cline", servers, usual, extension("saoudrizwan.claude-dev"), "cline_mcp_settings.json"),
		at("codex", "Codex", "", nil, filepath.Join(home, ".codex"), "config.toml"),
		at("copilot-cli", "Copilot CLI", servers, typed(map[string]any{"type": "local", "tools": []string{"*"}}), filepath.Join(home, ".copilot"), "mcp-config.json"),
		at("cursor", "Cursor", servers, usual, filepath.Join(home, ".cursor"), "mcp.json"),
		at("gemini-cli", "Gemini CLI", servers, usual, filepath.Join(home, ".gemini"), "settings.json"),
		at("kilo-code", "Kilo Code", servers, usual, extension("kilocode.kilo-code"), "mcp_settings.json"),
		at("kiro", "Kiro", servers, usual, filepath.Join(home, ".kiro"), filepath.Join("settings", "mcp.json")),
		at("lm-studio", "LM Studio", servers, usual, filepath.Join(home, ".lmstudio"), "mcp.json"),
		at("opencode", "OpenCode", "mcp", joined, filepath.Join(dotted, "opencode"), "opencode.json"),
		at("roo-code", "Roo Code", servers, usual, extension("rooveterinaryinc.roo-cline"), "mcp_settings.json"),
		at("vscode", "VS Code", "servers", typed(map[string]any{"type": "stdio"}), code, "mcp.json"),
		at("vscode-insiders", "VS Code Insiders", "servers", typed(map[string]any{"type": "stdio"}), filepath.Join(config, "Code - Insiders", "User"), "mcp.json"),
		at("windsurf", "Windsurf", servers, usual, filepath.Join(home, ".codeium", "windsurf"), "mcp_config.json"),
		at("zed", "Zed", "context_servers", typed(map[string]any{"source": "custom"}), zed, "settings.json"),
	}
	list[0].sign = filepath.Join(home, ".claude")
	return list
}

// Change is the change of one configuration.
type Change struct {
	Client
	before, after []byte
	mode          fs.FileMode
	path          string // without links
	made          bool   // there was no file
}

// Nothing reports that the configuration is as wanted.
func (c *Change) Nothing() bool { return bytes.Equal(c.before, c.after) }

// ErrOther reports an entry with the wanted name that is not ours.
var ErrOther = errors.New("has another server with this name")

func (c *Client) load() (Change, error) {
	x := Change{Client: *c, mode: 0o600, path: c.File}
	real, err := filepath.EvalSymlinks(c.File)
	if errors.Is(err, fs.ErrNotExist) {
		x.made = true
		return x, nil
	}
	if err != nil {
		return x, err
	}
	info, err := os.Stat(real)
	if err != nil {
		return x, err
	}
	if !info.Mode().IsRegular() || info.Size() > maxFile {
		return x, fmt.Errorf("%s: must be a file of at most %d MiB", c.File, maxFile>>20)
	}
	x.path, x.mode = real, info.Mode().Perm()
	x.before, err = os.ReadFile(real)
	x.after = x.before
	return x, err
}

// Installed reports whether the configuration has an entry of ours with a name.
func (c *Client) Installed(name string) (bool, error) {
	x, err := c.load()
	if err != nil {
		return false, err
	}
	there, ours, err := x.entry(name)
	return there && ours, err
}

// entry looks for the entry with a name.
func (c *Change) entry(name string) (there, ours bool, err error) {
	if c.list == "" {
		from, to, err := tomlSections(c.before, name)
		return from >= 0, from >= 0 && tomlOurs.Match(c.before[from:to]), c.named(err)
	}
	v, err := jsonEntry(c.before, c.list, name)
	return v != nil, isOurs(v), c.named(err)
}

// isOurs reports whether an entry starts pcapsule mcp.
func isOurs(v any) bool {
	m, _ := v.(map[string]any)
	var words []any
	switch command := m["command"].(type) {
	case string:
		args, _ := m["args"].([]any)
		words = append([]any{command}, args...)
	case []any:
		words = command
	}
	if len(words) < 2 || words[1] != "mcp" {
		return false
	}
	program, _ := words[0].(string)
	program = program[strings.LastIndexAny(program, `/\`)+1:]
	return strings.TrimSuffix(strings.ToLower(program), ".exe") == "pcapsule"
}

func (c *Change) named(err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s: %w", c.File, err)
}

// Install returns the change that makes the assistant start command with args as its server name.
func (c *Client) Install(name, command string, args []string) (*Change, error) {
	x, err := c.load()
	if err != nil {
		return nil, err
	}
	there, ours, err := x.entry(name)
	if err == nil && there && !ours {
		err = x.named(ErrOther)
	}
	if err != nil {
		return nil, err
	}
	if c.list == "" {
		x.after, err = setTOML(x.before, name, tomlText(name, command, args))
		return &x, x.named(err)
	}
	entry := c.shaped(command, args)
	if old, err := jsonEntry(x.before, c.list, name); err == nil && same(old, entry) {
		return &x, nil
	}
	x.after, err = setJSON(x.before, c.list, name, entry)
	return &x, x.named(err)
}

// same compares an entry that was read with one to be written.
func same(old, entry any) bool {
	v, err := plainValue(encoded(map[string]any{"v": entry}, "", " "))
	return err == nil && reflect.DeepEqual(v["v"], old)
}

// Uninstall returns the change that removes our entry with a name.
func (c *Client) Uninstall(name string) (*Change, error) {
	x, err := c.load()
	if err != nil {
		return nil, err
	}
	there, ours, err := x.entry(name)
	switch {
	case err != nil:
		return nil, err
	case !there:
		return &x, nil
	case !ours:
		return nil, x.named(ErrOther)
	case c.list == "":
		x.after, err = unsetTOML(x.before, name)
	default:
		x.after, err = unsetJSON(x.before, c.list, name)
	}
	return &x, x.named(err)
}

// maxBackups limits the copies of one configuration.
const maxBackups = 100

// Write changes the file, after a copy of it; backup is the copy's name, empty if there was no file. If the file has
// changed since, it stays as it is.
func (c *Change) Write() (backup string, err error) {
	now, err := c.Client.load()
	if err != nil {
		return "", err
	}
	if !bytes.Equal(now.before, c.before) || now.made != c.made {
		return "", fmt.Errorf("%s: another program has just changed it", c.File)
	}
	if err := os.MkdirAll(filepath.Dir(c.path), 0o700); err != nil {
		return "", err
	}
	if c.made {
		return "", whole.CreateDurably(c.path, c.mode, whole.Text(c.after))
	}
	for n := range maxBackups {
		backup = c.path + ".before-pcapsule"
		if n > 0 {
			backup = fmt.Sprintf("%s-%d", backup, n+1)
		}
		if err = whole.CreateDurably(backup, c.mode, whole.Text(c.before)); !errors.Is(err, fs.ErrExist) {
			break
		}
	}
	if err != nil {
		return "", fmt.Errorf("copying %s: %w", c.File, err)
	}
	return backup, whole.ReplaceDurably(c.path, c.mode, whole.Text(c.after))
}

// Diff returns the lines that change, after - and +.
func (c *Change) Diff() string {
	before, after := slices.Collect(bytes.Lines(c.before)), slices.Collect(bytes.Lines(c.after))
	first := 0
	for first < min(len(before), len(after)) && bytes.Equal(before[first], after[first]) {
		first++
	}
	last := 0
	for last < min(len(before), len(after))-first && bytes.Equal(before[len(before)-1-last], after[len(after)-1-last]) {
		last++
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%s, line %d:\n", c.File, first+1)
	for _, l := range before[first : len(before)-last] {
		fmt.Fprintf(&b, "- %s\n", bytes.TrimRight(l, "\r\n"))
	}
	for _, l := range after[first : len(after)-last] {
		fmt.Fprintf(&b, "+ %s\n", bytes.TrimRight(l, "\r\n"))
	}
	return b.String()
}
