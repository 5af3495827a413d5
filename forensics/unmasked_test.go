package forensics_test

import (
	"testing"

	"github.com/pcapsule/pcapsule/forensics"
)

func TestUnmaskedIsForComparing(t *testing.T) {
	c, err := forensics.Open(ctx, []string{sample(t, "shop.pcapng")}, forensics.Options{MaskSecrets: true})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	const tokens = "select count(distinct h.value) from (select unnest(headers) as h from calls) where lower(h.name) = 'authorization'"
	whole, err := c.Unmasked(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if n := number(t, c, tokens); n != 1 {
		t.Errorf("masked: %d values", n)
	}
	if n := number(t, whole, tokens); n < 2 {
		t.Errorf("unmasked: %d values", n)
	}
	if again, err := c.Unmasked(ctx); err != nil || again != whole {
		t.Errorf("it is opened twice: %v", err)
	}
}
