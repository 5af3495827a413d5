package docs

import (
	"context"
	"html"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/pcapsule/pcapsule/internal/duckdbtest"
	"github.com/pcapsule/pcapsule/recorder/ring/ringtest"
)

// shop is a folder with a bundle of one kind, incident.pcapsule, its signer's key and a package of it.
type shop struct {
	t        *testing.T
	dir, bin string
}

// run runs commands with bash in a folder below that of the bundle. What the text of a page names, such as a key, is in the
// folder of the bundle.
func (s *shop) run(in, commands string) string {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	c := exec.CommandContext(ctx, "bash", "-euo", "pipefail", "-c", commands)
	c.Dir = filepath.Join(s.dir, in)
	c.Env = append(os.Environ(), "PATH="+s.bin+":"+os.Getenv("PATH"), "NO_COLOR=1", "TZ=UTC", "LC_ALL=C")
	out, err := c.CombinedOutput()
	if err != nil {
		s.t.Errorf("%s\n%v: %s", commands, err, out)
	}
	return string(out)
}

// here replaces programs that this machine may lack by others that do the same: unzip, and Wireshark's window. SQL goes to the
// DuckDB of the tests.
func here(command string) string {
	if _, err := exec.LookPath("unzip"); err != nil {
		command = regexp.MustCompile(`(?m)^unzip (\S+)$`).ReplaceAllString(command, "python3 -m zipfile -e $1 .")
	}
	return regexp.MustCompile(`(?m)^wireshark (\S+)$`).ReplaceAllString(command, "tshark -c 1 -r $1 >/dev/null 2>&1")
}

var preformatted = regexp.MustCompile(`(?s)<pre>(.*?)</pre>`)

// blocks are the commands of a page in HTML.
func (s *shop) blocks(file string) (list []string) {
	s.t.Helper()
	text, err := os.ReadFile(filepath.Join(s.dir, file))
	if err != nil {
		s.t.Fatal(err)
	}
	for _, m := range preformatted.FindAllStringSubmatch(string(text), -1) {
		list = append(list, strings.TrimSpace(html.UnescapeString(m[1])))
	}
	if len(list) == 0 {
		s.t.Errorf("%s has no commands", file)
	}
	return list
}

// sql opens a bundle with its open.sql, and runs a statement that a page shows.
func (s *shop) sql(bundle, statement string) {
	s.t.Helper()
	script, err := os.ReadFile(filepath.Join(s.dir, bundle, "data/open.sql"))
	if err != nil {
		s.t.Fatal(err)
	}
	// open.sql has paths relative to its folder, and the database of the tests runs elsewhere.
	text := strings.ReplaceAll(string(script), "'tables/", "'"+filepath.Join(s.dir, bundle, "data/tables")+"/")
	db := duckdbtest.Open(s.t)
	if _, err := db.Exec(text); err != nil {
		s.t.Fatalf("open.sql: %v", err)
	}
	rows, err := db.Query(statement)
	if err != nil {
		s.t.Errorf("%s\n%v", statement, err)
		return
	}
	defer rows.Close()
	n := 0
	for rows.Next() {
		n++
	}
	if n == 0 || rows.Err() != nil {
		s.t.Errorf("%s\n%d rows, %v", statement, n, rows.Err())
	}
}

// page runs all commands of README.html in a bundle.
func (s *shop) page(bundle string) {
	s.t.Helper()
	for _, block := range s.blocks(filepath.Join(bundle, "README.html")) {
		open, statement, isSQL := strings.Cut(block, "duckdb -init open.sql\n")
		if isSQL {
			s.run(bundle, open+"test -f open.sql")
			s.sql(bundle, statement)
			continue
		}
		// The key came by another way, and lies beside the bundle.
		out := s.run(bundle, strings.ReplaceAll(here(block), "-inkey examiner.pub", "-inkey ../examiner.pub"))
		switch {
		case strings.Contains(block, "comm -23"):
			for _, file := range strings.Fields(out) {
				if file != "tagmanifest-sha256.txt" && !strings.HasPrefix(file, "custody/") {
					s.t.Errorf("%s is not covered", file)
				}
			}
		case strings.Contains(block, "--quiet") && out != "":
			s.t.Errorf("%s printed %s", block, out)
		case strings.Contains(block, "pkeyutl") && !strings.Contains(out, "Signature Verified Successfully"):
			s.t.Errorf("%s printed %s", block, out)
		}
	}
}

