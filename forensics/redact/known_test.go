package redact

import (
	"slices"
	"strings"
	"testing"
)

func TestKnownMasksEveryForm(t *testing.T) {
	values := []string{"ghp_16C7e42F292c6912E7710c838347Ae178B4a", "xoxb-123456789012-1234567890123-AbCdEfGhIjKlMnOpQrStUvWx", "sk_live_51HplantedZq0123456789abcdef", "a&b=\"c d\"/é<1>", "Zq00xK7-planted_00vV"}
	c := Default().Collect()
	for _, v := range values[:3] {
		c.Text("text/plain", "see "+v)
	}
	for _, v := range values[3:] {
		c.Header("X-Api-Key", v)
	}
	k := c.Known()
	for _, v := range values {
		for _, f := range forms(v) {
			if out := k.Mask("before " + f + " after"); len(f) >= leastKnown && strings.Contains(out, f) {
				t.Errorf("%q is not masked in %q", f, out)
			}
		}
	}
	for _, f := range []string{"a%26b%3d%22c+d", "%5a%71%30%30%78%4b%37%2d%70", "%5A%71%30%30%78%4B%37%2D%70", `\u005a\u0071\u0030\u0030\u0078`, `\x5a\x71\x30\x30\x78`} {
		if !slices.ContainsFunc(append(forms(values[3]), forms(values[4])...), func(form string) bool { return strings.HasPrefix(form, f) }) {
			t.Errorf("no value is written like %s", f)
		}
	}
	if out := k.Mask("nothing here, page_size=20"); out != "nothing here, page_size=20" {
		t.Errorf("masked %q", out)
	}
	var none *Known
	if none.Mask("Zq00xK7-planted_00vV") == Mask {
		t.Error("nil masks")
	}
}

// TestKnownValuesAreNoWords keeps answers readable: short values and words stay.
func TestKnownValuesAreNoWords(t *testing.T) {
	c := Default().Collect()
	c.Text("application/json", `{"password":"secret","token":"abc","pin":"1234","session":"checkout","auth":"Bearer","api_key":"`+Mask+`"}`)
	c.Header("Set-Cookie", "lang=en; Path=/account-pages; Domain=.shop.example; SameSite=Lax")
	c.Text("application/javascript", `document.cookie="lang=en; path=/account-pages; domain=.shop.example"`)
	delete(c.values, "lang=en; path=/account-pages; domain=.shop.example") // the text of the script
	if k := c.Known(); k != nil {
		t.Errorf("known: %v", c.values)
	}
}
