package browsertest

import (
	"bufio"
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gobwas/ws"
	"github.com/gobwas/ws/wsutil"
)

// Firefox opens a page in Firefox, which is closed when the test ends or a time is over. Without Firefox, the test is skipped.
// It speaks WebDriver BiDi (https://w3c.github.io/webdriver-bidi) with the browser, without a driver.
func Firefox(t testing.TB, most time.Duration) Page {
	t.Helper()
	program := ""
	for _, name := range []string{"firefox-esr", "firefox"} {
		if p, err := exec.LookPath(name); err == nil {
			program = p
			break
		}
	}
	if program == "" {
		t.Skip("needs firefox")
	}
	profile := t.TempDir()
	p := &firefox{saves: t.TempDir(), waiting: map[int]chan reply{}}
	prefs := fmt.Sprintf("user_pref(\"browser.download.folderList\", 2);\nuser_pref(\"browser.download.dir\", %q);\n", p.saves)
	if err := os.WriteFile(filepath.Join(profile, "user.js"), []byte(prefs), 0o600); err != nil {
		t.Fatal(err)
	}
	c := exec.Command(program, "--headless", "--no-remote", "--profile", profile, "--remote-debugging-port", "0", "--width", "1280", "--height", "900", "about:blank")
	said, err := c.StderrPipe()
	if err == nil {
		err = c.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	// Its other processes end with it.
	end := time.AfterFunc(most, func() { _ = c.Process.Kill() })
	t.Cleanup(func() {
		if p.conn != nil {
			_ = p.command("browser.close", map[string]any{}, nil)
			p.conn.Close()
		}
		end.Reset(5 * time.Second)
		_ = c.Wait()
		end.Stop()
	})
	if err := p.connect(said); err != nil {
		t.Fatal(err)
	}
	return p
}

type firefox struct {
	saves string
	conn  net.Conn
	page  string // the id of its top browsing context

	mu      sync.Mutex
	count   int
	waiting map[int]chan reply
	said    []string
}

// refusal is what Firefox says of something that it did not load, which Chromium does not tell.
var refusal = regexp.MustCompile(`^(Content-Security-Policy|Security Error): `)

// reply is what the browser says: the answer to a command, or an event.
type reply struct {
	Type    string
	ID      int
	Result  json.RawMessage
	Error   string
	Message string
	Params  struct{ Type, Level, Text string } // of log.entryAdded
}

// tree is a browsing context with those of its frames.
type tree struct {
	Context  string
	Children []tree
}

func (p *firefox) connect(said io.Reader) error {
	lines := bufio.NewReader(said)
	var address string
	for address == "" {
		line, err := lines.ReadString('\n')
		if err != nil {
			return fmt.Errorf("starting Firefox: %w", err)
		}
		if _, after, ok := strings.Cut(line, "WebDriver BiDi listening on "); ok {
			address = strings.TrimSpace(after) + "/session"
		}
	}
	go io.Copy(io.Discard, lines)
	var err error
	if p.conn, _, _, err = ws.Dial(context.Background(), address); err != nil {
		return err
	}
	go p.listen()
	if err := p.command("session.new", map[string]any{"capabilities": map[string]any{}}, nil); err != nil {
		return err
	}
	if err := p.command("session.subscribe", map[string]any{"events": []string{"log.entryAdded"}}, nil); err != nil {
		return err
	}
	top, err := p.tree()
	p.page = top.Context
	return err
}

func (p *firefox) listen() {
	for {
		text, err := wsutil.ReadServerText(p.conn)
		var r reply
		if err == nil {
			err = json.Unmarshal(text, &r)
		}
		p.mu.Lock()
		if err != nil {
			for id, w := range p.waiting {
				delete(p.waiting, id)
				w <- reply{Type: "error", Error: "the connection ended", Message: err.Error()}
			}
			p.mu.Unlock()
			return
		}
		if r.Type == "event" {
			if !refusal.MatchString(r.Params.Text) {
				p.said = append(p.said, r.Params.Type+" "+r.Params.Level+" "+r.Params.Text)
			}
		} else if w, ok := p.waiting[r.ID]; ok {
			delete(p.waiting, r.ID)
			w <- r
		}
		p.mu.Unlock()
	}
}

// command sends a command and decodes its result.
func (p *firefox) command(method string, params, result any) error {
	p.mu.Lock()
	p.count++
	id, answer := p.count, make(chan reply, 1)
	p.waiting[id] = answer
	p.mu.Unlock()
	text, err := json.Marshal(map[string]any{"id": id, "method": method, "params": params})
	if err == nil {
		err = wsutil.WriteClientText(p.conn, text)
	}
	if err != nil {
		return err
	}
	select {
	case r := <-answer:
		if r.Type == "error" {
			return fmt.Errorf("%s: %s: %s", method, r.Error, r.Message)
		}
		if result == nil {
			return nil
		}
		return json.Unmarshal(r.Result, result)
	case <-time.After(10 * time.Minute):
		return fmt.Errorf("%s: no answer", method)
	}
}

func (p *firefox) tree() (tree, error) {
	var all struct{ Contexts []tree }
	params := map[string]any{}
	if p.page != "" {
		params["root"] = p.page
	}
	if err := p.command("browsingContext.getTree", params, &all); err != nil {
		return tree{}, err
	}
	if len(all.Contexts) == 0 {
		return tree{}, fmt.Errorf("Firefox has no page")
	}
	return all.Contexts[0], nil
}

func (p *firefox) Open(address string) error {
	return p.command("browsingContext.navigate", map[string]any{"context": p.page, "url": address, "wait": "complete"}, nil)
}

func (p *firefox) Reload() error {
	return p.command("browsingContext.reload", map[string]any{"context": p.page, "wait": "complete"}, nil)
}

// value is a value of a script, or the exception that it threw.
type value struct {
	Result struct {
		Value    json.RawMessage // of text, a string
		SharedID string          // of an element
	}
	ExceptionDetails *struct{ Text string }
}

func (p *firefox) evaluate(expression string) (string, value, error) {
	t, err := p.tree()
	if err != nil {
		return "", value{}, err
	}
	at := t.Context
	if len(t.Children) > 0 {
		at = t.Children[0].Context
	}
	var v value
	err = p.command("script.evaluate", map[string]any{"expression": expression, "target": map[string]string{"context": at}, "awaitPromise": true}, &v)
	if err == nil && v.ExceptionDetails != nil {
		err = fmt.Errorf("script: %s", v.ExceptionDetails.Text)
	}
	return at, v, err
}

// statement is what may stand before the value of an expression.
var statement = regexp.MustCompile(`;""$`)

func (p *firefox) Evaluate(expression string, into any) error {
	if statement.MatchString(expression) {
		_, _, err := p.evaluate(expression)
		return err
	}
	_, v, err := p.evaluate("(async () => JSON.stringify(await (" + expression + ")) ?? 'null')()")
	if err != nil || into == nil {
		return err
	}
	var text string
	if err := json.Unmarshal(v.Result.Value, &text); err != nil {
		return err
	}
	return json.Unmarshal([]byte(text), into)
}

// Choose gives the files of a folder one by one, with the paths that a browser would give them, because WebDriver BiDi chooses no
// folders.
func (p *firefox) Choose(id string, paths ...string) error {
	if info, err := os.Stat(paths[0]); err == nil && info.IsDir() {
		folder := paths[0]
		paths = nil
		var relative []string
		err := filepath.WalkDir(folder, func(path string, e fs.DirEntry, err error) error {
			if err != nil || e.IsDir() {
				return err
			}
			rel, err := filepath.Rel(filepath.Dir(folder), path)
			paths, relative = append(paths, path), append(relative, filepath.ToSlash(rel))
			return err
		})
		var names []byte
		if err == nil {
			names, err = json.Marshal(relative)
		}
		if err == nil {
			_, _, err = p.evaluate(fmt.Sprintf(`(document.getElementById(%[1]q).multiple = true, document.getElementById(%[1]q)).addEventListener("change", (e) => %[2]s.forEach((path, i) => Object.defineProperty(e.target.files[i], "webkitRelativePath", {value: path})), {capture: true, once: true})`, id, names))
		}
		if err != nil {
			return err
		}
	}
	at, v, err := p.evaluate(fmt.Sprintf("document.getElementById(%q)", id))
	if err != nil {
		return err
	}
	return p.command("input.setFiles", map[string]any{"context": at, "element": map[string]string{"sharedId": v.Result.SharedID}, "files": paths}, nil)
}

func (p *firefox) Screenshot() ([]byte, error) {
	var r struct{ Data string }
	if err := p.command("browsingContext.captureScreenshot", map[string]any{"context": p.page}, &r); err != nil {
		return nil, err
	}
	return base64.StdEncoding.DecodeString(r.Data)
}

func (p *firefox) Saves() string { return p.saves }

func (p *firefox) Said() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.said
}
