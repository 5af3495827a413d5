package patterns_test

import (
	"encoding/binary"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/pcapsule/pcapsule/forensics"
	"github.com/pcapsule/pcapsule/forensics/ask/asktest"
	"github.com/pcapsule/pcapsule/forensics/ask/latency"
	"github.com/pcapsule/pcapsule/forensics/ask/patterns"
	"github.com/pcapsule/pcapsule/forensics/ask/service"
)

// microseconds

func TestRetriesAndWhatLooksLikeThem(t *testing.T) {
	w := &asktest.Made{}
	// Three linear retries by body, without ids.
	for i, at := range []float64{0, 110, 320, 630} {
		w.HTTP(at, 10, "linear", 1, 2, "POST /pay", "", `{"n":1}`, "503 Unavailable", asktest.JSON, fmt.Sprint(i))
	}
	// A client that polls, whether or not the call failed.
	for i := range 20 {
		status := "200 OK"
		if i == 7 {
			status = "503 Unavailable"
		}
		w.HTTP(float64(i)*1000, 5, "poll", 3, 2, "GET /state", "", "", status, asktest.JSON, "{}")
	}
	// Another request with the same path and its own id.
	w.HTTP(100, 5, "other", 4, 2, "POST /order", "X-Request-Id: a\r\n", "{}", "500 No", asktest.JSON, "{}")
	w.HTTP(200, 5, "other", 4, 2, "POST /order", "X-Request-Id: b\r\n", "{}", "200 OK", asktest.JSON, "{}")
	// A rejection that a retry cannot fix.
	w.HTTP(100, 5, "bad", 5, 2, "POST /form", "X-Request-Id: f\r\n", "{}", "400 Bad", asktest.JSON, "{}")
	w.HTTP(200, 5, "bad", 5, 2, "POST /form", "X-Request-Id: f\r\n", "{}", "400 Bad", asktest.JSON, "{}")
	// Two orders, each with a key and an id for each attempt.
	for i, key := range []string{"k1", "k1", "k2", "k2", "k2"} {
		headers := fmt.Sprintf("X-Request-Id: r%d\r\nIdempotency-Key: %s\r\n", i, key)
		w.HTTP(float64(i)*100, 5, "key", 6, 2, "POST /buy", headers, `{"n":2}`, map[bool]string{true: "200 OK", false: "504 Timeout"}[i == 1 || i == 4], asktest.JSON, "{}")
	}
	list := look(t, w.Open(t), patterns.In{}, "retries")
	if i := slices.IndexFunc(list, func(p patterns.Pattern) bool { return strings.HasSuffix(p.Endpoint, "/buy") }); i < 0 || list[i].Confidence != "exact" || number(list[i], "requests_retried") != 2 || number(list[i], "retries") != 3 {
		t.Errorf("an Idempotency-Key does not tie retries: %+v", list)
	} else {
		list = slices.Delete(list, i, i+1)
	}
	if len(list) != 1 || list[0].Shape != "linear" || list[0].Confidence != "likely" || number(list[0], "exactly") != 3 || strings.Contains(list[0].Words, "exactly") || !strings.Contains(list[0].Words, "may be other requests") || !strings.Contains(list[0].Words, "too few pauses to be sure") {
		t.Errorf("%+v", list)
	}
}

func TestRetryStorm(t *testing.T) {
	w := &asktest.Made{}
	for i := range 15 {
		id := fmt.Sprintf("X-Request-Id: r%d\r\n", i)
		for k := range 3 {
			w.HTTP(float64(i*100+k*1000), 5, fmt.Sprint("c", i), byte(10+i), 2, "GET /a", id, "", "503 No", asktest.JSON, "{}")
		}
	}
	c := w.Open(t)
	list := look(t, c, patterns.In{}, "retry_storms")
	if len(list) != 1 || list[0].Count < 20 {
		t.Errorf("%+v", list)
	}
}

