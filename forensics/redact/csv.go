package redact

// csvKinds are the content types of tables with a line of names (RFC 4180, section 3), by the sign between fields.
var csvKinds = map[string]byte{"text/csv": ',', "application/csv": ',', "application/vnd.ms-excel": ',', "text/comma-separated-values": ',', "text/tab-separated-values": '\t'}

// csv masks the columns of a table whose names, in the first line, are secret, and searches the rest.
func (t *task) csv(s string, comma byte) string {
	var edits []edit
	var secret []bool
	for i, line, column := 0, 0, 0; i < len(s); {
		start, end, next := csvField(s, i, comma)
		switch {
		case line == 0:
			secret = append(secret, t.secret(nil, s[start:end]))
		case column < len(secret) && secret[column] && end > start && s[start:end] != t.p.mask:
			edits = append(edits, t.cover(s, start, end))
		}
		if column++; after(s, next) != comma {
			line, column = line+1, 0
		}
		i = next + 1
	}
	byColumn := edits
	for _, e := range t.assignments(s) {
		if !inside(byColumn, e.start, e.end) {
			edits = append(edits, e)
		}
	}
	return apply(s, t.hits(s, tidy(edits)))
}

// csvField returns the text of the field at i without its quotes, and the position after it, of a comma or the end of the
// line. Quotes inside the text are doubled (RFC 4180, section 2).
func csvField(s string, i int, comma byte) (start, end, next int) {
	start, next = i, i
	if after(s, i) == '"' {
		start, end = i+1, min(quoteEnd(s, i, '"'), len(s))
		next = end
	}
	for next < len(s) && s[next] != comma && s[next] != '\n' {
		next++
	}
	if start == i {
		end = next
		if before(s, end) == '\r' && end > start {
			end--
		}
	}
	return start, max(start, end), next
}
