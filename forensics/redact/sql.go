package redact

import (
	"slices"
	"strconv"
	"strings"
)

// nameless is a quick check by words whether a statement or a command has no secret names. Most have
// none, and parsing is ten times as expensive. It returns false for a text with signs that could hide
// a name or contain another kind of text.
func (t *task) nameless(s string) bool {
	for i := 0; i < len(s); {
		if strings.IndexByte("\"`[{\\%&", s[i]) >= 0 {
			return false
		}
		n := span(s, i, len(s), word|high|dash)
		if n > 0 && (t.named(s[i:i+n]) || opens(s, i+n) && reachesOut(s[i:i+n]) > 0) {
			return false
		}
		i += max(n, 1)
	}
	return true
}

// named reports whether a word, or a part of it, may be the name of a secret. A dash may be a minus,
// and other characters outside ASCII may be signs.
func (t *task) named(run string) bool {
	if t.judge(run) != no || strings.EqualFold(run, "identified") || strings.EqualFold(run, "auth") || strings.EqualFold(run, "auth2") || strings.EqualFold(run, "setuser") || len(run) >= len("crypt") && keyed[strings.ToLower(run)] {
		return true
	}
	for _, between := range []class{dash, high, dash | high} {
		odd := func(r rune) bool { return r >= 0x80 && between&high != 0 || r == '-' && between&dash != 0 }
		if strings.IndexFunc(run, odd) >= 0 && slices.ContainsFunc(strings.FieldsFunc(run, odd), t.named) {
			return true
		}
	}
	return false
}

// SQL masks the literals of a statement that belong to a secret column, or that are secret by their
// form.
func (p *Policy) SQL(statement string) string {
	t := task{p: p}
	return t.sql(statement)
}

// Params masks the parameters of a statement that belong to a secret column, and searches the others.
func (p *Policy) Params(statement string, params []string) []string {
	t := task{p: p}
	return t.params(statement, params)
}

func (t *task) params(statement string, params []string) []string {
	secret := t.secretPlaces(statement)
	out := make([]string, len(params))
	for i, v := range params {
		if out[i] = t.text("", v, 1); secret[i] && v != "NULL" {
			out[i] = t.value(v)
		}
	}
	return out
}

// secretPlaces returns the places of the parameters of a statement that belong to secret columns.
func (t *task) secretPlaces(statement string) map[int]bool {
	secret := map[int]bool{}
	var places map[int]int
	t.literals(statement, func(tok sqlToken) {
		if tok.kind != sqlParam {
			return
		}
		if places == nil {
			places = placesOf(statement)
		}
		secret[places[tok.start]] = true
	})
	return secret
}

// placesOf maps the offset of each parameter in a statement to its place in the list of values: that of its number, or else
// the order of appearance, in which a name counts once.
func placesOf(statement string) map[int]int {
	places, names := map[int]int{}, map[string]int{}
	list, _ := sqlTokens(statement)
	for _, tok := range list {
		if tok.kind != sqlParam {
			continue
		}
		word := statement[tok.start:tok.end]
		place, known := names[word]
		if n, err := strconv.ParseUint(word[1:], 10, 16); err == nil {
			place = int(n) - 1
		} else if !known {
			place = len(names)
			if word == "?" {
				word = strconv.Itoa(place)
			}
			names[word] = place
		}
		places[tok.start] = place
	}
	return places
}

func (t *task) sql(s string) string {
	if t.nameless(s) {
		return t.words(s)
	}
	return t.statement(s)
}

// statement is sql without the quick check.
func (t *task) statement(s string) string {
	var edits []edit
	t.literals(s, func(tok sqlToken) {
		if tok.kind == sqlParam || tok.end <= tok.start || s[tok.start:tok.end] == t.p.mask {
			return
		}
		e := t.cover(s, tok.start, tok.end)
		if tok.kind == sqlOther {
			e.with = "'" + e.with + "'"
		}
		edits = append(edits, e)
	})
	edits = tidy(edits)
	return apply(s, t.hits(s, append(edits, t.assigned(s, edits)...)))
}

// assigned returns edits for the values of names in literals and comments, such as password= in a connection string, and
// in statements about logins inside literals, as in dynamic SQL and in logs.
func (t *task) assigned(s string, have []edit) (edits []edit) {
	list, comments := sqlTokens(s)
	for _, tok := range append(list, comments...) {
		text := s[tok.start:min(tok.end, len(s))]
		if tok.kind != sqlText && !tok.double || !strings.ContainsAny(text, "=:'\"") || inside(have, tok.start, tok.end) {
			continue
		}
		for _, e := range t.assignments(text) {
			edits = append(edits, edit{tok.start + e.start, tok.start + e.end, e.with})
		}
	}
	return edits
}

