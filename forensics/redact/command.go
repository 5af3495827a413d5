package redact

import (
	"slices"
	"strconv"
	"strings"
	"sync"
)

// fillsKey are the commands of Redis with a key and then everything that is in it: numbers, fields, members.
var fillsKey = map[string]bool{
	"setex": true, "psetex": true, "setrange": true, "restore": true, "lset": true, "lrem": true, "linsert": true, "lpos": true, "lpush": true,
	"lpushx": true, "rpush": true, "rpushx": true, "sadd": true, "srem": true, "sismember": true, "smismember": true, "zadd": true, "zrem": true,
	"zscore": true, "zmscore": true, "zincrby": true, "zrank": true, "zrevrank": true, "pfadd": true, "hset": true, "hmset": true, "hsetnx": true,
	"xadd": true, "getset": true,
}

// replyErrors are the first words of errors of Redis, which say nothing of the values.
var replyErrors = map[string]bool{
	"ERR": true, "WRONGTYPE": true, "WRONGPASS": true, "NOAUTH": true, "NOPERM": true, "MOVED": true, "ASK": true, "CROSSSLOT": true, "TRYAGAIN": true,
	"CLUSTERDOWN": true, "READONLY": true, "MASTERDOWN": true, "NOREPLICAS": true, "LOADING": true, "BUSY": true, "OOM": true, "MISCONF": true,
	"EXECABORT": true, "NOSCRIPT": true, "BUSYKEY": true, "IOERR": true,
}

// sitePassword is the command of FTP that changes a password.
const sitePassword = "SITE PSWD"

// Command masks the secret words of a command: values after options such as --password, in
// NAME=value, and after a key or field with a secret name.
func (p *Policy) Command(words []string) []string {
	t := task{p: p}
	return t.arguments(words)
}

// recorded is the policy for the command lines of processes that a recorder writes.
var recorded = sync.OnceValue(func() *Policy {
	p, err := Parse([]byte("version: 1\nmask: \"***\"\n"))
	if err != nil {
		panic(err) // every test would fail
	}
	return p
})

// Arguments masks the secret words of the command line of a process, as a recorder writes it.
func Arguments(words []string) []string { return recorded().Command(words) }

func (t *task) arguments(words []string) []string {
	out := make([]string, len(words))
	next := false // the word is the value of the previous one
	rest := false // everything that follows is secret, up to a reply
	for i := range words {
		w := words[i]
		bare := strings.Trim(w, `"'`)
		if i == 1 && strings.HasPrefix(strings.ToLower(words[0]), "eval") || i == 2 && strings.EqualFold(words[1], "load") {
			words = slices.Clone(words)
			w = t.script(w, words[min(i+1, len(words)):])
		}
		switch {
		case w == "→": // the reply, in a summary
			out[i], next, rest = w, false, t.secretReply(words[:i], strings.Join(words[i+1:min(i+2, len(words))], ""))
			continue
		case rest || next && (!strings.HasPrefix(w, "-") || !strings.HasPrefix(words[i-1], "-")):
			out[i] = t.value(w)
			next = false
			continue
		case i >= 2 && strings.EqualFold(words[i-2], "auth2"), i >= 3 && len(bare) > 1 && strings.EqualFold(words[0], "acl") && strings.EqualFold(words[1], "setuser") && strings.IndexByte("><#!", bare[0]) >= 0:
			out[i] = t.value(w)
			continue
		case strings.EqualFold(bare, "auth") && (i == 0 || i == 2 && strings.EqualFold(words[0], "hello")) && t.passwords():
			rest = true
		case i == 1 && fillsKey[strings.ToLower(strings.Trim(words[0], `"'`))] && t.secretWord(bare):
			rest = true
		case i == 1 && strings.EqualFold(bare, "pswd") && strings.EqualFold(words[0], "site") && t.passwords(): // of FTP: the old and the new one
			rest = true
		default:
			next = t.secretWord(bare)
		}
		out[i] = t.argument(w)
	}
	return t.options(out)
}

// options masks the words that are passwords by the options and the program before them: mysql -p…, curl -u user:….
func (t *task) options(words []string) []string {
	if t.p.scan.want&kCommand == 0 || len(words) < 2 {
		return words
	}
	line := strings.Join(words, " ")
	m := commandScanner.open(line, 0)
	for i, place := 0, 0; i < len(words) && m.End > 0; i++ {
		w, out, done := words[i], "", 0
		for m.End > 0 && m.Start < place+len(w) {
			start, end := max(m.Start-place, done), min(m.End-place, len(w))
			if start < end && !strings.HasPrefix(w[start:], t.p.mask) {
				t.n++
				t.report(m.Kind, w[start:end])
				out, done = out+w[done:start]+t.p.mask, end
			}
			if m.End > place+len(w) {
				break // it continues in the next word
			}
			m = commandScanner.open(line, m.End)
		}
		if done > 0 {
			words[i] = out + w[done:]
		}
		place += len(w) + 1
	}
	return words
}

