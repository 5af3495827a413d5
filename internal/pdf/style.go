package pdf

import (
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// Colour is a colour of sRGB.
type Colour struct{ R, G, B int }

// Styles is a style sheet: rules for classes of pictures, with the colours of print.
//
// It reads the part of CSS that pictures of reports use: rules of one element with classes, and
// properties with one value. Other rules are ignored.
type Styles struct {
	colours map[string]Colour
	rules   []rule
}

// rule is the properties of an element with classes.
type rule struct {
	element    string // empty: any
	classes    []string
	properties map[string]string
}

var (
	ruleForm   = regexp.MustCompile(`([^{}]+)\{([^{}]*)\}`)
	colourForm = regexp.MustCompile(`--([a-z0-9-]+):(#[0-9a-f]{3,6})\b`)
)

// ParseStyles reads a style sheet whose block "@media print" has the colours.
func ParseStyles(css string) *Styles {
	screen, print, _ := strings.Cut(css, "@media print{")
	s := &Styles{colours: map[string]Colour{}}
	for _, m := range colourForm.FindAllStringSubmatch(print, -1) {
		s.colours[m[1]] = hex(m[2])
	}
	for _, m := range ruleForm.FindAllStringSubmatch(screen, -1) {
		properties := map[string]string{}
		for _, p := range strings.Split(m[2], ";") {
			if key, value, ok := strings.Cut(p, ":"); ok {
				properties[strings.TrimSpace(key)] = strings.TrimSpace(value)
			}
		}
		for _, selector := range strings.Split(m[1], ",") {
			selector = strings.TrimPrefix(strings.TrimSpace(selector), "svg ")
			if classes := strings.Split(selector, "."); !strings.ContainsAny(selector, " :>[*") {
				s.rules = append(s.rules, rule{classes[0], classes[1:], properties})
			}
		}
	}
	return s
}

// Colour returns a colour of the style sheet by its name; another name is black.
func (s *Styles) Colour(name string) Colour { return s.colours[name] }

// of collects the properties of an element with classes; later rules win.
func (s *Styles) of(element, classes string) map[string]string {
	out := map[string]string{}
	has := strings.Fields(classes)
	for _, r := range s.rules {
		if r.element != "" && r.element != element || !subset(r.classes, has) {
			continue
		}
		maps.Copy(out, r.properties)
	}
	return out
}

func subset(part, all []string) bool {
	for _, p := range part {
		if !slices.Contains(all, p) {
			return false
		}
	}
	return true
}

// value is the colour that a property has; ok is false for none.
func (s *Styles) value(v string) (c Colour, ok bool) {
	if name, found := strings.CutPrefix(v, "var(--"); found {
		c, ok = s.colours[strings.TrimSuffix(name, ")")]
		return c, ok
	}
	if strings.HasPrefix(v, "#") {
		return hex(v), true
	}
	return Colour{}, false
}

// hex reads #rgb and #rrggbb.
func hex(s string) Colour {
	s = strings.TrimPrefix(s, "#")
	if len(s) == 3 {
		s = string([]byte{s[0], s[0], s[1], s[1], s[2], s[2]})
	}
	n, err := strconv.ParseUint(s, 16, 32)
	if err != nil {
		return Colour{}
	}
	return Colour{int(n >> 16 & 255), int(n >> 8 & 255), int(n & 255)}
}

// paler mixes a colour with white; 1 leaves it as it is.
func (c Colour) paler(opacity float64) Colour {
	mix := func(v int) int { return 255 - int(float64(255-v)*opacity+0.5) }
	return Colour{mix(c.R), mix(c.G), mix(c.B)}
}

// number reads a length in pixels.
func number(s string, otherwise float64) float64 {
	v, err := strconv.ParseFloat(strings.TrimSuffix(strings.TrimSpace(s), "px"), 64)
	if err != nil {
		return otherwise
	}
	return v
}
