package exporter

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"path"
	"slices"
	"strconv"
	"strings"

	"github.com/pcapsule/pcapsule/exporter/bundle"
	"github.com/pcapsule/pcapsule/internal/clip"
)

// manifest compares bundle.json, field by field, with the one made from the packets. Fields that
// packets cannot prove are copied first.
func (c *comparison) manifest() error {
	there, err := c.b.JSON()
	if err != nil {
		return err
	}
	c.unproven("bag-info.txt")
	c.unproven("custody/log.jsonl")
	m := *c.made
	if !c.same {
		m.Tool = c.b.Manifest.Tool // its name is in every part
	}
	if c.otherRelease {
		c.field("tool.release", "is "+short(m.Tool.Release)+", but parts say that "+short(c.r.By)+" wrote them")
	}
	if d := c.b.Manifest.Derived; d != nil {
		again := *d
		again.Rederivable = "fully" // this is the proof
		m.Derived = &again
		c.unproven("derived")
	}
	c.inputs(&m)
	c.sides(&m)
	c.warnings(&m)
	c.counters(&m)
	if len(m.Options) > 0 {
		c.unproven("options")
	}
	if m.Filters != (bundle.Filters{}) {
		c.unproven("filters")
	}
	made, err := m.Encode()
	if err != nil {
		return err
	}
	if bytes.Equal(there, made) {
		c.r.Files++
		return nil
	}
	before := len(c.r.Differences) + int(c.r.More)
	var x, y any
	if err := decodeNumbers(there, &x); err != nil {
		return err
	}
	if err := decodeNumbers(made, &y); err != nil {
		return err
	}
	c.fields("", x, y)
	if c.same && len(c.r.Differences)+int(c.r.More) == before {
		c.r.Add(Difference{File: jsonPath, What: "is not written as release " + c.r.By + " writes it: keys twice, in another order, or other blanks"})
	}
	return nil
}

func decodeNumbers(data []byte, into *any) error {
	d := json.NewDecoder(bytes.NewReader(data))
	d.UseNumber()
	return d.Decode(into)
}

// fields walks two JSON values and records the fields that differ.
func (c *comparison) fields(at string, x, y any) {
	if at == "tables" { // compared by name
		return
	}
	switch x := x.(type) {
	case map[string]any:
		y, ok := y.(map[string]any)
		if !ok {
			break
		}
		keys := maps.Clone(x)
		maps.Copy(keys, y)
		for _, k := range slices.Sorted(maps.Keys(keys)) {
			xv, inX := x[k]
			yv, inY := y[k]
			where := strings.TrimPrefix(at+"."+k, ".")
			switch {
			case !inY:
				c.field(where, "is "+short(xv)+", the packets give none")
			case !inX:
				c.field(where, "is missing, the packets give "+short(yv))
			default:
				c.fields(where, xv, yv)
			}
		}
		return
	case []any:
		y, ok := y.([]any)
		if !ok {
			break
		}
		if len(x) != len(y) {
			c.field(at, fmt.Sprintf("has %d items, the packets give %d", len(x), len(y)))
		}
		for i := range min(len(x), len(y)) {
			c.fields(at+"["+strconv.Itoa(i)+"]", x[i], y[i])
		}
		return
	}
	if a, b := short(x), short(y); x != y {
		c.field(at, "is "+a+", the packets give "+b)
	}
}

func (c *comparison) field(at, what string) {
	c.r.Add(Difference{File: jsonPath, Field: at, What: what})
}

// short renders a JSON value in at most one line.
func short(v any) string {
	text, err := json.Marshal(v)
	if err != nil {
		return "?"
	}
	return clip.Text(text, 120)
}

// inputs records the fields of the inputs that the reader took from bundle.json.
func (c *comparison) inputs(m *bundle.Manifest) {
	for i := range m.Inputs {
		c.unproven("inputs.name")
		if m.Inputs[i].Compression != "" {
			for _, f := range []string{"inputs.compression", "inputs.sha256_original", "inputs.size_original"} {
				c.unproven(f)
			}
			if n := len(m.Inputs[i].Damage); n > 0 && m.Inputs[i].Damage[n-1].Kind == "unreadable" {
				c.unproven("inputs.damage")
			}
		}
	}
}

