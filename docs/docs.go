// Package docs has the pages of protocols for the program. Its tests hold all documents to what the
// program does.
package docs

import (
	"embed"
	"strings"
)

//go:embed format/protocols/*.md
var protocolPages embed.FS

// Limit is a row of a protocol's table of limits.
type Limit struct {
	What   string `json:"what"`
	Limit  string `json:"limit"`
	Beyond string `json:"beyond,omitempty"`
}

// Limits reads the tables of the section Limits of a protocol's page.
func Limits(protocol string) (list []Limit) {
	page, err := protocolPages.ReadFile("format/protocols/" + protocol + ".md")
	if err != nil {
		return nil
	}
	_, section, _ := strings.Cut(string(page), "\n## Limits")
	section, _, _ = strings.Cut(section, "\n## ")
	reads := false
	for line := range strings.Lines(section) {
		cells := strings.Split(strings.Trim(strings.TrimSpace(line), "|"), " | ")
		for i := range cells {
			cells[i] = strings.TrimSpace(strings.ReplaceAll(cells[i], "`", ""))
		}
		switch {
		case !strings.HasPrefix(line, "| "):
			reads = reads && strings.HasPrefix(line, "|-")
		case len(cells) > 1 && (cells[1] == "limit" || cells[0] == "limit" && cells[1] == "value"):
			reads = true
		case reads && len(cells) > 1:
			l := Limit{What: cells[0], Limit: cells[1]}
			if len(cells) > 2 {
				l.Beyond = cells[2]
			}
			list = append(list, l)
		}
	}
	return list
}
