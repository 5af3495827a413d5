package rollout

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/api/meta"

	"github.com/pcapsule/pcapsule/recorder/pins"
)

func TestStatusOfAnswers(t *testing.T) {
	const uid, generation = "u", 3
	ok := Answer{Config: &pins.Config{UID: uid, Generation: 3, AppliedUID: uid, Applied: 3}}
	for _, tt := range []struct {
		name    string
		answers map[string]Answer
		reason  string
		applied string
		message string
		states  string
	}{
		{"no recorder", nil, "NoRecorder", "0/0", "no recorder", ""},
		{"everywhere", map[string]Answer{"b": ok, "a": ok}, "Everywhere", "2/2", "", "a Applied 3, b Applied 3"},
		{"a node that rejects it", map[string]Answer{"a": ok, "b": {Config: &pins.Config{UID: uid, Generation: 3, AppliedUID: uid, Applied: 2, Problem: "filter: no"}}}, "Rejected", "1/2", "b: filter: no", "a Applied 3, b Rejected 2"},
		{"a problem with an older version", map[string]Answer{"a": {Config: &pins.Config{UID: uid, Generation: 2, AppliedUID: uid, Applied: 1, Problem: "old"}}}, "Waiting", "0/1", "a", "a Waiting 1"},
		{"another object of that name", map[string]Answer{"a": {Config: &pins.Config{UID: "before", Generation: 3, AppliedUID: "before", Applied: 3}}}, "Waiting", "0/1", "a", "a Waiting 0"},
		{"a node that does not answer", map[string]Answer{"a": ok, "b": {Err: errors.New("refused\xff")}}, "Unreachable", "1/2", "b: refused", "a Applied 3, b Unreachable 0"},
		{"a rejection counts before silence", map[string]Answer{"a": {Err: errors.New("x")}, "b": {Config: &pins.Config{UID: uid, Generation: 3, Problem: "no"}}}, "Rejected", "0/2", "b: no", "a Unreachable 0, b Rejected 0"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var s Status
			done := s.set(uid, generation, tt.answers)
			c := meta.FindStatusCondition(s.Conditions, Applied)
			var states []string
			for _, n := range s.Nodes {
				states = append(states, fmt.Sprintf("%s %s %d", n.Name, n.State, n.Generation))
			}
			if done != (tt.reason == "Everywhere") || c == nil || c.Reason != tt.reason || s.Applied != tt.applied || !strings.Contains(c.Message, tt.message) || strings.Join(states, ", ") != tt.states {
				t.Errorf("done %v, %+v", done, s)
			}
		})
	}
}

// TestManyNodesMakeAShortMessage: a condition names some nodes and counts the rest, and all texts of nodes together fit
// into an object of the API.
func TestManyNodesMakeAShortMessage(t *testing.T) {
	for _, nodes := range []int{1000, maxNodes} {
		answers := map[string]Answer{}
		for i := range nodes {
			answers[fmt.Sprintf("node-%04d", i)] = Answer{Err: errors.New(strings.Repeat("é", 10_000))}
		}
		var s Status
		s.set("u", 1, answers)
		c := meta.FindStatusCondition(s.Conditions, Applied)
		if len(c.Message) > 3000 || !strings.HasSuffix(c.Message, fmt.Sprintf("; and %d more", nodes-maxNamed)) || len(s.Nodes) != nodes {
			t.Errorf("%d nodes, %d bytes: …%s", len(s.Nodes), len(c.Message), c.Message[len(c.Message)-40:])
		}
		if text, err := json.Marshal(s); err != nil || len(text) > 1<<20 {
			t.Errorf("the status of %d nodes has %d bytes, %v", nodes, len(text), err)
		}
	}
}
