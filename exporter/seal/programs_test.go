package seal_test

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/pcapsule/pcapsule/exporter/bundle"
	"github.com/pcapsule/pcapsule/exporter/seal"
)

func TestProgramsAreListedWithTheirPlaces(t *testing.T) {
	b := made(t, "dns.pcap")
	verified := func() *bundle.Report { return must(bundle.Verify(ctx, b.Dir, nil))(t) }
	if v := seal.StatedPrograms(seal.Programs(verified())); v.State != seal.NotChecked {
		t.Errorf("no program: %+v", v)
	}
	sum := bundle.Digest{7}
	for range 2 {
		if _, err := seal.Sign(ctx, b, seal.Options{Signers: []seal.Signer{ed(t, "Ann")}, With: seal.Tool{Name: "pcapsule", Release: "1", SHA256: &sum},
			Request: seal.Request{Images: []string{"sha256:00"}}}); err != nil {
			t.Fatal(err)
		}
	}
	r := verified()
	r.Content.Inputs = append(r.Content.Inputs, r.Content.Inputs[0])
	for i := range r.Content.Inputs {
		r.Content.Inputs[i].Segment = &bundle.Segment{Programs: []bundle.Program{{Name: "tc", SHA256: bundle.Digest{9}}}}
	}
	list := seal.Programs(r)
	var got []string
	for _, p := range list {
		got = append(got, p.String()+" in "+strings.Join(p.Places, ", "))
	}
	want := "binary pcapsule 1 sha256:07" + strings.Repeat("0", 62) + " in custody/seal-000.dsse.json, custody/seal-001.dsse.json\n" +
		"bpf tc sha256:09" + strings.Repeat("0", 62) + " in data/bundle.json\n" +
		"image sha256:00 in custody/seal-000.dsse.json, custody/seal-001.dsse.json"
	if text := strings.Join(got, "\n"); text != want {
		t.Errorf("programs\n%s\nwant\n%s", text, want)
	}
	if list := seal.Programs(must(bundle.Verify(ctx, makeWith(t, "dns.pcap", bundle.ThisProgram).Dir, nil))(t)); len(list) != 1 || list[0].Name != "pcapsule test" ||
		list[0].Digest != "sha256:"+bundle.ThisProgram().String() || !slices.Equal(list[0].Places, []string{"custody/log.jsonl"}) {
		t.Errorf("a bundle that states its program: %v", list)
	}
	v := seal.StatedPrograms(list)
	for _, p := range list {
		if v.State != seal.Yes || !strings.Contains(v.Detail, p.Digest) {
			t.Errorf("%+v lacks %s", v, p)
		}
	}
	put(t, b.Dir, "custody/seal-000.dsse.json", "{}")
	if list := seal.Programs(verified()); len(list) != 2 || len(list[0].Places) != 1 {
		t.Errorf("a seal that cannot be read: %v", list)
	}
	if err := os.Remove(filepath.Join(b.Dir, "data/bundle.json")); err != nil {
		t.Fatal(err)
	}
	seal.Programs(verified())
}