// secretReply reports whether a reply, of which this is the first word, is secret because its command ends with a secret
// name or has one before others. A command that stores a value gets a status, a number or the ID of an entry of a stream.
func (t *task) secretReply(command []string, first string) bool {
	switch first {
	case "", "OK", "QUEUED", "(nil)", "[]", "{}", "error:":
		return false
	}
	if replyErrors[first] || len(command) > 0 && (strings.EqualFold(command[0], "auth") || strings.EqualFold(command[0], "hello")) {
		return false
	}
	number := strings.Trim(first, "0123456789-") == ""
	for i, w := range command {
		if i > 0 && t.secretWord(strings.Trim(w, `"'`)) && (i == len(command)-1 || !number) {
			return true
		}
	}
	return false
}

// reply masks a reply of Redis to a command.
func (t *task) reply(command, s string) string {
	first, _, _ := strings.Cut(s, " ")
	if t.nameless(command) || !t.secretReply(strings.Fields(command), first) {
		return t.command(s)
	}
	if !isList(s) {
		return t.value(s)
	}
	t.n++
	for w := range strings.FieldsSeq(s) {
		t.report(byName, strings.Trim(w, "[]{}:,"))
	}
	return t.p.mask
}

// isList reports whether a reply of Redis has several texts.
func isList(reply string) bool { return reply != "" && strings.IndexByte("[{", reply[0]) >= 0 }

// script masks the texts of a script of Redis that its calls use as secrets, and the arguments behind it that
// become one: redis.call('HSET', KEYS[1], 'password', ARGV[1]).
func (t *task) script(s string, arguments []string) string {
	var edits []edit
	for i := strings.Index(s, "call("); i >= 0; {
		i += len("call(")
		var words []string
		var places []edit
		for closed := false; i < len(s) && !closed; i++ {
			start, end := literal(s, i+span(s, i, len(s), blank))
			words, places = append(words, s[start:end]), append(places, edit{start, end, ""})
			i = end + strings.IndexAny(s[end:]+")", ",)")
			closed = after(s, i) != ','
		}
		for k, w := range t.arguments(words) {
			if w == words[k] {
				continue
			}
			if n, isArgument := strings.CutPrefix(words[k], "ARGV["); !isArgument {
				edits = append(edits, edit{places[k].start, places[k].end, w})
			} else if len(arguments) > 0 {
				keys, _ := strconv.Atoi(arguments[0])
				if at, _ := strconv.Atoi(strings.TrimSuffix(n, "]")); at > 0 && keys >= 0 && keys < len(arguments) && at < len(arguments)-keys {
					arguments[keys+at] = t.value(arguments[keys+at])
				}
			}
		}
		next := strings.Index(s[min(i, len(s)):], "call(")
		if next < 0 {
			break
		}
		i += next
	}
	return apply(s, edits)
}

// passwords reports whether the policy masks passwords.
func (t *task) passwords() bool { return t.secret(nil, "password") }

// secretWord reports whether a word is the name of a secret in the next word. The name is the last
// part of a Redis key or of a property.
func (t *task) secretWord(w string) bool {
	if strings.ContainsAny(w, "= ('") || len(w) > 4*maxName {
		return false
	}
	path := strings.FieldsFunc(strings.TrimLeft(w, "-"), func(r rune) bool { return r == ':' || r == '.' || r == '/' })
	last := len(path) - 1
	if last > 0 && (strings.ContainsAny(path[last], "0123456789") || strings.IndexByte(w, '/') < 0) && strings.IndexByte(w, ':') > 0 && !t.secret(path[:last], path[last]) {
		last-- // session:1234
	}
	return last >= 0 && t.secret(path[:last], path[last])
}

// argument masks a single word.
func (t *task) argument(w string) string {
	if strings.ContainsAny(w, "=:{") {
		t.strict = strings.IndexByte(w, '=') < 0 && strings.IndexByte(w, '{') < 0 // a key of Redis, session:ann
		defer func() { t.strict = false }()
		return t.text("", w, 1)
	}
	return t.words(w)
}

// command masks a command line: words separated by blanks, with or without quotes.
func (t *task) command(s string) string {
	if t.nameless(s) && t.calm(s) && !(len(s) > len(sitePassword) && strings.EqualFold(s[:len(sitePassword)], sitePassword)) {
		return s
	}
	return t.commandLine(s)
}

// commandLine is command without the quick check.
func (t *task) commandLine(s string) string {
	var words, gaps []string
	for i := 0; i < len(s); {
		start := i
		for i < len(s) && isBlank(s[i]) {
			i++
		}
		gaps = append(gaps, s[start:i])
		start = i
		for i < len(s) && !isBlank(s[i]) {
			if q := s[i]; q == '"' || q == '\'' {
				for i++; i < len(s) && s[i] != q; i++ {
					if s[i] == '\\' {
						i++
					}
				}
			}
			i++
		}
		i = min(i, len(s))
		words = append(words, s[start:i])
	}
	had := t.n
	words = t.arguments(words)
	if t.n == had {
		return s
	}
	var b strings.Builder
	for i, w := range words {
		b.WriteString(gaps[i] + w)
	}
	return b.String()
}
