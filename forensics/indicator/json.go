package indicator

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
)

const (
	maxElement = 16 << 20 // bytes of an object of STIX or an attribute of MISP
	maxDepth   = 64       // of objects and lists
)

// element is an object of STIX, or an attribute of MISP.
type element struct {
	Type        string          `json:"type"`
	ID          string          `json:"id"`
	Name        string          `json:"name"`
	Pattern     string          `json:"pattern"`
	PatternType string          `json:"pattern_type"`
	ValidFrom   string          `json:"valid_from"`
	ValidUntil  string          `json:"valid_until"`
	CreatedBy   string          `json:"created_by_ref"`
	Revoked     bool            `json:"revoked"`
	Value       string          `json:"value"`
	Comment     string          `json:"comment"`
	ToIDs       json.RawMessage `json:"to_ids"`
	Deleted     json.RawMessage `json:"deleted"`
}

// source reads JSON with a limit for one element, and knows the lines.
type source struct {
	in       io.Reader
	allow    int64 // bytes that may be read until the next element
	read     int64
	newlines []int64 // offsets of those behind the element
	line     int     // of the element
}

var errElement = fmt.Errorf("an object has more than %d bytes", maxElement)

// Read implements io.Reader.
func (s *source) Read(b []byte) (int, error) {
	if s.allow <= 0 {
		return 0, errElement
	}
	n, err := s.in.Read(b[:min(int64(len(b)), s.allow)])
	for i := 0; i < n; i++ {
		at := bytes.IndexByte(b[i:n], '\n')
		if at < 0 {
			break
		}
		i += at
		s.newlines = append(s.newlines, s.read+int64(i))
	}
	s.read, s.allow = s.read+int64(n), s.allow-int64(n)
	return n, err
}

// at moves to an offset and returns its line.
func (s *source) at(offset int64) int {
	n := 0
	for n < len(s.newlines) && s.newlines[n] < offset {
		n++
	}
	s.line += n
	s.newlines = append(s.newlines[:0], s.newlines[n:]...)
	s.allow = maxElement
	return s.line
}

// walker reads a document of JSON, whose kind is found out on the way.
type walker struct {
	f     *file
	in    *source
	d     *json.Decoder
	known bool              // it has objects of STIX or attributes of MISP
	names map[string]string // identities of STIX
	info  []string          // titles of the events of MISP around
	orgs  []string
}

// json reads a STIX bundle or MISP JSON. It returns the line of an error.
func (f *file) json(r io.Reader) (int, error) {
	first := len(f.set.details)
	in := &source{in: r, line: 1, allow: maxElement}
	w := &walker{f: f, in: in, d: json.NewDecoder(in), names: map[string]string{}}
	err := w.value("", 0)
	if err == nil {
		in.at(w.d.InputOffset())
		if _, end := w.d.Token(); !errors.Is(end, io.EOF) {
			err = errors.New("the file has more than one JSON value")
		}
	}
	if err == nil && !w.known {
		return 0, errors.New("this JSON is neither a STIX 2.1 bundle (objects) nor of MISP (Attribute)")
	}
	if err != nil {
		var syntax *json.SyntaxError
		if errors.As(err, &syntax) {
			in.at(syntax.Offset)
		}
		if errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, io.EOF) {
			in.at(in.read)
			err = errors.New("the file ends within a JSON value")
		}
		return in.line, err
	}
	for i := first; i < len(f.set.details); i++ { // identities may follow what they created
		if name := w.names[f.set.details[i].feed]; name != "" {
			f.set.details[i].feed = name
		} else if strings.HasPrefix(f.set.details[i].feed, "identity--") {
			f.set.details[i].feed = ""
		}
	}
	return 0, nil
}

// value reads one value, which has a key in the object around it.
func (w *walker) value(key string, depth int) error {
	t, err := w.d.Token()
	if err != nil {
		return err
	}
	w.in.at(w.d.InputOffset())
	switch d, _ := t.(json.Delim); {
	case depth > maxDepth:
		return fmt.Errorf("more than %d objects and lists within each other", maxDepth)
	case d == '{':
		return w.object(depth)
	case d == '[':
		for w.d.More() {
			w.in.at(w.d.InputOffset())
			switch key {
			case "objects", "Attribute", "ShadowAttribute":
				w.known = true
				if err := w.element(); err != nil {
					return err
				}
			case "Object", "Event", "response":
				w.known = w.known || key == "Event"
				if err := w.value(key, depth+1); err != nil {
					return err
				}
			default:
				if depth == 0 { // a list of events
					err = w.value("", depth+1)
				} else {
					var skipped json.RawMessage
					err = w.d.Decode(&skipped)
				}
				if err != nil {
					return err
				}
			}
		}
		_, err = w.d.Token()
		return err
	}
	return nil
}

