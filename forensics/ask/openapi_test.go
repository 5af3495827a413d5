package ask_test

import (
	"strings"
	"testing"
	"testing/fstest"

	"github.com/getkin/kin-openapi/openapi3"

	"github.com/pcapsule/pcapsule/forensics/ask/openapi"
	"github.com/pcapsule/pcapsule/forensics/check"
	"github.com/pcapsule/pcapsule/forensics/finding/all"
)

func TestOpenAPIDescribesTheCallsItWasMadeOf(t *testing.T) {
	c := open(t, "shop.pcapng")
	for _, service := range []string{"shop/payment", "shop/catalogue", "shop/frontend", "shop/gateway"} {
		t.Run(service, func(t *testing.T) {
			out, err := openapi.Ask(ctx, c, openapi.In{Service: service})
			if err != nil {
				t.Fatal(err)
			}
			if len(out.Operations) == 0 {
				t.Fatal("no operations")
			}
			doc, err := openapi3.NewLoader().LoadFromData([]byte(out.YAML))
			if err != nil {
				t.Fatalf("%v\n%s", err, out.YAML)
			}
			if err := doc.Validate(ctx); err != nil {
				t.Fatalf("%v\n%s", err, out.YAML)
			}
			ids := map[string]bool{}
			for path, item := range doc.Paths.Map() {
				for verb, op := range item.Operations() {
					if op.OperationID == "" || ids[op.OperationID] {
						t.Errorf("%s %s: operationId %q is empty or used twice", verb, path, op.OperationID)
					}
					ids[op.OperationID] = true
				}
			}
			if doc.Components == nil && doc.Security == nil {
				t.Error("no credentials are described and security is left open")
			}
			_, name, _ := strings.Cut(service, "/")
			rules, err := check.Parse([]byte(`{version: 1, rules: [{name: as described, calls: 'http && (dst.service == "`+name+`" || dst.pod.startsWith("`+name+`"))', openapi: api.yaml}]}`),
				fstest.MapFS{"api.yaml": {Data: []byte(out.YAML)}})
			if err != nil {
				t.Fatal(err)
			}
			r, err := check.Run(ctx, c, rules, all.Analyzers())
			if err != nil {
				t.Fatal(err)
			}
			if r.Passed != 1 {
				t.Errorf("%+v\n%s", r.Results, out.YAML)
			}
		})
	}
}

func TestOpenAPIContainsNoValuesFromTheTraffic(t *testing.T) {
	c := open(t, "shop.pcapng")
	out, err := openapi.Ask(ctx, c, openapi.In{Service: "shop/payment"})
	if err != nil {
		t.Fatal(err)
	}
	for _, secret := range []string{"4111", "Bearer ", "@example"} {
		if strings.Contains(out.YAML, secret) {
			t.Errorf("%s is in it", secret)
		}
	}
	if _, err := openapi.Ask(ctx, c, openapi.In{}); err == nil {
		t.Error("an input without a service is accepted")
	}
}
