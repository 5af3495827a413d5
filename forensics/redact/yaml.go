package redact

import "strings"

// yaml returns the edits for values of YAML that are on other lines than their secret name: the items and members below
// it, and a value below a line that names it (name: DB_PASSWORD). A Secret of Kubernetes has secret data.
func (t *task) yaml(s string) (edits []edit) {
	if !strings.Contains(s, ":\n") && !strings.Contains(s, ":\r\n") && !strings.Contains(s, "name: ") {
		return nil
	}
	secret := strings.HasPrefix(s, "kind: Secret\n") || strings.Contains(s, "\nkind: Secret\n")
	margin := -1 // of the secret name around the lines, or -1
	text := -1   // margin of a text (|) whose lines are no members
	named := ""  // value of the member name above
	beside := -1 // its margin
	for at, next := 0, 0; at < len(s); at = next {
		line, _, _ := strings.Cut(s[at:], "\n")
		next = at + len(line) + 1
		line = strings.TrimRight(line, " \r")
		body := strings.TrimLeft(line, " ")
		if body == "" || body[0] == '#' {
			continue
		}
		indent := len(line) - len(body)
		item := strings.HasPrefix(body, "- ")
		if margin >= 0 && (indent < margin || indent == margin && !item) {
			margin = -1
		}
		if text >= 0 && indent <= text {
			text = -1
		}
		if text >= 0 {
			continue
		}
		for strings.HasPrefix(body, "- ") {
			body = strings.TrimLeft(body[2:], " ")
		}
		from := at + len(line) - len(body)
		name, value, member := strings.Cut(body, ":")
		member = member && isYAMLName(name) && (value == "" || value[0] == ' ')
		if !member {
			if margin >= 0 && (item || !strings.Contains(body, " ")) {
				edits = t.yamlValue(s, edits, from, at+len(line))
			}
			continue
		}
		column := from - at
		name = strings.Trim(name, `"'`)
		value = strings.TrimLeft(value, " ")
		start := at + len(line) - len(value)
		if beside != column {
			named = ""
		}
		switch {
		case value == "":
			if margin < 0 && (t.secret(nil, name) || secret && indent == 0 && (name == "data" || name == "stringData")) {
				margin = column
			}
		case margin >= 0, name == "value" && named != "" && t.secret(nil, named):
			edits = t.yamlValue(s, edits, start, at+len(line))
		case value[0] == '|' || value[0] == '>':
			text = column
		case name == "name" || name == "key":
			named, beside = strings.Trim(value, `"'`), column
		}
	}
	return edits
}

func (t *task) yamlValue(s string, edits []edit, start, end int) []edit {
	if text := s[start:end]; text == "null" || text == "~" || strings.HasPrefix(strings.Trim(text, `"'`), t.p.mask) {
		return edits
	}
	if q := s[start]; (q == '"' || q == '\'') && end-start > 1 && s[end-1] == q {
		start, end = start+1, end-1
	}
	if end <= start {
		return edits
	}
	return append(edits, t.cover(s, start, end))
}

// isYAMLName reports whether a text may be the name of a member.
func isYAMLName(s string) bool {
	s = strings.Trim(s, `"'`)
	return s != "" && len(s) <= maxName && span(s, 0, len(s), token|dot|slash|high) == len(s)
}
