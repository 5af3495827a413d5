package patterns_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/pcapsule/pcapsule/forensics/ask/asktest"
	"github.com/pcapsule/pcapsule/forensics/ask/patterns"
)

// TestShortPoolExhaustion has twelve parallel requests at each of two services. One has four
// connections to its server, the other one per request.
func TestShortPoolExhaustion(t *testing.T) {
	w := &asktest.Made{}
	for i := range 12 {
		wave := float64(i / 4)
		w.HTTP(0.1*float64(i), 63+61*wave, fmt.Sprint("in", i), 1, 2, "GET /rows", "", "", "200 OK", asktest.JSON, "{}")
		w.HTTP(2+60.05*wave+0.1*float64(i%4), 60, fmt.Sprint("pool", i%4), 2, 9, "GET /stored", "", "", "200 OK", asktest.JSON, "{}")
		w.HTTP(0.1*float64(i), 70, fmt.Sprint("wide in", i), 3, 4, "GET /rows", "", "", "200 OK", asktest.JSON, "{}")
		w.HTTP(2+0.1*float64(i), 60, fmt.Sprint("wide", i), 4, 9, "GET /stored", "", "", "200 OK", asktest.JSON, "{}")
	}
	list := look(t, w.Open(t), patterns.In{}, "pool")
	if len(list) != 1 || list[0].Src != "10.0.0.2" || number(list[0], "ceiling") != 4 || number(list[0], "requests_at_once") != 12 || list[0].Confidence != "likely" || len(list[0].CallIDs) < 3 {
		t.Errorf("%+v", list)
	}
}

// TestTwelveRequestsAtAPoolOfEight has twelve parallel callers of a service with eight connections to
// its server, and a service whose eight connections suffice.
func TestTwelveRequestsAtAPoolOfEight(t *testing.T) {
	w := &asktest.Made{}
	for i := range 12 {
		at := 0.1 * float64(i)
		begin := 2 + at
		if i >= 8 {
			begin = 2 + 0.1*float64(i-8) + 40 + 0.3 // when the first eight come free
		}
		w.HTTP(at, begin-at+40.5, fmt.Sprint("in", i), 1, 2, "GET /rows", "", "", "200 OK", asktest.JSON, "{}")
		w.HTTP(begin, 40, fmt.Sprint("pool", i%8), 2, 9, "GET /stored", "", "", "200 OK", asktest.JSON, "{}")
		if i < 8 {
			w.HTTP(at, 45, fmt.Sprint("calm in", i), 3, 4, "GET /rows", "", "", "200 OK", asktest.JSON, "{}")
			w.HTTP(2+at, 40, fmt.Sprint("calm", i), 4, 9, "GET /stored", "", "", "200 OK", asktest.JSON, "{}")
		}
	}
	list := look(t, w.Open(t), patterns.In{}, "pool")
	if len(list) != 1 || list[0].Src != "10.0.0.2" || !strings.Contains(list[0].Words, "12 needed, 8 available") {
		t.Errorf("%+v", list)
	}
}

// TestTurnedAwayAtACeiling has servers that get twelve requests at once. The first serves eight of them and resets four, the
// second refuses the last four connections, the third serves all, the fourth resets requests whatever it has to do.
func TestTurnedAwayAtACeiling(t *testing.T) {
	w := &asktest.Made{}
	for i := range 12 {
		at, client := 0.1*float64(i), byte(100+i)
		get := func(server byte, took float64) {
			w.HTTP(at, took, fmt.Sprint(server, i), client, server, "GET /a", "", "", "200 OK", asktest.JSON, "{}")
			w.Close(asktest.Ms(at+took+1), fmt.Sprint(server, i))
		}
		reset := func(server byte, at float64) {
			w.Exchange(asktest.Ms(at), 0, fmt.Sprint(server, i), fmt.Sprintf("10.0.0.%d", client), fmt.Sprintf("10.0.0.%d:8080", server), asktest.Get("/a"), "")
			w.Drop(asktest.Ms(at+0.5), fmt.Sprint(server, i))
		}
		get(3, 40)
		switch {
		case i < 8:
			get(1, 40)
			get(2, 40)
			get(4, 40)
		default:
			reset(1, at)
			w.Attempt(asktest.Ms(at), fmt.Sprintf("10.0.0.%d", client), "10.0.0.2:8080", true)
			reset(4, 500*float64(i))
		}
	}
	var got []string
	for _, p := range look(t, w.Open(t), patterns.In{}, "pool") {
		got = append(got, fmt.Sprint(p.Dst, " ", number(p, "ceiling"), " ", p.Count))
	}
	if strings.Join(got, ", ") != "10.0.0.1 8 4, 10.0.0.2 8 4" {
		t.Errorf("%v", got)
	}
}
