package forensics

import (
	"encoding/hex"
	"strconv"
	"strings"
)

// minPrefix is the lowest number of digits in a unique prefix of a call_id.
const minPrefix = 8

// callCondition is the SQL condition for the calls that match an id: #call_no, or bundle#call_no in a
// case of several bundles; the 32 digits of a call_id, or at least its first 8.
func (c *Case) callCondition(id string) (cond string, args []any, err error) {
	if which, no, ok := strings.Cut(id, "#"); ok {
		n, err := strconv.ParseInt(no, 10, 64)
		if err != nil || n < 0 {
			return "", nil, usagef("call %s: after # must be the number of a call", strconv.Quote(id))
		}
		if which == "" {
			return "call_no = ?", []any{n}, nil
		}
		b, err := strconv.Atoi(which)
		if err != nil || b < 0 || b >= len(c.bundles) {
			return "", nil, usagef("call %s: before # must be the index of a bundle, 0 to %d", strconv.Quote(id), len(c.bundles)-1)
		}
		if !c.several() {
			return "call_no = ?", []any{n}, nil
		}
		return "bundle = ? AND call_no = ?", []any{int64(b), n}, nil
	}
	low := strings.ToLower(id)
	if len(low) < minPrefix || len(low) > 32 || strings.Trim(low, "0123456789abcdef") != "" {
		return "", nil, usagef("call %s: must be a call_id of 32 hexadecimal digits, at least its first %d, or # and its number", strconv.Quote(id), minPrefix)
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
