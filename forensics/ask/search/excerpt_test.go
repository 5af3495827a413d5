package search

import (
	"context"
	"testing"

	"github.com/pcapsule/pcapsule/forensics/redact"
)

func FuzzJSONPath(f *testing.F) {
	f.Add(`{"a":[1,{"b":"x 12345"}]}`)
	f.Add(`[[[[`)
	f.Add(`{"a":{}}{}]`)
	n, err := NewNeedle(context.Background(), "12345", "", true, false)
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, s string) {
		jsonPath(s, n)
		excerpt(redact.Default(), "application/json", s, n)
	})
}