// isOperator reports whether a token may occur between a column and a value.
func isOperator(tok sqlToken) bool {
	switch tok.kind {
	case sqlSign:
		return strings.Contains("=<>!:~|", tok.word)
	case sqlWord:
		switch strings.ToUpper(tok.word) {
		case "LIKE", "ILIKE", "IN", "IS", "NOT", "BY", "TO", "AS", "WITH", "ANY", "ENCRYPTED", "UNENCRYPTED", "VALUES", "RLIKE", "E", "N", "X":
			return true
		}
	}
	return false
}

// keyed are functions whose arguments are keys and passwords.
var keyed = map[string]bool{
	"crypt": true, "pgp_sym_encrypt": true, "pgp_sym_decrypt": true, "pgp_sym_encrypt_bytea": true, "pgp_sym_decrypt_bytea": true, "pgp_pub_decrypt": true, "pgp_pub_decrypt_bytea": true,
	"encrypt": true, "decrypt": true, "encrypt_iv": true, "decrypt_iv": true, "hmac": true, "aes_encrypt": true, "aes_decrypt": true, "des_encrypt": true, "des_decrypt": true, "old_password": true,
	"encryptbypassphrase": true, "decryptbypassphrase": true, "pwdencrypt": true, "pwdcompare": true,
}

// opens reports whether a parenthesis opens after a word that ends at i.
func opens(s string, i int) bool {
	for i < len(s) && s[i] <= ' ' {
		i++
	}
	return after(s, i) == '('
}

// reachesOut returns the first argument that may be a credential of a function that reads or writes elsewhere, by position;
// 0 for all other words. They are ClickHouse's table functions and engines, see its documentation under each name.
func reachesOut(word string) int {
	if len(word) < 2 || len(word) > 24 {
		return 0
	}
	switch strings.ToLower(word) {
	case "s3", "gcs", "cosn", "oss", "hudi", "iceberg", "icebergs3", "deltalake", "deltalakes3", "s3queue": // URL, key, secret
		return 1
	case "s3cluster", "icebergs3cluster", "deltalakecluster", "hudicluster", "remote", "remotesecure": // a name or address before
		return 2
	case "mysql", "postgresql", "mongodb", "azureblobstorage", "azurequeue", "icebergazure": // address, database, table, user, password
		return 3
	case "azureblobstoragecluster", "redis":
		return 4
	}
	return 0
}

// literals calls do for the values of secret columns: after the column's name and an operator, or at
// its position in an INSERT.
func (t *task) literals(s string, do func(sqlToken)) {
	list, _ := sqlTokens(s)
	var places []bool // secret positions in the columns of an INSERT
	rowsAt := 0       // the token after VALUES without columns before it
	for i := 0; i < len(list); i++ {
		tok := list[i]
		if tok.kind == sqlSign && tok.word == "(" {
			t.compared(list, i, do)
			continue
		}
		if tok.kind == sqlText && i+2 < len(list) && list[i+1].word == "," && list[i+2].kind == sqlText && t.secretWord(s[tok.start:tok.end]) { // 'name', 'value'
			do(list[i+2])
			i += 2
		}
		if tok.kind != sqlWord {
			continue
		}
		if strings.EqualFold(tok.word, "into") {
			places = t.columns(list, i+1)
			continue
		}
		if strings.EqualFold(tok.word, "values") && places != nil {
			i = rows(list, i+1, places, do)
			places = nil
			continue
		}
		if strings.EqualFold(tok.word, "values") {
			rowsAt = i + 1
			continue
		}
		if rowsAt > 0 && i+1 < len(list) && list[i+1].word == "(" && (list[i-1].word == ")" || strings.EqualFold(list[i-1].word, "as")) { // (VALUES …) AS t (columns)
			rows(list, rowsAt, t.columns(list, i+1), do)
			rowsAt = 0
			continue
		}
		if strings.EqualFold(tok.word, "replace") && i+1 < len(list) && list[i+1].isLiteral() && t.passwords() { // MySQL: the password until now
			do(list[i+1])
			continue
		}
		if keyed[strings.ToLower(tok.word)] && i+1 < len(list) && list[i+1].word == "(" && t.passwords() {
			i = valuesOf(list, i+1, do) - 1
			continue
		}
		if from := reachesOut(tok.word); from > 0 && i+1 < len(list) && list[i+1].word == "(" && t.passwords() {
			i = argumentsOf(list, i+1, from, do) - 1
			continue
		}
		var path []string
		if i >= 2 && list[i-1].word == "." && list[i-2].kind == sqlWord {
			path = []string{list[i-2].word}
		}
		name := tok.word
		if strings.EqualFold(name, "identified") {
			name = "identified_by"
			if i+2 < len(list) && (strings.EqualFold(list[i+1].word, "with") || strings.EqualFold(list[i+1].word, "via")) {
				i += 2 // the plugin
			}
		}
		if !t.secret(path, name) {
			continue
		}
		if before := i - 1 - 2*len(path); before > 0 && list[before].word == "=" && list[before-1].isLiteral() { // 'value' = column
			do(list[before-1])
		}
		if strings.EqualFold(name, "password") && i+1 < len(list) && strings.EqualFold(list[i+1].word, "for") { // a user
			to := slices.IndexFunc(list[i:min(i+8, len(list))], func(tok sqlToken) bool { return tok.word == "=" })
			i += max(to-1, 0)
		}
		i = valuesOf(list, i+1, do) - 1
	}
}

