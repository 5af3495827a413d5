package mailhead

import (
	"strings"
	"testing"
)

func TestHead(t *testing.T) {
	for in, want := range map[string]string{
		"Message-ID: <1@a>\r\nSubject: =?utf-8?q?Caf=C3=A9?=\r\nFrom: A\r\n <a@b>\r\nTo: c\r\n\r\nSubject: body\r\n": "1@a|Café|A <a@b>|c",
		"subject: x\n\nbody":              "|x||",
		"Subject: cut":                    "|cut||",
		"Subject: x\r\nno field\r\nTo: c": "|x||",
		"":                                "|||",
		"\r\nSubject: body":               "|||",
		"A: " + strings.Repeat("a", 1<<16) + "\r\nSubject: late\r\n\r\n": "|||",
	} {
		for _, step := range []int{1, 7, len(in) + 1} {
			var h Head
			for rest := in; len(rest) > 0; rest = rest[min(step, len(rest)):] {
				h.Write([]byte(rest[:min(step, len(rest))]))
				if h.Kept() > 3*maxHead {
					t.Fatalf("%d bytes kept", h.Kept())
				}
			}
			h.End()
			if got := h.MessageID.V + "|" + h.Subject.V + "|" + h.From.V + "|" + h.To.V; got != want || h.Kept() != 0 {
				t.Errorf("%.60q in steps of %d: %s, want %s; %d kept", in, step, got, want, h.Kept())
			}
		}
	}
}
