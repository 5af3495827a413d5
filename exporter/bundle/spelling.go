package bundle

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"unicode/utf8"
)

// UniqueKeys returns an error if the text is not UTF-8, or if an object in it has two keys that
// differ at most in case. Readers disagree about which of the two counts, so different people would
// read different evidence. Go's decoder even treats Event and event as one key.
func UniqueKeys(data []byte) error {
	if !utf8.Valid(data) {
		return errors.New("reading JSON: bytes that are not UTF-8")
	}
	type level struct {
		keys map[string]bool // nil: a list
		key  bool            // the next token is a key
	}
	d := json.NewDecoder(bytes.NewReader(data))
	d.UseNumber()
	var open []level
	for {
		t, err := d.Token()
		if err == io.EOF && len(open) == 0 {
			return nil
		}
		if err == io.EOF {
			err = io.ErrUnexpectedEOF
		}
		if err != nil {
			return fmt.Errorf("reading JSON: %w", err)
		}
		var in *level
		if len(open) > 0 {
			in = &open[len(open)-1]
		}
		if text, ok := t.(string); ok && in != nil && in.key {
			folded := strings.ToLower(strings.ToUpper(text)) // ſ is s, too
			if in.keys[folded] {
				return fmt.Errorf("reading JSON: key %.80q is there twice", text)
			}
			in.keys[folded], in.key = true, false
			continue
		}
		if in != nil && in.keys != nil {
			in.key = true // after the value that begins or is here
		}
		switch t {
		case json.Delim('{'):
			open = append(open, level{keys: map[string]bool{}, key: true})
		case json.Delim('['):
			open = append(open, level{})
		case json.Delim('}'), json.Delim(']'):
			open = open[:len(open)-1]
		}
	}
}
