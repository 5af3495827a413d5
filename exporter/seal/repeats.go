package seal

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/pcapsule/pcapsule/exporter/bundle"
)

// repeats compares what a record repeats from bundle.json and the custody log with them. Fields that a record does not
// have are not compared, because an older release may have written it.
func repeats(record Acquisition, r *bundle.Report) error {
	is := collect(r, record.Request)
	is.SealedAt, is.Signers, is.SealedWith = record.SealedAt, record.Signers, record.SealedWith
	if is.Tool.SHA256 == nil { // the log does not state it
		is.Tool.SHA256 = record.Tool.SHA256
	}
	if record.Losses.NotIP != nil { // a record of an older release
		is.Losses.NotIP = is.NotIP
	}
	is.Commitments, is.TableCommitments = record.Commitments, record.TableCommitments
	var sides [2]any
	for i, a := range []Acquisition{record, is} {
		data, err := json.Marshal(a)
		if err != nil {
			return err
		}
		d := json.NewDecoder(bytes.NewReader(data))
		d.UseNumber()
		if err := d.Decode(&sides[i]); err != nil {
			return err
		}
	}
	if text := contradiction(sides[0], sides[1], ""); text != "" {
		return fmt.Errorf("its record contradicts %s: %s", jsonName, text)
	}
	return nil
}

// contradiction describes the first value of a record that is not that of bundle.json.
func contradiction(said, is any, at string) string {
	switch said := said.(type) {
	case map[string]any:
		if of, ok := is.(map[string]any); ok {
			for _, key := range slices.Sorted(maps.Keys(said)) {
				if text := contradiction(said[key], of[key], strings.TrimPrefix(at+"."+key, ".")); text != "" {
					return text
				}
			}
			return ""
		}
	case []any:
		if of, ok := is.([]any); ok && len(of) == len(said) {
			for i := range said {
				if text := contradiction(said[i], of[i], fmt.Sprintf("%s[%d]", at, i)); text != "" {
					return text
				}
			}
			return ""
		}
	}
	if x, y := plain(said), plain(is); x != y {
		return fmt.Sprintf("%s is %.100s, not %.100s", at, x, y)
	}
	return ""
}

// plain is a value as JSON; no list and an empty one are the same.
func plain(v any) string {
	if v == nil {
		return "[]"
	}
	text, err := json.Marshal(v)
	if err != nil {
		return err.Error()
	}
	return string(text)
}