func TestPoolExhaustedOrOnlyBusy(t *testing.T) {
	query := func(n int) string {
		sql := fmt.Sprintf("SELECT %d", n)
		return "Q" + string(binary.BigEndian.AppendUint32(nil, uint32(5+len(sql)))) + sql + "\x00"
	}
	const done = "C\x00\x00\x00\x0dSELECT 1\x00Z\x00\x00\x00\x05I"
	start := func(w *asktest.Made, conn string, client byte) {
		body := "user\x00a\x00database\x00a\x00\x00"
		w.Call(0, 1, conn, client, 9, 5432, string(binary.BigEndian.AppendUint32(nil, uint32(8+len(body))))+"\x00\x03\x00\x00"+body, "R\x00\x00\x00\x08\x00\x00\x00\x00Z\x00\x00\x00\x05I")
	}
	w := &asktest.Made{}
	for _, conn := range []string{"a", "b", "c"} { // three connections, never idle
		start(w, conn, 1)
		for i := range 60 {
			w.Call(10+float64(i)*10.2+float64(conn[0]-'a'), 10, conn, 1, 9, 5432, query(i), done)
		}
	}
	for _, conn := range []string{"x", "y", "z"} { // three connections with time to spare
		start(w, conn, 2)
		for i := range 60 {
			w.Call(10+float64(i)*60+float64(conn[0]-'x')*4, 10, conn, 2, 9, 5432, query(i), done)
		}
	}
	list := look(t, w.Open(t), patterns.In{}, "pool")
	if len(list) != 1 || list[0].Src != "10.0.0.1" || number(list[0], "ceiling") != 3 {
		t.Errorf("%+v", list)
	}
}

func TestConnectionsKeptOrNot(t *testing.T) {
	w := &asktest.Made{}
	for i := range 40 {
		w.HTTP(float64(i)*500, 5, fmt.Sprint("new", i), 1, 2, "GET /a", "", "", "200 OK", asktest.JSON, "{}")
		w.HTTP(float64(i)*500, 5, "kept", 3, 2, "GET /a", "", "", "200 OK", asktest.JSON, "{}")
	}
	c := w.Open(t)
	list := look(t, c, patterns.In{}, "keep_alive")
	if len(list) != 2 || !list[0].Problem || list[0].Src != "10.0.0.1" || list[1].Problem || number(list[1], "connections") != 1 {
		t.Errorf("%+v", list)
	}
	churn := look(t, c, patterns.In{}, "churn")
	if len(churn) != 1 || churn[0].Src != "10.0.0.1" || number(churn[0], "connections_opened") != 40 {
		t.Errorf("%+v", churn)
	}
}

func TestSameCallAgain(t *testing.T) {
	w := &asktest.Made{}
	for i := range 5 {
		at := float64(i) * 2000
		w.HTTP(at, 5, "same", 1, 2, "GET /list?page=1", "", "", "200 OK", asktest.JSON, `{"a":1}`)
		w.HTTP(at, 5, "news", 3, 2, "GET /news", "", "", "200 OK", asktest.JSON, fmt.Sprintf(`{"a":%d}`, i))
		w.HTTP(at, 5, "health", 4, 2, "GET /healthz", "", "", "200 OK", asktest.JSON, `{"ok":1}`)
	}
	for i := range 3 { // the same three times within 100 ms, on two connections
		w.HTTP(20000+float64(i)*30, 5, fmt.Sprint("dup", i%2), 5, 2, "GET /me", "X-Request-Id: q\r\n", "", "200 OK", asktest.JSON, "{}")
		w.HTTP(20000+float64(i)*30, 5, "users", 6, 2, "GET /me", fmt.Sprintf("X-Request-Id: u%d\r\n", i), "", "200 OK", asktest.JSON, "{}")
	}
	c := w.Open(t)
	list := look(t, c, patterns.In{Path: "/list"}, "repeated")
	if len(list) != 1 || list[0].Count != 4 {
		t.Errorf("%+v", list)
	}
	for _, p := range look(t, c, patterns.In{}, "repeated") {
		if strings.Contains(p.Endpoint, "health") || strings.Contains(p.Endpoint, "news") {
			t.Errorf("%+v", p)
		}
	}
	dup := look(t, c, patterns.In{}, "duplicates")
	if len(dup) != 1 || dup[0].Src != "10.0.0.5" || number(dup[0], "most_at_once") != 3 || number(dup[0], "times") != 1 {
		t.Errorf("%+v", dup)
	}
	s, err := service.AskService(ctx, c, service.ServiceIn{Service: "10.0.0.2"})
	if err != nil {
		t.Fatal(err)
	}
	if len(s.Repeats) != 1 || s.Repeats[0].Peer != "10.0.0.5" || s.Repeats[0].InARow != 3 {
		t.Errorf("%+v", s.Repeats)
	}
}

