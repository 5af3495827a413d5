package forensics

import (
	"encoding/hex"
	"strconv"
	"strings"
)

// minPrefix is how many digits of a call_id name a call where they are unique.
const minPrefix = 8

// callCondition is the condition for the calls that id names: #call_no, the 32 digits
// of a call_id, or at least the first 8 of them.
func callCondition(id string) (cond string, args []any, err error) {
	if no, ok := strings.CutPrefix(id, "#"); ok {
		n, err := strconv.ParseInt(no, 10, 64)
		if err != nil || n < 0 {
			return "", nil, usagef("call %s, want # and the number of a call", strconv.Quote(id))
		}
		return "call_no = ?", []any{n}, nil
	}
	low := strings.ToLower(id)
	if len(low) < minPrefix || len(low) > 32 || strings.Trim(low, "0123456789abcdef") != "" {
		return "", nil, usagef("call %s, want a call_id of 32 hexadecimal digits, at least its first %d, or # and its number", strconv.Quote(id), minPrefix)
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
