package mcp

import (
	"encoding/json"
	"html"
	"io"
	"net/http"
	"net/http/httptest"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/pcapsule/pcapsule/forensics/redact"
	"github.com/pcapsule/pcapsule/mcp/door"
)

// TestFirstPage reads the first page and runs its commands.
func TestFirstPage(t *testing.T) {
	path := filepath.Join(t.TempDir(), "<b>sh&op.pcapsule")
	rename(t, bundled(t, "shop.pcapng"), path)
	for _, token := range []string{"", "0123456789abcdef"} {
		o := HTTPOptions{}
		if token != "" {
			o.Tokens = []door.Token{door.NewToken("anna", token)}
		}
		web := httptest.NewServer(serving(t, Options{Policy: redact.Default()}, path).Handler(o))
		defer web.Close()
		get := func(target string) (*http.Response, string) {
			req, err := http.NewRequest("GET", web.URL+target, nil)
			if err != nil {
				t.Fatal(err)
			}
			req.Header.Set("Authorization", "Bearer "+token)
			res, err := http.DefaultClient.Do(req)
			if err != nil {
				t.Fatal(err)
			}
			defer res.Body.Close()
			raw, err := io.ReadAll(res.Body)
			if err != nil {
				t.Fatal(err)
			}
			return res, string(raw)
		}
		res, page := get("/connect")
		if res.StatusCode != 200 || !strings.HasPrefix(res.Header.Get("Content-Type"), "text/html") || !strings.Contains(res.Header.Get("Content-Security-Policy"), "default-src 'none'") {
			t.Fatalf("%d %v", res.StatusCode, res.Header)
		}
		for _, want := range []string{"&lt;b&gt;sh&amp;op.pcapsule", "2026-11-20 09:24:48", "http1 179", "The whole time was recorded", "Credentials are masked"} {
			if !strings.Contains(page, want) {
				t.Errorf("the page does not contain %q", want)
			}
		}
		blocks := regexp.MustCompile(`(?s)<pre>(.*?)</pre>`).FindAllStringSubmatch(page, -1)
		if len(blocks) != 2 {
			t.Fatalf("%d blocks", len(blocks))
		}
		var config struct {
			Servers map[string]struct{ Type, URL string } `json:"mcpServers"`
		}
		if err := json.Unmarshal([]byte(html.UnescapeString(blocks[0][1])), &config); err != nil || config.Servers["pcapsule"].URL != web.URL+"/mcp" {
			t.Errorf("%s: %v", blocks[0][1], err)
		}
		for _, link := range regexp.MustCompile(`href="(.*?)"`).FindAllStringSubmatch(page, -1) {
			if res, _ := get(link[1]); res.StatusCode != 200 {
				t.Errorf("%s: %d", link[1], res.StatusCode)
			}
		}
		if _, err := exec.LookPath("curl"); err != nil {
			t.Skip("needs curl")
		}
		for line := range strings.Lines(html.UnescapeString(blocks[1][1])) {
			out, err := exec.Command("sh", "-c", strings.ReplaceAll(strings.TrimSpace(line), "TOKEN", token)+" -f").Output()
			if err != nil || !json.Valid(out) {
				t.Errorf("%s%v: %.200s", line, err, out)
			}
		}
	}
}