// TestEqualCallsOfDifferentUsers has equal requests from one address. A proxy sends those of several users.
func TestEqualCallsOfDifferentUsers(t *testing.T) {
	for header, users := range map[string]int{
		"Cookie: sid=%d\r\n": 3, "Authorization: Bearer 8f14e45fceea167a5a36dedd4bea25%02d\r\n": 3, "X-Api-Key: 8f14e45fceea167a5a36dedd4bea25%02d\r\n": 3,
		"X-Forwarded-For: 192.0.2.%d, 10.0.0.1\r\n": 3, "Forwarded: for=192.0.2.%d\r\n": 3, "X-Auth-Token: 8f14e45fceea167a5a36dedd4bea25%02d\r\n": 3,
		"Accept: text/%d\r\n": 1, "Cookie: sid=a\r\nAccept: text/%d\r\n": 1,
	} {
		w := &asktest.Made{}
		for i := range 9 {
			w.HTTP(float64(i)*40, 5, "all", 1, 2, "GET /cart", fmt.Sprintf(header, i%3), "", "200 OK", asktest.JSON, "{}")
		}
		c := asktest.Bundles(t, forensics.Options{MaskSecrets: true}, asktest.ExportMade(t, &w.Capture))
		for _, kind := range []string{"repeated", "duplicates"} {
			list := look(t, c, patterns.In{}, kind)
			if len(list) != 1 || users > 1 && (number(list[0], "users") != float64(users) || list[0].Problem || list[0].Confidence != "guess") ||
				users == 1 && strings.Contains(list[0].Words, "users") || len(list[0].CallIDs) > 5 {
				t.Errorf("%q: %s: %+v", header, kind, list)
			}
		}
	}
}

// TestAtMostThreeWithin100ms has nine equal requests in a row, each 40 ms after the previous one, and later two more.
func TestAtMostThreeWithin100ms(t *testing.T) {
	w := &asktest.Made{}
	for i := range 9 {
		w.HTTP(float64(i)*40, 5, fmt.Sprint("c", i%4), 1, 2, "POST /cart", "X-Request-Id: q\r\n", "{}", "200 OK", asktest.JSON, "{}")
	}
	w.HTTP(5000, 5, "c0", 1, 2, "POST /cart", "X-Request-Id: q\r\n", "{}", "200 OK", asktest.JSON, "{}")
	w.HTTP(5060, 5, "c0", 1, 2, "POST /cart", "X-Request-Id: q\r\n", "{}", "200 OK", asktest.JSON, "{}")
	list := look(t, w.Open(t), patterns.In{}, "duplicates")
	if len(list) != 1 || number(list[0], "most_at_once") != 3 || number(list[0], "calls") != 11 || number(list[0], "times") != 2 || number(list[0], "median_gap_ms") > 60 {
		t.Errorf("%+v", list)
	}
}

