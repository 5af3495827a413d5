package openapi

import (
	"testing"

	"github.com/pcapsule/pcapsule/exporter/table"
	"github.com/pcapsule/pcapsule/internal/duckdbtest"
)

// TestTemplate compares the SQL with table.Template for endpoints that are the request and for
// endpoints that the content names.
func TestTemplate(t *testing.T) {
	db := duckdbtest.Open(t)
	for _, path := range []string{"", "/", "/orders", "/orders/17", "/orders/17/items/3", "/v1/users", "/V2", "/u7/x", "/ab7", "/abc7", "/item-9", "/item_9", "/sku12345x",
		"/0123456789abcdef", "/deadbeef", "/abcdef-abcdef-ab", "//1//", "1", "/users/a@b.c", "/é1", "/a b/17", "*",
		"/labs/HB1AC", "/labs/TSH/x", "/labs/HbA1c", "/labs/search", "/lab/HB1AC", "/lab/TSH", "/API/WEB-INF/RPC2", "/B2B/OAUTH2", "/apis/V2", "/process/RUN", "/a/OAuth2Callback", "/labs/A", "/labs/É9A", "/labs/_A_", "/as/AB", "/ids/V", "/ids/VX", "labs/TSH"} {
		want := table.Template(path)
		for _, endpoint := range []string{"PUT " + want, "PUT " + want + " tools/call add", "PutObject 7", "query orders", "PUT"} {
			var got string
			if err := db.QueryRow("SELECT "+template+" FROM (SELECT ? AS endpoint, 'PUT' AS method, ? AS path)", endpoint, path).Scan(&got); err != nil || got != want {
				t.Errorf("%q with endpoint %q: %q, %v; want %q", path, endpoint, got, err, want)
			}
		}
	}
}
