// Package docs has the pages of protocols for the program. Its tests hold all documents to what the
// program does.
package docs

import (
	"embed"
	"strings"
)

//go:embed format/protocols/*.md
var protocolPages embed.FS

// Limit is an item of a protocol's list of limits.
type Limit struct {
	What   string `json:"what"`
	Limit  string `json:"limit"`
	Beyond string `json:"beyond,omitempty"`
}

// Limits reads the list with dashes of the section Limits of a protocol's page. An item is
// "- WHAT: LIMIT (beyond: WHAT HAPPENS)".
func Limits(protocol string) (list []Limit) {
	page, err := protocolPages.ReadFile("format/protocols/" + protocol + ".md")
	if err != nil {
		return nil
	}
	_, section, _ := strings.Cut(string(page), "\n## Limits\n")
	section, _, _ = strings.Cut(section, "\n## ")
	for _, item := range strings.Split("\n"+section, "\n- ")[1:] {
		item, _, _ = strings.Cut(item, "\n\n")
		what, limit, ok := strings.Cut(strings.ReplaceAll(strings.Join(strings.Fields(item), " "), "`", ""), ": ")
		if !ok {
			continue
		}
		l := Limit{What: what, Limit: limit}
		if limit, beyond, ok := strings.Cut(limit, " (beyond: "); ok {
			l.Limit, l.Beyond = limit, strings.TrimSuffix(beyond, ")")
		}
		list = append(list, l)
	}
	return list
}