func TestBodiesThatAreNotWhatTheySay(t *testing.T) {
	w := &asktest.Made{}
	w.HTTP(0, 5, "a", 1, 2, "GET /html", "", "", "200 OK", asktest.JSON, "<html>oops</html>")
	w.HTTP(10, 5, "a", 1, 2, "GET /text", "", "", "200 OK", "text/plain", `{"a":1}`)
	w.HTTP(20, 5, "a", 1, 2, "GET /fine", "", "", "200 OK", asktest.JSON, `{"a":1,"at":"2026-01-01T00:00:00Z","n":1}`)
	w.HTTP(30, 5, "a", 1, 2, "GET /fine", "", "", "200 OK", asktest.JSON, `{"a":null,"at":"2026-01-02T00:00:00Z","n":1.5}`)
	w.HTTP(40, 5, "a", 1, 2, "GET /drift", "", "", "200 OK", asktest.JSON, `{"list":[{"id":1}],"due":"2026-01-01"}`)
	w.HTTP(50, 5, "a", 1, 2, "GET /drift", "", "", "200 OK", asktest.JSON, `{"list":[{"id":"1"}],"due":"01/02/2026"}`)
	w.HTTP(60, 5, "a", 1, 2, "GET /drift", "", "", "500 No", asktest.JSON, `{"list":"error"}`)
	c := w.Open(t)
	types := look(t, c, patterns.In{}, "content_type")
	if len(types) != 2 || !strings.Contains(one(t, types, "", "", "/html").Words, "markup") || !strings.Contains(one(t, types, "", "", "/text").Words, "JSON") {
		t.Errorf("%+v", types)
	}
	drift := look(t, c, patterns.In{}, "drift")
	var words []string
	for _, p := range drift {
		words = append(words, p.Words)
		if !strings.Contains(p.Endpoint, "/drift") {
			t.Errorf("%+v", p)
		}
	}
	if text := strings.Join(words, "\n"); len(drift) != 2 || !strings.Contains(text, "list[].id") || !strings.Contains(text, "due") {
		t.Errorf("%s", text)
	}
}

func TestVolumesByStep(t *testing.T) {
	w := &asktest.Made{}
	for step := range 12 { // one more call in each step
		for i := range step + 1 {
			w.HTTP(float64(step)*1000+float64(i)*20, 5, "grow", 1, 2, "GET /grow", "", "", "200 OK", asktest.JSON, "{}")
		}
		w.HTTP(float64(step)*1000+1, 5, "even", 3, 2, "GET /even", "", "", "200 OK", asktest.JSON, "{}")
	}
	w.HTTP(12000, 1, "even", 3, 2, "GET /even", "", "", "200 OK", asktest.JSON, "{}")
	c := w.Open(t)
	out := asktest.Must[*latency.Capacity](t)(latency.AskCapacity(ctx, c, latency.CapacityIn{Bucket: "1s", Series: true}))
	grow, even := out.Rows[0], out.Rows[1]
	if grow.Trend != "growing" || grow.Peak != 12 || len(grow.Series) != 12 || even.Trend != "steady" || out.Calls != grow.Calls+even.Calls {
		t.Errorf("%+v\n%+v", grow, even)
	}
	for _, r := range out.Rows {
		if n := asktest.Matching(t, c, r.KFL); n != r.Calls {
			t.Errorf("%d calls, but %d for %s", r.Calls, n, r.KFL)
		}
	}
	for _, in := range []latency.CapacityIn{{Bucket: "1ns"}, {Bucket: "soon"}} {
		if _, err := latency.AskCapacity(ctx, c, in); err == nil {
			t.Errorf("%+v is accepted", in)
		}
	}
}