// object reads the keys of an object.
func (w *walker) object(depth int) error {
	infos, orgs := len(w.info), len(w.orgs)
	for w.d.More() {
		t, err := w.d.Token()
		if err != nil {
			return err
		}
		w.in.at(w.d.InputOffset())
		switch key, _ := t.(string); key {
		case "objects", "Attribute", "Object", "Event", "response":
			if err := w.value(key, depth+1); err != nil {
				return err
			}
		case "info", "Orgc":
			var raw json.RawMessage
			if err := w.d.Decode(&raw); err != nil {
				return err
			}
			var org struct {
				Name string `json:"name"`
			}
			var info string
			if key == "info" && json.Unmarshal(raw, &info) == nil {
				w.info = append(w.info, info)
			}
			if key == "Orgc" && json.Unmarshal(raw, &org) == nil {
				w.orgs = append(w.orgs, org.Name)
			}
		default:
			var skipped json.RawMessage
			if err := w.d.Decode(&skipped); err != nil {
				return err
			}
		}
	}
	_, err := w.d.Token()
	w.info, w.orgs = w.info[:infos], w.orgs[:orgs]
	return err
}

// element reads an object of STIX or an attribute of MISP.
func (w *walker) element() error {
	var e element
	if err := w.d.Decode(&e); err != nil {
		var kind *json.UnmarshalTypeError
		if !errors.As(err, &kind) {
			return err
		}
		if e.Type != "indicator" && e.ToIDs == nil { // another object may use the same key for something else
			return nil
		}
		return fmt.Errorf("%s must be a %s, not a %s", kind.Field, kind.Type, kind.Value)
	}
	line := w.in.at(w.d.InputOffset())
	switch {
	case e.Type == "identity" && strings.HasPrefix(e.ID, "identity--"):
		if len(w.names) < 10_000 {
			w.names[e.ID] = e.Name
		}
		return nil
	case e.Type == "indicator" && e.Pattern != "":
		return w.indicator(&e, line)
	case e.Type == "" || e.Value == "" || strings.Contains(e.ID, "--"): // other objects of STIX, such as malware or observed data
		return nil
	}
	d := detail{name: e.Comment}
	if n := len(w.info); n > 0 {
		d.name = strings.TrimSuffix(w.info[n-1]+": "+e.Comment, ": ")
	}
	if n := len(w.orgs); n > 0 {
		d.feed = w.orgs[n-1]
	}
	switch {
	case yes(e.Deleted):
		w.f.skip(errRevoked, line)
	case e.ToIDs != nil && !yes(e.ToIDs):
		w.f.skip(errContext, line)
	default:
		return w.f.typed(e.Type, e.Value, d, line)
	}
	return nil
}

// yes is the meaning of a value of MISP, which writes true as true, 1 or "1".
func yes(raw json.RawMessage) bool {
	text := strings.Trim(string(raw), `"`)
	return text == "true" || text == "1"
}

// indicator reads an indicator of STIX.
func (w *walker) indicator(e *element, line int) error {
	d := detail{name: e.Name, feed: e.CreatedBy}
	var err error
	if d.from, err = moment(e.ValidFrom); err != nil {
		return fmt.Errorf("valid_from: %w", err)
	}
	if d.until, err = moment(e.ValidUntil); err != nil {
		return fmt.Errorf("valid_until: %w", err)
	}
	switch {
	case e.Revoked:
		w.f.skip(errRevoked, line)
		return nil
	case e.PatternType != "" && e.PatternType != "stix":
		w.f.skip(errType, line)
		return nil
	}
	found, err := parsePattern(e.Pattern)
	if err != nil {
		return fmt.Errorf("pattern: %w", err)
	}
	if len(found.values) == 0 {
		w.f.skip(found.why(), line)
	}
	for _, p := range found.values {
		v, err := p.read()
		if err := w.f.put(v, err, d, line); err != nil {
			return err
		}
	}
	return nil
}
