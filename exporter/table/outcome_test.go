package table

import (
	"math/rand"
	"regexp"
	"strings"
	"testing"
)

func TestTemplate(t *testing.T) {
	for _, tt := range [][2]string{
		{"", ""}, {"/", "/"}, {"/orders", "/orders"}, {"/orders/17", "/orders/{id}"}, {"/orders/17/items/3", "/orders/{id}/items/{id}"},
		{"/v1/users", "/v1/users"}, {"/V2", "/V2"}, {"/u7/x", "/{id}/x"}, {"/ab7", "/{id}"}, {"/abc7", "/abc7"}, {"/item-9", "/{id}"},
		{"/item_9", "/{id}"}, {"/sku12345x", "/{id}"}, {"/0123456789abcdef", "/{id}"}, {"/deadbeefdeadbeef", "/{id}"}, {"/deadbeef", "/deadbeef"},
		{"/labs/HB1AC", "/labs/{id}"}, {"/labs/TSH/x", "/labs/{id}/x"}, {"/labs/HbA1c", "/labs/{id}"}, {"/labs/search", "/labs/search"}, {"/labs/findAll", "/labs/findAll"},
		{"/lab/HB1AC", "/lab/{id}"}, {"/lab/TSH", "/lab/TSH"}, {"/API/WEB-INF/RPC2", "/API/WEB-INF/RPC2"}, {"/B2B/OAUTH2", "/B2B/OAUTH2"}, {"/apis/V2", "/apis/V2"}, {"/process/RUN", "/process/RUN"}, {"/a/OAuth2Callback", "/a/OAuth2Callback"},
		{"/currencies/EUR/rates/US-D", "/currencies/{id}/rates/{id}"}, {"/abcdef-abcdef-ab", "/{id}"}, {"//1//", "//{id}//"}, {"1", "{id}"}, {"/users/a@b.c", "/users/{id}"}, {"/é1", "/é1"}, {"/cafe-babe-cafe-bab1", "/{id}"},
	} {
		if got := Template(tt[0]); got != tt[1] {
			t.Errorf("Template(%q) = %q, want %q", tt[0], got, tt[1])
		}
	}
}

// TestTemplateIsThePattern compares Template with the rule as a regular expression.
func TestTemplateIsThePattern(t *testing.T) {
	pattern := regexp.MustCompile(`^[0-9]+$|[0-9]{3}|@|[-_][0-9]+$|^([a-uw-zA-UW-Z]|[A-Za-z]{2})[0-9]+$|^[0-9a-fA-F-]{16,}$`)
	inner := regexp.MustCompile(`^[0-9A-Z._-]*[0-9][A-Z][0-9A-Z._-]*$`)
	rnd := rand.New(rand.NewSource(1))
	const letters = "0123456789abcdefvVzZ-_./é@"
	for range 200_000 {
		b := make([]byte, rnd.Intn(22))
		for i := range b {
			if b[i] = letters[rnd.Intn(len(letters))]; b[i] != '/' && rnd.Intn(3) > 0 {
				b[i] = letters[rnd.Intn(16)]
			}
		}
		var want []string
		for _, s := range strings.Split(string(b), "/") {
			if pattern.MatchString(s) || inner.MatchString(s) && len(s) >= leastCode {
				s = "{id}"
			}
			want = append(want, s)
		}
		if got := Template(string(b)); got != strings.Join(want, "/") {
			t.Fatalf("Template(%q) = %q, want %q", b, got, strings.Join(want, "/"))
		}
	}
}

func TestFailedOutcomes(t *testing.T) {
	var failed []string
	for _, o := range Outcomes() {
		if Failed(o) {
			failed = append(failed, o)
		}
	}
	if got := strings.Join(failed, " "); got != "client_error server_error refused no_answer" {
		t.Error(got)
	}
}
