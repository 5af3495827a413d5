package patterns_test

import (
	"strings"
	"testing"

	"github.com/pcapsule/pcapsule/forensics/ask/asktest"
	"github.com/pcapsule/pcapsule/forensics/ask/patterns"
)

func TestBurstsOfRejectedCalls(t *testing.T) {
	w := &asktest.Made{}
	for i := range 30 { // immediately, for a missing resource
		w.HTTP(float64(i)*5, 2, "storm", 1, 2, "GET /banner/7", "", "", "404 Not Found", "text/plain", "no")
		w.HTTP(float64(i)*700, 2, "poll", 3, 2, "GET /banner/7", "", "", "404 Not Found", "text/plain", "no") // two in three seconds
		w.HTTP(float64(i)*5, 2, "many", 4, 2, "GET /thing/"+strings.Repeat("x", i), "", "", "404 Not Found", "text/plain", "no")
		w.HTTP(float64(i)*5, 2, "fine", 5, 2, "GET /state", "", "", "200 OK", "text/plain", "yes")
	}
	for i := range 20 { // one too few
		w.HTTP(float64(i)*5, 2, "few", 6, 2, "GET /banner/7", "", "", "403 Forbidden", "text/plain", "no")
	}
	list := look(t, w.Open(t), patterns.In{}, "retry_storms")
	if len(list) != 1 || list[0].Src != "10.0.0.1" || list[0].Count != 29 || number(list[0], "calls") != 30 || number(list[0], "lasted_ms") != 147 || len(list[0].CallIDs) != 10 {
		t.Errorf("%+v", list)
	}
}
