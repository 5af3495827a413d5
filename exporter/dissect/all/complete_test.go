package all

import (
	"fmt"
	"io/fs"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/pcapsule/pcapsule/exporter/dissect"
)

// otherSamples are recordings of protocols that are not a TCP stream of their own.
var otherSamples = map[string]string{
	"grpc": "grpc.pcapng", "icmp": "icmp.pcap",
	"quic":  "secrets/quicgo-v1-aes-128-gcm-sha256-streams.pcap",
	"http3": "secrets/quicgo-v1-aes-128-gcm-sha256-http3.pcap",
	"ws":    "web.pcapng",
}

// TestProtocolsAreComplete checks that each protocol has everything that belongs to one, see
// docs/guide/new-protocol.md.
func TestProtocolsAreComplete(t *testing.T) {
	repo := os.DirFS("../../..")
	for _, p := range Protocols(nil) {
		for _, s := range missing(repo, p) {
			t.Error(s)
		}
	}
}

// TestIncompleteProtocolIsReported checks the check: a protocol without anything gets a report of
// everything that it lacks.
func TestIncompleteProtocolIsReported(t *testing.T) {
	got := missing(os.DirFS("../../.."), &dissect.Protocol{Name: "novel", New: func(*dissect.Conn) dissect.Dissector { return nil }})
	if len(got) != 9 {
		t.Errorf("%d sentences: %s", len(got), strings.Join(got, "\n"))
	}
	for _, s := range got {
		if !strings.HasPrefix(s, "protocol novel ") {
			t.Error(s)
		}
	}
}

// missing says in sentences what a protocol lacks.
func missing(repo fs.FS, p *dissect.Protocol) (list []string) {
	lack := func(what, todo string, args ...any) {
		list = append(list, fmt.Sprintf("protocol %s %s: %s", p.Name, what, fmt.Sprintf(todo, args...)))
	}
	folder := "exporter/dissect/" + p.Name
	code := folder + "/" + p.Name + ".go"
	if p.Doc == "" || p.Versions == "" || p.Depth == "" {
		lack("does not say what it reads", "set Doc, Versions and Depth of the dissect.Protocol in %s", code)
	}
	if p.Detect == nil && p.DetectLast == nil && len(p.Inside) == 0 {
		lack("is found by nothing", "set Detect of the dissect.Protocol in %s, or Inside to the protocols that carry it", code)
	}
	if read(repo, code) == "" {
		lack("has no folder of its name", "its package begins in %s", code)
	}
	tests := ""
	files, _ := fs.Glob(repo, folder+"/*_test.go")
	for _, f := range files {
		tests += read(repo, f)
	}
	if reads := p.New != nil || p.NewStreams != nil; reads && !regexp.MustCompile(`dissecttest\.Run(Streams)?\(|func TestSuite`).MatchString(tests) {
		lack("does not run the conformance suite", "add func TestSuite(t *testing.T) { dissecttest.Run(t, Protocol(), samples...) } to %s/%s_test.go", folder, p.Name)
	}
	if !strings.Contains(tests, "func Fuzz") {
		lack("has no fuzz target", "add func FuzzConversation(f *testing.F) { dissecttest.Fuzz(f, Protocol(), samples...) } to %s/%s_test.go", folder, p.Name)
	}
	if read(repo, "docs/format/protocols/"+p.Name+".md") == "" {
		lack("has no page", "write docs/format/protocols/%s.md and list it in docs/format/protocols.md", p.Name)
	}
	names := read(repo, "kfl/names.tsv")
	word := regexp.MustCompile(`(?m)^` + p.Name + "\tbool\t=.*protocol == \"" + p.Name + `".*`).FindString(names)
	if word == "" {
		lack("is no word of KFL", "add the line %q to the keywords of kfl/names.tsv", p.Name+"\tbool\t=protocol == \""+p.Name+"\"\t\t\t\t"+"MEANING")
	}
	if !hasSample(repo, p.Name) {
		lack("has no sample", "record one with samples/gen, and add \"%[1]s.pcapng\": \"%[1]s\" to variable samples of exporter/dissect/all/talks_test.go, which also puts it into the detection matrix", p.Name)
	}
	if read(repo, folder+"/outcome.txt") == "" {
		lack("does not say what its outcomes are", "list in %s/outcome.txt which responses are client_error, server_error and refused", folder)
	}
	return list
}

func read(repo fs.FS, file string) string {
	b, err := fs.ReadFile(repo, file)
	if err != nil {
		return ""
	}
	return string(b)
}

func hasSample(repo fs.FS, protocol string) bool {
	files := []string{otherSamples[protocol]}
	for file, p := range samples {
		if p == protocol {
			files = append(files, file)
		}
	}
	for _, f := range files {
		if _, err := fs.Stat(repo, "samples/"+f); f != "" && err == nil {
			return true
		}
	}
	return false
}
