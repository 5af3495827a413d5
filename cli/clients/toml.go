package clients

import (
	"bytes"
	"errors"
	"regexp"
	"strings"
)

const tomlList = "mcp_servers"

// tomlHeader matches the first line of a table.
var tomlHeader = regexp.MustCompile(`^[ \t]*\[\[?[^\[\]]+\]\]?[ \t]*(#.*)?\r?\n?$`)

// errTOML reports a configuration that lines alone do not explain.
var errTOML = errors.New("has values over several lines or servers in inline tables, which only a person can edit safely")

// tomlSections returns the bytes of the tables of a server: from the header to the next table of something else.
func tomlSections(text []byte, name string) (from, to int, err error) {
	if bytes.Contains(text, []byte(`"""`)) || bytes.Contains(text, []byte("'''")) {
		return 0, 0, errTOML
	}
	from, to = -1, -1
	at, table := 0, ""
	for line := range bytes.Lines(text) {
		switch key := tomlKey(line); {
		case tomlHeader.Match(line):
			table = key
			inside := key == tomlList+"."+name || strings.HasPrefix(key, tomlList+"."+name+".")
			switch {
			case inside && to >= 0:
				return 0, 0, errTOML // in two places
			case inside && from < 0:
				from = at
			case !inside && from >= 0 && to < 0:
				to = at
			}
		case strings.TrimLeft(string(line), " \t\r\n") == "" || key == "":
		case table == "" && (key == tomlList || strings.HasPrefix(key, tomlList+".")), table == tomlList && (key == name || strings.HasPrefix(key, name+".")):
			return 0, 0, errTOML
		}
		at += len(line)
	}
	if from >= 0 && to < 0 {
		to = len(text)
	}
	if from >= 0 { // comments before the next table belong to it
		body := text[from:to]
		for end := len(body); end > 0; {
			start := bytes.LastIndexByte(body[:end-1], '\n') + 1
			if l := bytes.TrimSpace(body[start:end]); start == 0 || len(l) > 0 && l[0] != '#' {
				break
			}
			to, end = from+start, start
		}
	}
	return from, to, nil
}

// tomlKey is the name in a header, or the key of a value, without quotes and spaces; "" if the line has none.
func tomlKey(line []byte) string {
	l := strings.TrimSpace(string(line))
	if strings.HasPrefix(l, "#") {
		return ""
	}
	if strings.HasPrefix(l, "[") {
		l, _, _ = strings.Cut(strings.TrimLeft(l, "["), "]")
	} else {
		key, _, value := strings.Cut(l, "=")
		if !value {
			return ""
		}
		l = key
	}
	return strings.NewReplacer(`"`, "", "'", "", " ", "", "\t", "").Replace(l)
}

// tomlOurs matches a table that starts pcapsule mcp.
var tomlOurs = regexp.MustCompile(`(?m)^command = "[^"\n]*pcapsule(\.exe)?"\r?\nargs = \["mcp"`)

func tomlText(name, command string, args []string) []byte {
	list := make([]string, len(args))
	for i, a := range args {
		list[i] = string(encoded(a, "", ""))
	}
	return []byte("[" + tomlList + "." + name + "]\ncommand = " + string(encoded(command, "", "")) + "\nargs = [" + strings.Join(list, ", ") + "]\n")
}

// setTOML returns a configuration with a server's table added or replaced.
func setTOML(text []byte, name string, entry []byte) ([]byte, error) {
	from, to, err := tomlSections(text, name)
	if err != nil {
		return nil, err
	}
	if from >= 0 {
		return splice(text, from, to, entry), nil
	}
	out := bytes.Clone(text)
	if len(out) > 0 && !bytes.HasSuffix(out, []byte("\n")) {
		out = append(out, '\n')
	}
	if len(out) > 0 {
		out = append(out, '\n')
	}
	return append(out, entry...), nil
}

// unsetTOML returns a configuration without a server's tables.
func unsetTOML(text []byte, name string) ([]byte, error) {
	from, to, err := tomlSections(text, name)
	if err != nil || from < 0 {
		return text, err
	}
	if bytes.HasSuffix(text[:from], []byte("\n\n")) {
		from--
	}
	return splice(text, from, to, nil), nil
}
