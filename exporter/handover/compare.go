package handover

import (
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"html"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/tyler-smith/go-bip39"

	"github.com/pcapsule/pcapsule/exporter/bundle"
	"github.com/pcapsule/pcapsule/exporter/seal"
	"github.com/pcapsule/pcapsule/internal/pdf"
	"github.com/pcapsule/pcapsule/internal/plural"
)

// Limits of what is compared.
const (
	maxSheet    = 16 << 20 // bytes of a cover sheet
	maxUnlisted = 1000     // files beside a package
	maxNamed    = 5        // of them that are named
)

// CheckFingerprint is the check of a fingerprint that came in another way.
const CheckFingerprint = "fingerprint"

// ParseFingerprint reads a fingerprint as a cover sheet has it: 64 hexadecimal digits with or without spaces, or 24 words.
func ParseFingerprint(text string) (d bundle.Digest, err error) {
	fields := strings.Fields(strings.ToLower(text))
	if len(fields) == 24 && len(fields[0]) != 8 {
		data, err := bip39.EntropyFromMnemonic(strings.Join(fields, " "))
		if err != nil || len(data) != len(d) {
			return d, errors.New("a word is wrong: the 24 words do not fit their checksum")
		}
		copy(d[:], data)
		return d, nil
	}
	data, err := hex.DecodeString(strings.TrimPrefix(strings.Join(fields, ""), "sha256:"))
	if err != nil || len(data) != len(d) {
		return d, errors.New("must be 64 hexadecimal digits or 24 words, as on the cover sheet")
	}
	copy(d[:], data)
	return d, nil
}

// Compare compares an unpacked bundle with what lies beside its package: the cover sheets, which must have its fingerprint
// and no other, and files that SHA256SUMS does not list.
func (p *Package) Compare(r *bundle.Report) (list []seal.Verdict) {
	known := map[string]string{hexGroups(r.TagManifest): "its fingerprint", hexGroups(r.CustodyHead): "the end of its custody log"}
	for _, f := range slices.Concat(p.parts, p.sheets) {
		known[hexGroups(f.SHA256)] = f.Name
	}
	if r.Content != nil {
		for i := range r.Content.Inputs {
			known[hexGroups(r.Content.Inputs[i].SHA256)] = r.Content.Inputs[i].Name
		}
	}
	sheets := 0
	for _, name := range []string{coverPrefix + "html", coverPrefix + "pdf", coverPrefix + "jsonld"} {
		data, err := p.read(name)
		if errors.Is(err, os.ErrNotExist) {
			continue
		}
		if err == nil {
			err = compareSheet(name, data, p.Name, r, known)
		}
		sheets++
		v := seal.Verdict{Check: "cover", State: seal.Yes, Place: name, Detail: "has the fingerprint of this bundle, and no other"}
		if err != nil {
			v.State, v.Detail = seal.No, name+": "+err.Error()
		}
		list = append(list, v)
	}
	if sheets == 0 {
		list = append(list, seal.Verdict{Check: "cover", State: seal.NotChecked, Detail: "there is no cover sheet beside the package"})
	}
	if n := len(p.Unlisted); n > 0 {
		names := strings.Join(p.Unlisted[:min(n, maxNamed)], ", ")
		list = append(list, seal.Verdict{Check: "package", State: seal.NotChecked, Detail: plural.Sprintf("%d {file|files} beside the package {is|are} not in "+SumsName+": ", n) + clean(names)})
	}
	return list
}

// read reads a file beside the package.
func (p *Package) read(name string) ([]byte, error) {
	f, _, err := openPlain(p.dir, name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxSheet+1))
	if err == nil && len(data) > maxSheet {
		err = fmt.Errorf("more than %d bytes", maxSheet)
	}
	return data, err
}

var (
	anyTag   = regexp.MustCompile(`(?s)<style>.*?</style>|<[^>]*>`)
	anyHash  = regexp.MustCompile(`\b[0-9a-f]{8}(?: [0-9a-f]{8}){7}\b`)
	anyWords = regexp.MustCompile(`In words ((?:[a-z]+ ){23}[a-z]+)\b`)
	lineText = regexp.MustCompile(`Td “(.*)” Tj`)
)