// TestPublicTools runs every command of README.html and of the cover sheet with public tools, on bundles of three kinds.
func TestPublicTools(t *testing.T) {
	root, err := filepath.Abs("..")
	if err != nil {
		t.Fatal(err)
	}
	bin := programs(t)
	capture, err := os.ReadFile("../samples/http1.pcapng")
	if err != nil {
		t.Fatal(err)
	}
	for kind, make := range map[string]string{
		"imported": "pcapsule bundle samples/shop.pcapng -o incident.pcapsule",
		"recorded": "pcapsule bundle ring -o incident.pcapsule",
		"redacted": "pcapsule bundle samples/shop.pcapng -o whole.pcapsule && pcapsule redact whole.pcapsule --policy samples/policies/cards.yaml -o incident.pcapsule",
	} {
		t.Run(kind, func(t *testing.T) {
			s := &shop{t, t.TempDir(), bin}
			if err := os.Symlink(filepath.Join(root, "samples"), filepath.Join(s.dir, "samples")); err != nil {
				t.Fatal(err)
			}
			if _, err := ringtest.Fill(filepath.Join(s.dir, "ring"), capture, 1, 50); err != nil {
				t.Fatal(err)
			}
			s.run("", make)
			s.run("", "openssl genpkey -algorithm ed25519 -out examiner.pem && chmod 600 examiner.pem && openssl pkey -in examiner.pem -pubout -out examiner.pub")
			s.run("", "pcapsule seal incident.pcapsule --key examiner.pem")
			s.page("incident.pcapsule")

			for name, flags := range map[string]string{"whole": "", "parts": "--split 64KiB"} {
				s.run("", "pcapsule handover incident.pcapsule --to 'A. Auditor' --key examiner.pem "+flags+" -o "+name)
				for _, block := range s.blocks(name + "/cover.html") {
					if out := s.run(name, here(block)); !strings.Contains(out, ": OK") || !strings.Contains(out, "  tagmanifest-sha256.txt") {
						t.Errorf("%s printed %s", block, out)
					}
				}
			}
			if kind == "imported" {
				s.formats(root)
			}
		})
	}
}

var fenced = regexp.MustCompile("(?ms)^```(\\w*)\n(.*?)^```")

// formats runs the commands of docs/format/bundle.md, seal.md, handover.md and ring.md.
func (s *shop) formats(root string) {
	s.run("", `openssl req -x509 -newkey rsa:2048 -nodes -keyout tsa.key -out authority.pem -days 2 -subj "/CN=Test TSA" -addext "extendedKeyUsage=critical,timeStamping" 2>/dev/null
printf '[tsa]\ndefault_tsa=t\n[t]\nserial=serial\nsigner_digest=sha256\ndefault_policy=1.2.3.4\ndigests=sha256\ness_cert_id_alg=sha256\n' > tsa.cnf; echo 01 > serial
cp -r incident.pcapsule stamped.pcapsule; cd stamped.pcapsule/..
pcapsule timestamp stamped.pcapsule --seal seal-000.dsse.json --request t.tsq
openssl ts -reply -config tsa.cnf -queryfile t.tsq -signer authority.pem -inkey tsa.key -out t.tsr 2>/dev/null
pcapsule timestamp stamped.pcapsule --seal seal-000.dsse.json --response t.tsr`)
	segments, err := filepath.Glob(filepath.Join(s.dir, "ring", "*.pcapng"))
	if err != nil || len(segments) == 0 {
		s.t.Fatal("the ring has no segment: ", err)
	}
	segment := filepath.Base(segments[0])
	number := strings.TrimLeft(regexp.MustCompile(`([0-9]+)\.pcapng$`).FindStringSubmatch(segment)[1], "0")
	for page, change := range map[string]*strings.Replacer{
		"bundle.md":   strings.NewReplacer("cd NAME.pcapsule", "cd incident.pcapsule"),
		"seal.md":     strings.NewReplacer("cd incident.pcapsule", "cd stamped.pcapsule", "examiner.pub", "../examiner.pub", "authority.pem", "../authority.pem"),
		"ring.md":     strings.NewReplacer("record() {", "cd ring\nrecord() {", "sockets-worker-3-000000041.pcapng", segment, "41", number),
		"handover.md": strings.NewReplacer("sha256sum -c SHA256SUMS", "cd parts && sha256sum -c SHA256SUMS", "incident.pcapsule.zip.age.???", "incident.pcapsule.zip.???", "incident.pcapsule.zip.age", "incident.pcapsule.zip"),
	} {
		text, err := os.ReadFile(filepath.Join(root, "docs/format", page))
		if err != nil {
			s.t.Fatal(err)
		}
		n := 0
		for _, m := range fenced.FindAllStringSubmatch(string(text), -1) {
			if m[1] != "" || !regexp.MustCompile(`(?m)^(sha256sum|cd|head|openssl|jq|record) `).MatchString(m[2]) {
				continue
			}
			n++
			commands := change.Replace(m[2])
			if strings.HasPrefix(commands, "head ") { // continues in the folder of the block before it
				commands = "cd incident.pcapsule\n" + commands
			}
			if page == "handover.md" { // the package of the test is not encrypted
				commands = regexp.MustCompile(`(?m)^age .*\n`).ReplaceAllString(commands, "rm -rf incident.pcapsule\n")
			}
			out := s.run("", here(commands))
			if strings.Contains(commands, "openssl ts") && !strings.Contains(out, "Verification: OK") || strings.Contains(commands, "pkeyutl") && !strings.Contains(out, "Verified Successfully") {
				s.t.Errorf("%s: %s printed %s", page, commands, out)
			}
		}
		if n == 0 {
			s.t.Errorf("%s has no commands", page)
		}
	}
}