// compared calls do for the secret values of (column, …) = (value, …) and (column, …) IN ((value, …), …), whose columns begin
// at token i.
func (t *task) compared(list []sqlToken, i int, do func(sqlToken)) {
	end := i + 1
	for end < len(list) && (list[end].kind == sqlWord || list[end].word == "," || list[end].word == ".") {
		end++
	}
	if end+2 >= len(list) || list[end].word != ")" || list[end+2].word != "(" || list[end+1].word != "=" && !strings.EqualFold(list[end+1].word, "in") {
		return
	}
	if end += 2; end+1 < len(list) && list[end+1].word == "(" {
		end++
	}
	rows(list, end, t.columns(list, i), do)
}

// valuesOf calls do for the literals of a column from token i on: one, a list in parentheses, or those
// in the arguments of a function. It returns the next token.
func valuesOf(list []sqlToken, i int, do func(sqlToken)) int {
	depth, operator := 0, false
	for ; i < len(list); i++ {
		switch tok := list[i]; {
		case tok.isLiteral() || tok.double && operator:
			if do(tok); depth == 0 {
				return i + 1
			}
		case tok.kind == sqlSign && tok.word == "(":
			depth++
			operator = true
		case tok.kind == sqlSign && tok.word == ")":
			if depth--; depth <= 0 {
				return i + 1
			}
		case depth > 0 && tok.kind == sqlWord && strings.EqualFold(tok.word, "select"): // its literals are of other columns
			return i
		case isOperator(tok):
			operator = true
		case depth == 0 && !(operator && tok.kind == sqlWord && i+1 < len(list) && list[i+1].word == "("):
			return i
		}
	}
	return i
}

// argumentsOf calls do for the texts and parameters in the arguments of a function from number from on, counted from 0.
// Its parenthesis is token i. It returns the next token.
func argumentsOf(list []sqlToken, i, from int, do func(sqlToken)) int {
	depth, place := 0, 0
	for ; i < len(list); i++ {
		switch tok := list[i]; {
		case tok.kind == sqlSign && tok.word == "(":
			depth++
		case tok.kind == sqlSign && tok.word == ")":
			if depth--; depth == 0 {
				return i + 1
			}
		case tok.kind == sqlSign && tok.word == "," && depth == 1:
			place++
		case place >= from && (tok.kind == sqlText || tok.kind == sqlParam):
			do(tok)
		}
	}
	return i
}

// columns returns the secret positions of the columns in parentheses after a table's name, or nil.
func (t *task) columns(list []sqlToken, i int) (places []bool) {
	table := ""
	for n := 0; i < len(list) && list[i].word != "("; n++ {
		if n > 8 || list[i].kind != sqlWord && list[i].word != "." {
			return nil
		}
		if list[i].kind == sqlWord {
			table = list[i].word
		}
		i++
	}
	any := false
	for i++; i < len(list) && list[i].word != ")" && list[i].word != "("; i++ {
		if list[i].kind == sqlWord && (i+1 == len(list) || list[i+1].word != ".") {
			of := table
			if list[i-1].word == "." {
				of = list[i-2].word
			}
			secret := t.secret([]string{of}, list[i].word)
			places = append(places, secret)
			any = any || secret
		}
	}
	if !any {
		return nil
	}
	return places
}

// rows calls do for the secret values of the rows after VALUES. It returns the last token read.
func rows(list []sqlToken, i int, places []bool, do func(sqlToken)) int {
	depth, place := 0, 0
	for ; i < len(list); i++ {
		tok := list[i]
		switch {
		case tok.word == "(" && tok.kind == sqlSign:
			if depth++; depth == 1 {
				place = 0
			}
		case tok.word == ")" && tok.kind == sqlSign:
			depth--
		case tok.word == "," && tok.kind == sqlSign:
			if depth == 1 {
				place++
			}
		case depth <= 0:
			return i
		case place < len(places) && places[place] && (tok.isLiteral() || tok.double):
			do(tok)
		}
	}
	return i
}
