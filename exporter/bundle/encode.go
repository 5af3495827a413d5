package bundle

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
)

// Encode writes bundle.json: keys in a fixed order, lists sorted, no clock. A manifest above
// MaxManifest loses its list of interfaces, which the packet files still contain.
func (m *Manifest) Encode() ([]byte, error) {
	c := m.sorted()
	if err := c.validate(); err != nil {
		return nil, fmt.Errorf("writing %s: %w", jsonName, err)
	}
	data, err := c.encode()
	if err == nil && len(data) > MaxManifest {
		for i := range c.Inputs {
			c.Inputs[i].InterfacesMore += int64(len(c.Inputs[i].Interfaces))
			c.Inputs[i].Interfaces = []Interface{}
		}
		data, err = c.encode()
	}
	if err == nil && len(data) > MaxManifest {
		err = fmt.Errorf("%d bytes exceed the limit of %d", len(data), MaxManifest)
	}
	if err != nil {
		return nil, fmt.Errorf("writing %s: %w", jsonName, err)
	}
	return data, nil
}

func (m *Manifest) encode() ([]byte, error) {
	var buf bytes.Buffer
	enc := json.NewEncoder(&buf)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", " ")
	err := enc.Encode(m)
	return buf.Bytes(), err
}

// sorted is a copy with sorted lists, and with empty lists in place of nil if a reader expects a
// list.
func (m *Manifest) sorted() *Manifest {
	c := *m
	c.SchemaVersion = SchemaVersion
	c.Inputs = append([]Input{}, m.Inputs...)
	slices.SortStableFunc(c.Inputs, func(a, b Input) int { return int(a.FileID) - int(b.FileID) })
	for i := range c.Inputs {
		if c.Inputs[i].Interfaces == nil {
			c.Inputs[i].Interfaces = []Interface{}
		}
	}
	c.SideInputs = append([]SideInput{}, m.SideInputs...)
	c.Tables = append([]Table{}, m.Tables...)
	slices.SortStableFunc(c.Tables, func(a, b Table) int {
		if n := strings.Compare(a.Name, b.Name); n != 0 {
			return n
		}
		return strings.Compare(a.Protocol, b.Protocol)
	})
	for i := range c.Tables {
		if c.Tables[i].Columns == nil {
			c.Tables[i].Columns = []Column{}
		}
	}
	c.Warnings = append([]string{}, m.Warnings...)
	if c.Options == nil {
		c.Options = map[string]string{}
	}
	if c.Calls == nil {
		c.Calls = map[string]int64{}
	}
	if c.Accounts.Counters == nil {
		c.Accounts.Counters = map[string]map[string]int64{}
	}
	return &c
}

// ParseManifest reads bundle.json. A later schema returns *NewerSchemaError, regardless of the
// rest. Unknown keys are ignored.
func ParseManifest(data []byte) (*Manifest, error) {
	m := &Manifest{}
	err := decode(data, m)
	if err != nil || m.SchemaVersion > SchemaVersion {
		var head struct {
			SchemaVersion int  `json:"schema_version"`
			Tool          Tool `json:"tool"`
		}
		if decode(data, &head) == nil && head.SchemaVersion > SchemaVersion {
			err = &NewerSchemaError{Found: head.SchemaVersion, Known: SchemaVersion, Tool: head.Tool}
		}
	}
	if err == nil {
		err = m.validate()
	}
	if err != nil {
		return nil, err
	}
	return m, nil
}

func decode[T any](data []byte, into *T) error {
	d := json.NewDecoder(bytes.NewReader(data))
	if err := d.Decode(into); err != nil {
		return fmt.Errorf("reading JSON: %w", err)
	}
	if _, err := d.Token(); err != io.EOF {
		return fmt.Errorf("reading JSON: more after the value at %d", d.InputOffset())
	}
	return nil
}

func (m *Manifest) validate() error {
	if m.SchemaVersion < 1 {
		return fmt.Errorf("schema version %d is outside 1 to %d", m.SchemaVersion, SchemaVersion)
	}
	ids := map[int32]bool{}
	paths := map[string]bool{}
	for i := range m.Inputs {
		in := &m.Inputs[i]
		switch {
		case ids[in.FileID]:
			return fmt.Errorf("input %d: file_id twice", in.FileID)
		case !validRel(in.Path) || !strings.HasPrefix(in.Path, "data/packets/"):
			return fmt.Errorf("input %d: path %q is not below data/packets/", in.FileID, in.Path)
		case paths[in.Path]:
			return fmt.Errorf("input %d: path %q twice", in.FileID, in.Path)
		case in.FileID < 0 || in.Size < 0 || in.Packets < 0:
			return fmt.Errorf("input %d: size %d or packets %d is below zero", in.FileID, in.Size, in.Packets)
		}
		ids[in.FileID], paths[in.Path] = true, true
	}
	for _, s := range m.SideInputs {
		if s.Path != "" && (!validRel(s.Path) || !strings.HasPrefix(s.Path, "data/inputs/") && !strings.HasPrefix(s.Path, "data/keys/")) {
			return fmt.Errorf("side input: path %q is not below data/inputs/ or data/keys/", s.Path)
		}
	}
	for _, t := range m.Tables {
		if !word(t.Name) || t.Protocol != "" && !word(t.Protocol) {
			return fmt.Errorf("table %q, protocol %q: not lower-case words", t.Name, t.Protocol)
		}
		if t.Rows < 0 || t.Parts < 0 {
			return fmt.Errorf("table %s: rows %d or parts %d is below zero", t.Name, t.Rows, t.Parts)
		}
	}
	return nil
}

// word reports whether s is a name in snake case.
func word(s string) bool {
	for i := 0; i < len(s); i++ {
		if c := s[i]; !(c >= 'a' && c <= 'z' || i > 0 && (c >= '0' && c <= '9' || c == '_')) {
			return false
		}
	}
	return s != "" && len(s) <= 64
}
