// Package readme writes README.html of a bundle: a page that explains how to check and open the
// bundle with public tools.
package readme

import (
	"bytes"
	_ "embed"
	"fmt"
	"html/template"
	"sync"
)

//go:embed readme.html.tmpl
var text string

var page = sync.OnceValue(func() *template.Template {
	return template.Must(template.New("").Funcs(template.FuncMap{"first": first}).Parse(text))
})

// maxInputs is the number of capture files that the page lists.
const maxInputs = 100

// Content is the data of the page. It depends on the bundle's data only.
type Content struct {
	Tool        Tool
	First, Last string // times of packets; empty without packets
	Packets     int64
	Calls       []Calls
	Inputs      []Input
	More        int // inputs above maxInputs
	Keys        bool
	Warnings    []string
}

// Tool is the program that made the bundle.
type Tool struct{ Name, Release string }

// Calls is the number of calls of a protocol.
type Calls struct {
	Protocol string
	Count    int64
}

// Input is a capture file in the bundle.
type Input struct {
	Path    string
	Packets int64
	SHA256  string
}

// Page is README.html.
func Page(c Content) ([]byte, error) {
	if n := len(c.Inputs) - maxInputs; n > 0 {
		c.Inputs, c.More = c.Inputs[:maxInputs], n
	}
	var b bytes.Buffer
	if err := page().Execute(&b, c); err != nil {
		return nil, fmt.Errorf("writing README.html: %w", err)
	}
	return b.Bytes(), nil
}

// first is the list's first element, if it has one.
func first(list []Input) []Input { return list[:min(1, len(list))] }
