package redact

import (
	"strings"
	"testing"
)

// Find is FindBytes for a text.
func Find(text string) []Match { return everything().find(text) }

func TestDetectors(t *testing.T) {
	for _, tt := range []struct{ name, text, want string }{
		{"a Visa card", "card 4111111111111111 ok", "card=4111 11** **** 1111"},
		{"a card in groups", "4111 1111 1111 1111", "card=4111 11** **** 1111"},
		{"an American Express card with dashes", "3782-822463-10005", "card=3782 82** ***0 005"},
		{"a card with a wrong check digit", "4111111111111112", ""},
		{"a card number that is not issued", "4444444444444444 0000000000000000", ""},
		{"a time in nanoseconds", "1767225600000000000 1767225600000", ""},
		{"a card inside a longer word", "x4111111111111111 4111111111111111y 0.4111111111111111", ""},
		{"a social security number", "ssn: 123-45-6789.", "ssn=***-**-6789"},
		{"numbers that are not assigned", "000-12-3456 666-12-3456 912-12-3456 123-00-4567 123-45-0000", ""},
		{"a date or a part of a longer number", "2026-01-02 1123-45-6789 123-45-67890", ""},
		{"an account number", "DE89370400440532013000", "iban=DE** ************** 3000"},
		{"an account number in groups", "to GB29 NWBK 6016 1331 9268 19 please", "iban=GB** ************** 6819"},
		{"an account number with wrong check digits", "DE88370400440532013000", ""},
		{"an email address", "from <ann.lee+x@mail.example.com>.", "email=a***@mail.example.com"},
		{"addresses of SIP", "<sip:ann@shop.example>;tag=1 SIPS:bob@shop.example:5061 gossip:ann@shop.example", "sip_address=a***@shop.example sip_address=b***@shop.example email=a***@shop.example"},
		{"no email address", "a@b @x.com user@localhost x@1.2.3", ""},
		{"a phone number with country code", "+49 30 1234-5678", "phone=+4*********78"},
		{"a North American number", "call (212) 555-0187 or 212-555-0188", "phone=***-***-**87 phone=***-***-**88"},
		{"a token of JWT", "x=eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2lnbmF0dXJl", "jwt=eyJ[masked]"},
		{"a bearer token", "Authorization: Bearer abcdef0123456789abcdef", "bearer=Bearer [masked]"},
		{"prose about bearers", "the bearer of this long-winded-document", ""},
		{"basic credentials", "Basic dXNlcjpwYXNz", "basic=Basic [masked]"},
		{"an AWS key", "AKIAIOSFODNN7EXAMPLE", "aws_access_key=AKIA************MPLE"},
		{"an AWS secret", `aws_secret_access_key = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"`, "aws_secret_key=[masked]"},
		{"a Google key", "key=AIzaSyA1234567890abcdefghijklmnopqrstuv", "gcp_key=AIza[masked]"},
		{"an Azure key", "AccountName=a;AccountKey=" + strings.Repeat("Ab1+", 21) + "Cd==;", "azure_key=[masked]"},
		{"a GitHub token", "ghp_" + strings.Repeat("a1", 18), "github_token=ghp_[masked]"},
		{"a Slack token", "xoxb-123456789012-abcdef", "slack_token=xoxb-[masked]"},
		{"a Slack webhook", "https://hooks.slack.com/services/T00000000/B00000000/XXXXXXXX", "slack_token=hooks.slack.com/services/[masked]"},
		{"an npm token", "//registry/:_authToken=npm_" + strings.Repeat("a1", 18), "service_token=npm_[masked]"},
		{"a SendGrid key", "SG." + strings.Repeat("aB1-", 5) + "." + strings.Repeat("xY2_", 10), "service_token=SG.[masked]"},
		{"a token of Doppler", "dp.pt." + strings.Repeat("aB1", 14), "service_token=dp.pt.[masked]"},
		{"a token of a bot", "/bot123456789:AA" + strings.Repeat("a1x", 11) + "/getMe", "service_token=123456789:[masked]"},
		{"words like prefixes", "npm_install sk-learn hf_hub desk-abcdefghij0123456789abcdefghij0123456789abcdefghij SG.1 12:AA", ""},
		{"a link to reset a password", "/reset-password/1f9UmdIdPE6X8nBALzbF?x=1", "path_token=[masked]"},
		{"a hook", "POST /hooks/0f3e-77aa-41bd-99c2/push", "path_token=[masked]"},
		{"a hook of Slack without its host", "/services/T0AAAAAAA/B0AAAAAAA/jX1aIdWEfAkkNkdCDvFH", "slack_token=[masked]"},
		{"paths without tokens", "/orders/0f3e77aa41bd99c20f3e /verify/email/now /tokens/list-of-all-the-tokens /confirm/2026 /share/report-2026-quarter.pdf", ""},
		{"a private key", "a\n-----BEGIN RSA PRIVATE KEY-----\nMII\n-----END RSA PRIVATE KEY-----\nb", "private_key=-----BEGIN RSA PRIVATE KEY-----[masked]"},
		{"a private key that is cut", "-----BEGIN PRIVATE KEY-----\nMII", "private_key=-----BEGIN PRIVATE KEY-----[masked]"},
		{"a certificate", "-----BEGIN CERTIFICATE-----\nMII\n-----END CERTIFICATE-----", ""},
		{"a password in a URL", "postgres://app:s3cret@db:5432/x", "url_password=[masked]"},
		{"a URL without", "http://example.com:80/a@b", ""},
	} {
		var got []string
		for _, m := range Find(tt.text) {
			got = append(got, m.Kind+"="+m.Masked)
		}
		if g := strings.Join(got, " "); g != tt.want {
			t.Errorf("%s: %q, want %q", tt.name, g, tt.want)
		}
	}
}

