package seal_test

import (
	"encoding/json"
	"flag"
	"os"
	"reflect"
	"testing"

	"github.com/google/jsonschema-go/jsonschema"

	"github.com/pcapsule/pcapsule/exporter/bundle"
	"github.com/pcapsule/pcapsule/exporter/seal"
)

var update = flag.Bool("update", false, "rewrite docs/format/acquisition.schema.json")

// TestAcquisitionSchema compares the published schema with the record's types, and a record
// with the schema.
func TestAcquisitionSchema(t *testing.T) {
	text := &jsonschema.Schema{Type: "string"}
	schema := must(jsonschema.For[seal.Acquisition](&jsonschema.ForOptions{TypeSchemas: map[reflect.Type]*jsonschema.Schema{
		reflect.TypeFor[bundle.Time]():   {Type: "string", Description: "RFC 3339, nine digits, Z"},
		reflect.TypeFor[bundle.Digest](): {Type: "string", Pattern: "^[0-9a-f]{64}$"},
		reflect.TypeFor[string]():        text,
	}}))(t)
	schema.ID, schema.Title = seal.PredicateType, "Acquisition record of a pcapsule bundle"
	want := string(must(json.MarshalIndent(schema, "", " "))(t)) + "\n"
	const path = "../../docs/format/acquisition.schema.json"
	if *update {
		if err := os.WriteFile(path, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if got := string(must(os.ReadFile(path))(t)); got != want {
		t.Fatal("docs/format/acquisition.schema.json is not what the types say; run go test ./exporter/seal -run Schema -update")
	}
	b := made(t, "dns.pcap")
	sealed := must(seal.Sign(ctx, b, seal.Options{Signers: []seal.Signer{ed(t, "Ann")}, Request: seal.Request{CaseID: "4711"}, Seed: &seal.SeedFile{}, Commitments: []bundle.Commitment{{Packets: 7}}}))(t)
	var record any
	if err := json.Unmarshal(must(json.Marshal(sealed.Statement.Predicate))(t), &record); err != nil {
		t.Fatal(err)
	}
	resolved := must(schema.Resolve(nil))(t)
	if err := resolved.Validate(record); err != nil {
		t.Error(err)
	}
	record.(map[string]any)["packets"] = "many"
	if resolved.Validate(record) == nil {
		t.Error("the schema allows a count that is a text")
	}
}