// compareSheet compares one sheet with a bundle. known are the hashes that a sheet may have.
func compareSheet(file string, data []byte, name string, r *bundle.Report, known map[string]string) error {
	var text string
	switch filepath.Ext(file) {
	case ".jsonld":
		return compareGraph(data, r, known)
	case ".pdf":
		var lines []string
		for _, part := range pdf.Parts(data, maxSheet) {
			if m := lineText.FindStringSubmatch(part.Text); m != nil && strings.HasPrefix(part.Place, "page") {
				lines = append(lines, m[1])
			}
		}
		text = strings.Join(lines, " ")
	default:
		code, err := qrSVG(qrText(name, r.TagManifest))
		if err != nil {
			return err
		}
		if !strings.Contains(string(data), string(code)) {
			return errors.New("its QR code is not that of the fingerprint of this bundle")
		}
		text = html.UnescapeString(anyTag.ReplaceAllString(string(data), " "))
	}
	text = strings.Join(strings.Fields(text), " ")
	if !strings.Contains(text, "SHA-256 "+hexGroups(r.TagManifest)+" ") {
		return fmt.Errorf("it does not have the fingerprint of this bundle, %s", hexGroups(r.TagManifest))
	}
	for _, h := range anyHash.FindAllString(text, -1) {
		if known[h] == "" {
			return fmt.Errorf("it has the SHA-256 %s, which is not of this bundle", h)
		}
	}
	words := anyWords.FindAllStringSubmatch(text, -1)
	if len(words) == 0 {
		return errors.New("it does not have the words of the fingerprint")
	}
	for _, m := range words {
		if m[1] != Words(r.TagManifest) {
			return errors.New("its words are not those of the fingerprint of this bundle")
		}
	}
	return nil
}

// compareGraph compares the sheet for programs.
func compareGraph(data []byte, r *bundle.Report, known map[string]string) error {
	var graph any
	if err := json.Unmarshal(data, &graph); err != nil {
		return errors.New("it is not JSON")
	}
	found := false
	var walk func(v any) error
	walk = func(v any) error {
		switch v := v.(type) {
		case []any:
			for _, x := range v {
				if err := walk(x); err != nil {
					return err
				}
			}
		case map[string]any:
			if h, ok := v["types:hashValue"].(map[string]any); ok {
				var d bundle.Digest
				text, _ := h["@value"].(string)
				if d.UnmarshalText([]byte(text)) != nil || known[hexGroups(d)] == "" {
					return fmt.Errorf("it has the hash %.80q, which is not of this bundle", text)
				}
				found = found || d == r.TagManifest
			}
			for _, x := range v {
				if err := walk(x); err != nil {
					return err
				}
			}
		}
		return nil
	}
	if err := walk(graph); err != nil {
		return err
	}
	if !found {
		return errors.New("it does not have the fingerprint of this bundle")
	}
	return nil
}

// unlistedIn lists the files of a package's folder that SHA256SUMS lacks. What the commands of the cover sheet make there is left
// out. A file that looks like a part of the package is an error.
func (p *Package) unlistedIn(sums []File) error {
	entries, err := os.ReadDir(p.dir)
	if err != nil {
		return err
	}
	stem, _ := cutPart(p.parts[0].Name)
	made := []string{SumsName, p.Name, p.Name + ".zip", stem}
	for _, e := range entries {
		name := e.Name()
		if slices.Contains(made, name) || slices.ContainsFunc(sums, func(f File) bool { return f.Name == name }) {
			continue
		}
		if beside(name) || strings.HasPrefix(name, stem+".") {
			return fmt.Errorf("%s is not in %s: %w", name, SumsName, ErrParts)
		}
		if p.Unlisted = append(p.Unlisted, name); len(p.Unlisted) == maxUnlisted {
			break
		}
	}
	return nil
}