func TestDetectorAlone(t *testing.T) {
	text := "ann@example.com 123-45-6789 Bearer 0123456789abcdef"
	for _, d := range Detectors() {
		want := map[string]string{"email": "ann@example.com", "ssn": "123-45-6789", "bearer": "Bearer 0123456789abcdef"}[d.Kind]
		got := ""
		for _, m := range d.Find(text) {
			got += text[m.Start:m.End]
		}
		if got != want {
			t.Errorf("%s: %q, want %q", d.Kind, got, want)
		}
		if d.Doc == "" || d.Class != Credential && d.Class != Personal {
			t.Errorf("%s: class %q, doc %q", d.Kind, d.Class, d.Doc)
		}
	}
}

func FuzzText(f *testing.F) {
	for _, s := range []string{`{"a":{"password":"x"},"b":[4111111111111111,"\u0034111 1111 1111 1111"]}`, "user=a&password=b&c[d]=1", "<a pwd='x'><password>y</password></a>",
		"SET PASSWORD 'x'; INSERT INTO t (a, password) VALUES (1, 'x')", "token: abc\nAuthorization: Bearer 0123456789abcdef", `"{\"password\":\"x\"`, "-----BEGIN PRIVATE KEY-----",
		"DE89370400440532013000 +49 30 12345678 a@b.cd eyJhbGciOiJ.eyJzdWIiO.c xoxb-1234567890", "AUTH a b\r\nHSET u password x", "--x\r\nContent-Disposition: form-data; name=\"password\"\r\n\r\ns\r\n--x--"} {
		for _, kind := range []string{"", "sql", "command", "application/json", "multipart/form-data; boundary=x"} {
			f.Add(kind, s)
		}
	}
	all, err := Parse([]byte("version: 1\ndetectors: [all]\nkeys: [\"user.card.*\"]\npatterns: [{name: order, match: 'ORD-\\d+'}]"))
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, kind, s string) {
		out, n := all.Text(kind, s)
		if n == 0 && out != s {
			t.Fatalf("nothing masked, but %q became %q", s, out)
		}
		end := 0
		for _, m := range Find(s) {
			if m.Start < end || m.End <= m.Start || m.End > len(s) {
				t.Fatalf("hit %+v after %d in %q", m, end, s)
			}
			end = m.End
		}
		all.Params(s, []string{s, kind})
	})
}

func TestMagneticStripes(t *testing.T) {
	for text, want := range map[string]string{
		";4111111111111111=26121010000012300000?":                    "track_data 4111 11** **** 1111 ***",
		"%B4111111111111111^DOE/JANE^2612101000000?":                 "track_data 4111 11** **** 1111 ***",
		"4111111111111111=261":                                       "card 4111 11** **** 1111",
		"B4111111111111111^DOE/JANE^2612101000000?":                  "",
		"%B4111111111111112^DOE/JANE^2612101000000?":                 "",
		"%B4111111111111111^" + strings.Repeat("A", 27) + "^2612101": "",
	} {
		var got []string
		for _, m := range Find(text) {
			got = append(got, m.Kind+" "+m.Masked)
			if m.Kind == "track_data" && strings.TrimLeft(text[m.End:], "?") != "" {
				t.Errorf("%s: ends at %d", text, m.End)
			}
		}
		if strings.Join(got, ", ") != want {
			t.Errorf("%s: %q, want %q", text, got, want)
		}
	}
}

func TestCardCodesAndPINBlocks(t *testing.T) {
	for text, want := range map[string]string{
		`{"cvv":"123"}`: "card_code 123", `{"CVC2": 1234}`: "card_code 1234", `card_cvv=123&x=1`: "card_code 123", `<cvv2>123</cvv2>`: "card_code 123",
		`{"security_code":"123"}`: "card_code 123", `{"cardSecurityCode":"1234"}`: "card_code 1234", `{"cardCode":"123"}`: "card_code 123", `{\"cvv\":\"123\"}`: "card_code 123",
		`{"pinBlock":"0A1B2C3D4E5F6071"}`: "pin_block 0A1B2C3D4E5F6071", `pin_block=0a1b2c3d4e5f6071`: "pin_block 0a1b2c3d4e5f6071",
		`{"cvv":"12345"}`: "", `{"cvv":"12"}`: "", `{"cvv":"12a"}`: "", `{"code":"123"}`: "", `-code=123`: "", `{"discount_code":"123"}`: "", `{"card":"123"}`: "", `{"received":"123"}`: "", `recvd=123`: "",
		`{"pinBlock":"0A1B2C3D4E5F60"}`: "", `{"pinBlock":"0A1B2C3D4E5F607Z"}`: "", `{"block":"0A1B2C3D4E5F6071"}`: "", `cv:123`: "", `>123`: "", `e>1`: "",
	} {
		got := ""
		for _, m := range Find(text) {
			got += m.Kind + " " + text[m.Start:m.End]
		}
		if got != want {
			t.Errorf("%s: %q, want %q", text, got, want)
		}
	}
}
