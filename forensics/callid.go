package forensics

import (
	"encoding/hex"
	"strconv"
	"strings"

	"github.com/pcapsule/pcapsule/internal/clip"
)

// minPrefix is how many digits of a call_id name a call if they are unique. Fewer decimal
// digits than sureID are a call_no.
const (
	minPrefix = 4
	sureID    = 8
)

// callCondition is the condition for the calls that id names: call_no with # before it or
// without, or in a case of several bundles bundle#call_no; the 32 digits of a call_id, or
// its beginning.
func (c *Case) callCondition(id string) (cond string, args []any, err error) {
	quoted := strconv.Quote(clip.Text(id, 60))
	if which, no, ok := strings.Cut(id, "#"); ok {
		n, err := strconv.ParseInt(no, 10, 64)
		if err != nil || n < 0 {
			return "", nil, usagef("call %s: after # must be the number of a call", quoted)
		}
		if which == "" {
			return "call_no = ?", []any{n}, nil
		}
		b, err := strconv.Atoi(which)
		if err != nil || b < 0 || b >= len(c.bundles) {
			return "", nil, usagef("call %s: before # must be the index of a bundle, 0 to %d", quoted, len(c.bundles)-1)
		}
		if !c.several() {
			return "call_no = ?", []any{n}, nil
		}
		return "bundle = ? AND call_no = ?", []any{int64(b), n}, nil
	}
	if n, err := strconv.ParseInt(id, 10, 64); err == nil && n >= 0 && len(id) < sureID {
		return "call_no = ?", []any{n}, nil
	}
	low := strings.ToLower(id)
	if len(low) < minPrefix || len(low) > 32 || strings.Trim(low, "0123456789abcdef") != "" {
		return "", nil, usagef("call %s: must be a call_id of 32 hexadecimal digits, at least its first %d, or the number of a call", quoted, minPrefix)
	}
	first, err := hex.DecodeString(low + strings.Repeat("0", 32-len(low)))
	if err != nil {
		return "", nil, err
	}
	if len(low) == 32 {
		return "call_id = ?", []any{first}, nil
	}
	last, err := hex.DecodeString(low + strings.Repeat("f", 32-len(low)))
	if err != nil {
		return "", nil, err
	}
	return "call_id BETWEEN ? AND ?", []any{first, last}, nil
}
