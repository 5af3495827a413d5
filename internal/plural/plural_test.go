package plural

import "testing"

func TestSprintf(t *testing.T) {
	for _, c := range []struct {
		want, format string
		args         []any
	}{
		{"1 packet carries this call", "%d {packet carries|packets carry} this call", []any{1}},
		{"2 packets carry this call", "%d {packet carries|packets carry} this call", []any{int64(2)}},
		{"0 packets", "%d {packet|packets}", []any{uint64(0)}},
		{"1 of 1 request", "%d of %d {request|requests}", []any{1, uint32(1)}},
		{"1 of 3 requests", "%d of %d {request|requests}", []any{1, 3}},
		{"{a|b}: 1 call, 100 %", "%s: %d {call|calls}, %.0f %%", []any{"{a|b}", 1, 100.0}},
		{"  1 file {x}", "%3d {file|files} {x}", []any{1}},
	} {
		if got := Sprintf(c.format, c.args...); got != c.want {
			t.Errorf("%q, want %q", got, c.want)
		}
	}
	for want, got := range map[string]string{"999": Digits(999.4, 3), "1000": Digits(999.6, 3), "12350": Digits(12345.6, 4), "0.00001": Digits(0.00001, 3), "2.5": Digits(2.5, 4), "0": Digits(0, 2),
		"1 call": Amount(1.04, 2, "call", "calls"), "1.1 calls": Amount(1.06, 2, "call", "calls"), "0 calls": Amount(0, 2, "call", "calls")} {
		if got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
	if Count(1, "call", "calls") != "1 call" || Count(1234567, "call", "calls") != "1,234,567 calls" || Count(-1000, "a", "b") != "-1,000 b" {
		t.Error(Count(1, "call", "calls"), Count(1234567, "call", "calls"), Count(-1000, "a", "b"))
	}
}
