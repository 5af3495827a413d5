// Package yamltext explains mistakes in YAML files in plain words, without names of Go types.
package yamltext

import (
	"errors"
	"fmt"
	"regexp"
	"strings"

	"go.yaml.in/yaml/v4"
)

const maxErrors = 3 // in one message

var (
	mismatch = regexp.MustCompile("^cannot construct !!(\\w+)(?: `(.*)`)? into (.*)$")
	noText   = regexp.MustCompile(`UTF-8|^control characters`)
	unknown  = regexp.MustCompile(`^field (.*) not found in type `)
)

// libyaml are texts of the library about its tokens, in words about the file.
var libyaml = map[string]string{
	"found character that cannot start any token":            "a tab, @, ` or % cannot begin a value; indent with spaces, and put the value in quotes",
	"did not find expected ',' or ']'":                       "a list in brackets needs , or ] here",
	"did not find expected ',' or '}'":                       "a mapping in braces needs , or } here",
	"did not find expected key":                              "expected a key: check the indentation",
	"did not find expected '-' indicator":                    "expected an item of the list, beginning with -: check the indentation",
	"mapping values are not allowed in this context":         "a second : in one line; put the value in quotes",
	"could not find expected ':'":                            "a key without :",
	"found unexpected end of stream":                         "a quoted text has no end",
	"yaml: no documents in stream":                           "the file is empty",
	"yaml: expected single document, found multiple":         "only one document is allowed: remove ---",
	"did not find the expected '>'":                          "a tag needs > here",
	"did not find expected <document start>":                 "text after the end of the document: check the indentation",
	"did not find expected node content":                     "expected a value",
	"block sequence entries are not allowed in this context": "a - cannot begin an item here: put it on a line of its own",
}

// Error explains an error of the YAML library. Other errors stay as they are.
func Error(err error) error {
	var many *yaml.LoadErrors
	var one *yaml.LoadError
	switch {
	case errors.As(err, &many):
		var list []string
		for i, e := range many.Errors {
			if i == maxErrors {
				list = append(list, fmt.Sprintf("and %d more", len(many.Errors)-i))
				break
			}
			list = append(list, explain(e))
		}
		return errors.New(strings.Join(list, "; "))
	case errors.As(err, &one):
		return errors.New(explain(one))
	}
	if err != nil && libyaml[err.Error()] != "" {
		return errors.New(libyaml[err.Error()])
	}
	return err
}

func explain(e *yaml.LoadError) string {
	text := e.Message
	if noText.MatchString(text) {
		return "the file is not text in UTF-8"
	}
	if m := unknown.FindStringSubmatch(text); m != nil {
		text = fmt.Sprintf("unknown field %q", m[1])
	} else if m := mismatch.FindStringSubmatch(text); m != nil {
		found, want := kind(m[1]), target(m[3])
		switch {
		case found == want && m[2] != "":
			text = fmt.Sprintf("%s is out of range", m[2])
		case m[2] != "":
			text = fmt.Sprintf("found %s %q instead of %s", found, m[2], want)
		default:
			text = fmt.Sprintf("found %s instead of %s", found, want)
		}
	}
	if plain, ok := libyaml[text]; ok {
		text = plain
	}
	if rest, ok := strings.CutPrefix(text, "did not find "); ok {
		text = "expected " + strings.TrimPrefix(rest, "expected ")
	}
	if e.Mark.Line == 0 || strings.HasPrefix(text, "line ") { // our own decoders name the line too
		return text
	}
	return fmt.Sprintf("line %d: %.110s", e.Mark.Line, text) // it may repeat a name of any length
}

// kind describes a YAML tag.
func kind(tag string) string {
	switch tag {
	case "str":
		return "text"
	case "int", "float":
		return "a number"
	case "bool":
		return "true or false"
	case "seq":
		return "a list"
	case "map":
		return "a mapping"
	case "null":
		return "nothing"
	}
	return "a value of type " + tag
}

// target describes a type of Go.
func target(t string) string {
	t = strings.TrimLeft(t, "*")
	switch {
	case strings.HasPrefix(t, "["):
		return "a list"
	case t == "string":
		return "text"
	case t == "bool":
		return "true or false"
	case strings.HasPrefix(t, "int"), strings.HasPrefix(t, "uint"), strings.HasPrefix(t, "float"):
		return "a number"
	}
	return "a mapping"
}
