package viewer_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/pcapsule/pcapsule/exporter"
	"github.com/pcapsule/pcapsule/exporter/bundle"
)

// press clicks an element of the viewer.
func (b *tab) press(selector string) {
	b.t.Helper()
	b.until(fmt.Sprintf(`document.querySelector(%q) && !document.querySelector(%[1]q).disabled`, selector))
	b.text(fmt.Sprintf(`document.querySelector(%q).click(), ""`, selector))
}

// shows waits until an element of the viewer has a text.
func (b *tab) shows(selector, text string) {
	b.t.Helper()
	b.until(fmt.Sprintf(`document.querySelector(%q)?.innerText.includes(%q)`, selector, text))
}

// filter enters a KFL filter.
func (b *tab) filter(kfl string) {
	b.t.Helper()
	b.text(fmt.Sprintf(`(() => { const i = document.getElementById("kfl"); i.value = %q; i.dispatchEvent(new Event("input", {bubbles: true})); return ""; })()`, kfl))
	time.Sleep(50 * time.Millisecond) // the box keeps what was entered
	b.text(`(document.getElementById("kfl").dispatchEvent(new KeyboardEvent("keydown", {key: "Enter", bubbles: true})), "")`)
}

// saved waits for a file that the viewer saves.
func saved(t *testing.T, path string) []byte {
	t.Helper()
	for end := time.Now().Add(30 * time.Second); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
		if text, err := os.ReadFile(path); err == nil && len(text) > 0 {
			return text
		}
	}
	t.Fatalf("%s was not saved", path)
	return nil
}

// TestTabReads reads a bundle in the tab, without a check: what it is, its calls by a filter, one of them with its packets,
// connections, and packets for Wireshark.
func TestTabReads(t *testing.T) { inBrowsers(t, tabReads) }

func tabReads(t *testing.T, b *tab) {
	path := made(t, "../../samples/http1.pcapng", nil)
	b.choose("folder", path)
	b.press("#read")
	b.shows("#calls-by", "http1")
	b.shows("main", "Nothing was checked in this tab")
	b.shows("main", "pcapsule open http1.pcapsule")
	b.press("#view-calls")
	b.until(`document.querySelectorAll(".grid .rows [role=row]").length > 0`)
	all := b.text(`document.querySelector(".found").innerText`)
	b.filter(`status_code >= 400`)
	b.until(fmt.Sprintf(`document.querySelector(".found").innerText.endsWith("calls") && document.querySelector(".found").innerText !== %q`, all))
	b.until(`document.querySelectorAll(".grid .rows [role=row].bad").length > 0`)
	b.press(".grid .rows [role=row]")
	b.shows("aside.call", "Request")
	b.shows("aside.call", "http1.pcapng frame")
	b.shows("aside.call", "pcapsule ask trace-request")
	b.press("aside.call .packets td button")
	b.shows("aside.call .layers", "IPv4")
	if n := b.text(`String(document.querySelectorAll("aside.call .hex .line").length)`); n == "0" {
		t.Error("a packet has no bytes")
	}
	b.press("#wireshark")
	slice := saved(t, filepath.Join(b.page.Saves(), "http1.pcapng"))
	out := filepath.Join(t.TempDir(), "slice.pcapng")
	if err := os.WriteFile(out, slice, 0o600); err != nil {
		t.Fatal(err)
	}
	m, err := exporter.Run(t.Context(), []string{out}, filepath.Join(t.TempDir(), "again.pcapsule"), exporter.Options{})
	if err != nil || m.Calls["http1"] == 0 {
		t.Errorf("the saved packets have the calls %v: %v", m, err)
	}
	b.filter(`nosuch == 1`)
	b.shows(".problem", "unknown name nosuch")
	b.filter("")
	b.press("#view-connections")
	b.shows("main", "10.")
	b.press("#view-evidence")
	b.shows("main", "http1.pcapng")
	b.press("#close")
	b.until(`document.querySelector("main").dataset.state === "ready"`)
	// A wrong signer says nothing against the files.
	if headline, _ := b.check(path, false, signed(t, "", 2)); headline != "Not verified" {
		t.Error(headline)
	}
	b.press("#read")
	b.shows("header", "✕ not verified")
	b.press("#view-evidence")
	b.shows("main", "Every file was compared with its hash and matches")
	b.quiet()
}

// TestTabReadsWhatItChecked shows the lines of the check beside what the bundle says, and what is masked everywhere stays so.
func TestTabReadsWhatItChecked(t *testing.T) { inBrowsers(t, tabReadsWhatItChecked) }

func tabReadsWhatItChecked(t *testing.T, b *tab) {
	path := made(t, "../../samples/dns.pcap", func(m *bundle.Manifest) {
		m.Warnings = append(m.Warnings, `<img src=x onerror="console.log('ran')"> <script>console.log('ran')</script>`)
	})
	if headline, lines := b.check(path, false); headline != "Verified" {
		t.Fatal(headline, lines)
	}
	b.press("#read")
	b.shows("main .lines", "ok")
	b.shows("header", "✓ verified")
	b.press("#view-evidence")
	b.shows("main", `<img src=x onerror`) // as text
	if n := b.text(`String(document.querySelectorAll("img").length)`); n != "0" {
		t.Error("text of the bundle became an element")
	}
	b.quiet()
}

// TestTabReadsCaptures makes a bundle of a capture in the tab, and reads it.
func TestTabReadsCaptures(t *testing.T) { inBrowsers(t, tabReadsCaptures) }

func tabReadsCaptures(t *testing.T, b *tab) {
	path, err := filepath.Abs("../../samples/dns.pcap")
	if err != nil {
		t.Fatal(err)
	}
	if headline, lines := b.check(path, true); headline != "The bundle is made" || !strings.Contains(lines, "calls") {
		t.Fatalf("%s\n%s", headline, lines)
	}
	b.press("#read-made")
	b.shows("#calls-by", "dns")
	b.quiet()
}
