package bundle

import (
	"crypto/sha256"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"runtime"
	"slices"
	"strings"

	"github.com/pcapsule/pcapsule/exporter/bundle/readme"
	"github.com/pcapsule/pcapsule/exporter/table"
)

// Finish writes bundle.json, open.sql (unless the caller created one), the list of blocks, the tag files and the
// custody log, syncs everything to disk, and gives the bundle its name. On any error it aborts;
// a full disk gives an error that wraps syscall.ENOSPC.
func (b *Builder) Finish(m *Manifest) error {
	if err := b.finish(m); err != nil {
		b.Abort()
		return fmt.Errorf("finishing bundle %s: %w", b.final, err)
	}
	return nil
}

func (b *Builder) finish(m *Manifest) error {
	if err := b.whole(); err != nil {
		return err
	}
	if err := b.writeOpenSQL(); err != nil {
		return err
	}
	if err := b.writeBlocks(); err != nil {
		return err
	}
	data, err := m.Encode()
	if err != nil {
		return err
	}
	if err := b.writeTag(jsonName, data); err != nil {
		return err
	}
	if m, err = ParseManifest(data); err != nil { // the pages for people are made of what others read
		return err
	}
	payload, size, err := b.payload()
	if err != nil {
		return err
	}
	if err := agree(m, payload); err != nil {
		return err
	}
	if err := b.writeTags(m, payload, size); err != nil {
		return err
	}
	if err := b.sync(); err != nil {
		return err
	}
	return b.publish()
}

// whole returns the reason why the written files cannot be a bundle.
func (b *Builder) whole() error {
	b.mu.Lock()
	err := b.err
	for f := range b.open {
		if err == nil {
			err = fmt.Errorf("%s was not closed", f.rel)
		}
	}
	b.mu.Unlock()
	if err != nil {
		return err
	}
	return b.stopped()
}

// Draft writes open.sql and the list of blocks like Finish, and lists every file below data/ except bundle.json, with
// its SHA-256. The files stay at Path until Abort.
func (b *Builder) Draft() ([]Payload, error) {
	err := b.whole()
	if err == nil {
		err = b.writeOpenSQL()
	}
	if err == nil {
		err = b.writeBlocks()
	}
	if err != nil {
		return nil, fmt.Errorf("drafting bundle: %w", err)
	}
	lines, _, err := b.payload()
	return exported(lines), err
}

// agree rejects a manifest with inputs that differ from the written files.
func agree(m *Manifest, payload []line) error {
	sums := make(map[string]Digest, len(payload))
	for _, l := range payload {
		sums[l.path] = l.sha256
	}
	for i := range m.Inputs {
		in := &m.Inputs[i]
		sum, ok := sums[in.Path]
		if !ok {
			return fmt.Errorf("input %d: %s was not written", in.FileID, in.Path)
		}
		if sum != in.SHA256 {
			return fmt.Errorf("input %d: %s has SHA-256 %s instead of %s", in.FileID, in.Path, sum, in.SHA256)
		}
	}
	return nil
}

func (b *Builder) writeOpenSQL() error {
	have, protocols := map[string]bool{}, []string(nil)
	if err := fs.WalkDir(os.DirFS(b.dir), "data", func(rel string, e fs.DirEntry, err error) error {
		if err == nil && strings.HasPrefix(rel, tablesDir) && path.Ext(rel) == ".parquet" {
			name, _, _ := strings.Cut(rel[len(tablesDir):], "/")
			have[name] = true
			if protocol, ok := strings.CutPrefix(path.Base(path.Dir(rel)), "protocol="); ok && plainName(protocol) && !slices.Contains(protocols, protocol) {
				protocols = append(protocols, protocol)
			}
		}
		if rel == openSQLName {
			have[openSQLName] = true
		}
		return err
	}); err != nil {
		return err
	}
	if have[openSQLName] {
		return nil
	}
	// A view of a table without files would stop the script.
	var there []*table.Schema
	for _, s := range table.All() {
		if have[s.Name] {
			there = append(there, s)
		}
	}
	return b.writeTag(openSQLName, []byte(OpenSQL(there, protocols)))
}

func (b *Builder) writeTags(m *Manifest, payload []line, size int64) error {
	agent := strings.TrimSpace(m.Tool.Name + " " + m.Tool.Release)
	page, err := m.Readme()
	if err != nil {
		return err
	}
	files := map[string][]byte{
		bagitName:    []byte(bagitText),
		bagInfoName:  bagInfo(b.opts, agent, size, len(payload)),
		manifestName: writeLines(payload),
		readmeName:   page,
	}
	var tags []line
	for _, name := range tagFiles {
		if err := b.writeTag(name, files[name]); err != nil {
			return err
		}
		tags = append(tags, line{name, sha256.Sum256(files[name])})
	}
	list := writeLines(tags)
	if err := b.writeTag(tagManifestName, list); err != nil {
		return err
	}
	sum := Digest(sha256.Sum256(list))
	details := map[string]string{"platform": runtime.GOOS + "/" + runtime.GOARCH}
	if b.opts.Program != nil {
		if sum := b.opts.Program(); sum != nil {
			details[programDetail] = sum.String()
		}
	}
	first, err := encodeEntry(Entry{
		Time: Time(b.opts.Time.UnixNano()), Event: EventMade, Tool: agent, User: b.opts.User, Host: b.opts.Host,
		Note: b.opts.Note, Details: details, TagManifest: &sum,
	})
	if err != nil {
		return err
	}
	return b.writeTag(custodyName, first)
}

// Readme is the README.html of a bundle with this bundle.json.
func (m *Manifest) Readme() ([]byte, error) { return readme.Page(readmeOf(m)) }

// readmeOf is the content of README.html for the bundle with this bundle.json.
func readmeOf(m *Manifest) readme.Content {
	c := readme.Content{Tool: readme.Tool{Name: m.Tool.Name, Release: m.Tool.Release}, Packets: m.Accounts.Packets, Warnings: m.Warnings}
	if m.Window.FirstNs != nil && m.Window.LastNs != nil {
		c.First, c.Last = m.Window.FirstNs.String(), m.Window.LastNs.String()
	}
	for _, protocol := range slices.Sorted(maps.Keys(m.Calls)) {
		c.Calls = append(c.Calls, readme.Calls{Protocol: protocol, Count: m.Calls[protocol]})
	}
	for i := range m.Inputs {
		in := &m.Inputs[i]
		c.Inputs = append(c.Inputs, readme.Input{Path: in.Path, Packets: in.Packets, SHA256: in.SHA256.String()})
		c.Keys = c.Keys || in.Secrets > 0
	}
	for _, s := range m.SideInputs {
		c.Keys = c.Keys || strings.HasPrefix(s.Path, "data/keys/")
	}
	return c
}

func (b *Builder) writeTag(rel string, data []byte) error {
	p := filepath.Join(b.dir, filepath.FromSlash(rel))
	if err := os.MkdirAll(filepath.Dir(p), 0o777); err != nil {
		return fmt.Errorf("writing %s: %w", rel, err)
	}
	f, err := os.OpenFile(p, os.O_WRONLY|os.O_CREATE|os.O_EXCL, b.Mode())
	if err != nil {
		return fmt.Errorf("writing %s: %w", rel, err)
	}
	_, err = f.Write(data)
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		return fmt.Errorf("writing %s: %w", rel, err)
	}
	if strings.HasPrefix(rel, "data/") {
		b.Add(rel, int64(len(data)), sha256.Sum256(data))
	}
	return nil
}
