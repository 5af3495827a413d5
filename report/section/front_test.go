package section

import "testing"

// TestNameWords reads what the first page says of names that did not resolve, for one and several.
func TestNameWords(t *testing.T) {
	silent := nameFailure{Status: "no_response", Calls: 2}
	of := func(calls int64, search bool) nameFailure {
		n := nameFailure{Search: search, Status: "3 NXDOMAIN"}
		n.Calls = calls
		return n
	}
	for want, list := range map[string][]nameFailure{
		"": nil,
		"1 of them is a DNS query for a name that did not resolve.":                                                                                                          {of(1, false)},
		"3 of them are DNS queries for names that did not resolve.":                                                                                                          {of(1, false), of(2, false)},
		"2 of them are DNS queries for names from a resolver's search list that did not resolve, which is harmless if another name in that list resolved.":                   {of(2, true)},
		"3 of them are DNS queries for names that did not resolve; 1 of these comes from a resolver's search list, which is harmless if another name in that list resolved.": {of(2, false), of(1, true)},
		"2 of them are DNS queries for names that got no answer.":                                                                                                            {silent},
		"3 of them are DNS queries for names that did not resolve (2 got no answer).":                                                                                        {of(1, false), silent},
	} {
		if got := nameWords(list); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}

func TestBegan(t *testing.T) {
	b := &builder{}
	const one, two = "2026-01-02T03:04:05.000000000Z", "2026-01-02T03:04:06.000000000Z"
	b.first, b.last = nanos(one), nanos(two)
	if got := b.began("It began", " and ended", one, one); got != "It began at 03:04:05.000 UTC." {
		t.Error(got)
	}
	if got := b.began("It began", " and ended", one, two); got != "It began at 03:04:05.000 UTC and ended at 03:04:06.000." {
		t.Error(got)
	}
}