// sides copies the fields of side inputs that the bundle does not contain unchanged: names,
// original hashes, and unused side inputs.
func (c *comparison) sides(m *bundle.Manifest) {
	key := func(s *bundle.SideInput) string {
		kind, file := s.Kind, ""
		if kind == "hosts" {
			kind = "kube" // kept together
		}
		if s.FileID != nil {
			file = strconv.Itoa(int(*s.FileID))
		}
		return kind + "/" + file + "/" + s.Path
	}
	made := map[string]bundle.SideInput{}
	for _, s := range m.SideInputs {
		if s.Kind != "keys" {
			made[key(&s)] = s
		}
	}
	var out []bundle.SideInput
	used := map[string]bool{}
	for _, s := range c.b.Manifest.SideInputs {
		k := key(&s)
		again, ok := made[k]
		switch {
		case ok && s.Kind == "keys_used" && c.keysAgree && s.Size == again.Size && s.SHA256Original == claimedSum(s.SHA256): // Verify has its hash
			s.Name, s.SizeOriginal = again.Name, again.SizeOriginal
		case ok && (s.Kind == "seals" || s.Kind == "pin" || s.Kind == "keys_used"): // kept unchanged
			s = again
		case ok:
			s.SHA256, s.Size = again.SHA256, again.Size
			c.unprovenSide()
		case s.Path == "" || strings.HasSuffix(s.Path, ".age"):
			s.SHA256 = claimed(s.SHA256, s.Path != "")
			c.unprovenSide()
			c.unproven("side_inputs")
		default:
			continue // it shows as a difference
		}
		used[k] = true
		out = append(out, s)
	}
	for _, s := range m.SideInputs {
		if s.Kind != "keys" && !used[key(&s)] && !(s.FileID != nil && s.Path == "") {
			out = append(out, s)
		}
	}
	m.SideInputs = out
}

func claimedSum(d *bundle.Digest) bundle.Digest {
	if d == nil {
		return bundle.Digest{}
	}
	return *d
}

// claimed is an optional hash.
func claimed(d *bundle.Digest, ok bool) *bundle.Digest {
	if ok {
		return d
	}
	return nil
}

func (c *comparison) unprovenSide() {
	for _, f := range []string{"side_inputs.kind", "side_inputs.name", "side_inputs.sha256_original", "side_inputs.size_original"} {
		c.unproven(f)
	}
}

// warnings copies the warnings about files that the bundle does not contain unchanged.
func (c *comparison) warnings(m *bundle.Manifest) {
	var names, kept []string // of side inputs, as they came and as they are kept
	for _, s := range c.b.Manifest.SideInputs {
		names = append(names, s.Name+": ")
		kept = append(kept, path.Base(s.Path)+": ")
	}
	about := func(w string, prefixes []string) bool {
		return slices.ContainsFunc(prefixes, func(p string) bool { return p != ": " && strings.HasPrefix(w, p) })
	}
	names = append(names, "skipped in a folder: ", "not used beside a segment: ")
	if slices.ContainsFunc(c.b.Manifest.SideInputs, func(s bundle.SideInput) bool { return s.Kind == "seals" }) {
		names = append(names, "ring ")
	}
	again := slices.DeleteFunc(slices.Clone(m.Warnings), func(w string) bool { return about(w, kept) && !slices.Contains(c.b.Manifest.Warnings, w) })
	var out []string
	for _, w := range c.b.Manifest.Warnings {
		if i := slices.Index(again, w); i >= 0 {
			out = append(out, again[:i+1]...) // missing earlier warnings stay and show as a difference
			again = again[i+1:]
			continue
		}
		if about(w, names) || strings.Contains(w, ": not used: ") {
			c.unproven("warnings about files that the bundle does not contain")
			out = append(out, w)
		}
	}
	m.Warnings = append(out, again...)
}

// counters copies the counters of the original side inputs, of which only the used lines are
// kept.
func (c *comparison) counters(m *bundle.Manifest) {
	read := map[string][]string{
		"owners":    {"lines", "malformed", "oversize", "limited", "replaced"},
		"events":    {"lines", "malformed", "oversize", "limited"},
		"alerts":    {"lines", "other", "malformed", "oversize", "limited"},
		"keys":      {"secrets", "duplicates", "conflicts", "wrong_lines"},
		"keys_used": {"lines_kept"},
	}
	counters := map[string]map[string]int64{}
	for source, kinds := range m.Accounts.Counters {
		counters[source] = maps.Clone(kinds)
	}
	for _, s := range c.b.Manifest.SideInputs {
		if s.Kind == "keys_used" && !strings.HasSuffix(s.Path, ".age") {
			continue
		}
		source := strings.TrimSuffix(s.Kind, "_used")
		for _, kind := range read[s.Kind] {
			said, ok := c.b.Manifest.Accounts.Counters[source][kind]
			if _, again := counters[source][kind]; !ok && !again {
				continue
			}
			c.unproven("accounts.counters." + source + "." + kind)
			if !ok {
				delete(counters[source], kind)
				continue
			}
			if counters[source] == nil {
				counters[source] = map[string]int64{}
			}
			counters[source][kind] = said
		}
	}
	maps.DeleteFunc(counters, func(_ string, kinds map[string]int64) bool { return len(kinds) == 0 })
	m.Accounts.Counters = counters
}