// TestCallsInTheLastStep has calls at the end of the window, in the twelfth of 12 steps and in a step that the window cuts.
func TestCallsInTheLastStep(t *testing.T) {
	w := &asktest.Made{}
	w.HTTP(0, 5, "first", 1, 2, "GET /first", "", "", "200 OK", asktest.JSON, "{}")
	for i := range 3 {
		w.HTTP(12000+float64(i), 1, "last", 3, 2, "GET /last", "", "", "200 OK", asktest.JSON, "{}")
	}
	c := w.Open(t)
	for bucket, want := range map[string]struct {
		steps, peak, partial int64
		mean                 float64
		words                string
	}{
		"":   {12, 3, 0, 0.25, "0.25 calls per step on average, 3 at most"},
		"5s": {2, 0, 3, 0, "3 calls in the last step, which is incomplete, and none before."},
	} {
		out := asktest.Must[*latency.Capacity](t)(latency.AskCapacity(ctx, c, latency.CapacityIn{Bucket: bucket}))
		r := out.Rows[0]
		if out.Buckets != want.steps || r.Calls != 3 || r.Peak != want.peak || r.Partial != want.partial || r.PerBucket != want.mean || (r.PeakAt == "") != (want.peak == 0) || r.TrendPercent != nil || !strings.HasPrefix(r.Words, want.words) {
			t.Errorf("steps of %q: %d, %+v", bucket, out.Buckets, r)
		}
	}
}

// TestEndpointsOfOnePath: methods of one path can have endpoints of other names.
func TestEndpointsOfOnePath(t *testing.T) {
	w := &asktest.Made{}
	for i := range 8 {
		at, line, answer := float64(i)*1000, "GET", `{"kind":"PodList","apiVersion":"v1","items":[]}`
		if i%2 == 1 {
			line, answer = "POST", `{"kind":"Pod","apiVersion":"v1"}`
		}
		w.HTTP(at, 500, fmt.Sprint("api", i), 1, 2, line+" /api/v1/namespaces/shop/pods", "Content-Type: application/json\r\n", "{}", "200 OK", asktest.JSON, answer)
		for j := range 6 {
			w.HTTP(at+10+float64(j)*20, 15, "store", 2, 3, fmt.Sprintf("GET /items/%d", 100*i+j), "", "", "200 OK", asktest.JSON, `{"a":1}`)
		}
	}
	list := look(t, w.Open(t), patterns.In{}, "n_plus_one")
	for _, endpoint := range []string{"k8s list pods", "k8s create pods"} {
		if p := one(t, list, "10.0.0.2", "10.0.0.3", endpoint); p.Count != 4 || number(p, "requests") != 4 || !strings.Contains(p.KFL, strconv.Quote(endpoint)) {
			t.Errorf("%+v", p)
		}
	}
}

// TestCachesNeedRequests has resources that are read again, once or 12 times, and whose first request alone reaches the database.
func TestCachesNeedRequests(t *testing.T) {
	for later, sure := range map[int]bool{1: false, 12: true} {
		w := &asktest.Made{}
		body := "user\x00u\x00database\x00d\x00\x00"
		w.Call(0, 1, "db", 2, 9, 5432, string(binary.BigEndian.AppendUint32(nil, uint32(8+len(body))))+"\x00\x03\x00\x00"+body, "R\x00\x00\x00\x08\x00\x00\x00\x00Z\x00\x00\x00\x05I")
		for i := range later + 1 {
			at := 100 + float64(i)*100
			w.HTTP(at, 20, "web", 1, 2, "GET /thing", "", "", "200 OK", asktest.JSON, `{"n":1}`)
			if i == 0 {
				q := "SELECT * FROM things WHERE id = 1\x00"
				w.Call(at+5, 10, "db", 2, 9, 5432, "Q"+string(binary.BigEndian.AppendUint32(nil, uint32(4+len(q))))+q, "C\x00\x00\x00\x0dSELECT 1\x00Z\x00\x00\x00\x05I")
			}
		}
		list := look(t, w.Open(t), patterns.In{}, "caching")
		if len(list) != 1 || !strings.Contains(list[0].Words, "is cached") || strings.Contains(list[0].Words, "too few to be sure") == sure {
			t.Errorf("%d later requests: %+v", later, list)
		}
	}
}
