package control

import "testing"

// TestSentenceCountsEachVerdict: every control is in one number of the sentence.
func TestSentenceCountsEachVerdict(t *testing.T) {
	var o Out
	for i, v := range []Verdict{Contradicted, Evidence, NotExamined, Outside} {
		for range i + 1 {
			o.Controls = append(o.Controls, Control{Verdict: v})
		}
	}
	const want = "Of 10 controls, the traffic contradicts 1 and is evidence for a part of 2; 3 not examined, 4 outside what traffic shows."
	if got := o.Sentence(); got != want {
		t.Errorf("%q, want %q", got, want)
	}
}
