package ftp

import (
	"bytes"

	"github.com/pcapsule/pcapsule/exporter/dissect"
	"github.com/pcapsule/pcapsule/exporter/dissect/internal/lines"
)

// Limits of the bytes for which detection waits.
const (
	maxLines = 8 // lines that decide nothing
)

// shared are commands that other protocols (SMTP, POP3, NNTP) have too.
var shared = map[string]bool{"USER": true, "PASS": true, "QUIT": true, "NOOP": true, "HELP": true, "STAT": true, "LIST": true, "RETR": true, "DELE": true, "AUTH": true, "ACCT": true, "STOR": true, "CWD": true}

// alone are commands of FTP without an argument.
var alone = map[string]bool{"SYST": true, "PASV": true, "EPSV": true, "FEAT": true, "PWD": true, "XPWD": true, "CDUP": true, "ABOR": true, "STOU": true, "REIN": true, "MLSD": true, "NLST": true, "LPSV": true}

// others are commands that do not identify FTP but may come in it, RFC 959, 2389, 3659, 7151.
var others = map[string]bool{"SIZE": true, "RNFR": true, "RNTO": true, "MKD": true, "RMD": true, "XMKD": true, "XRMD": true, "XCWD": true, "XCUP": true, "APPE": true, "REST": true,
	"ALLO": true, "OPTS": true, "MODE": true, "STRU": true, "TYPE": true, "SMNT": true, "HOST": true, "LANG": true, "ADAT": true, "CCC": true, "MFMT": true}

// detect recognizes a client by a command that only FTP has. Names and passwords decide nothing.
func detect(dir dissect.Dir, head []byte) dissect.Verdict {
	if dir == dissect.ToClient {
		return detectReplies(head)
	}
	for range maxLines {
		line, n := lines.Next(head)
		verb, rest := lines.Verb(bytes.TrimRight(line, "\r"))
		switch {
		case n == 0:
			verb, _ = lines.Verb(head)
			if len(head) < lines.MaxWait && lines.Plain(bytes.TrimRight(head, "\r")) && (verb != "" && len(verb) <= 4 || len(head) == 0) {
				return dissect.More
			}
			return dissect.No
		case !lines.Plain(line) || verb == "":
			return dissect.No
		case alone[verb] && len(rest) == 0 || decides(verb, rest):
			return dissect.Likely
		case !shared[verb]:
			return dissect.No
		}
		head = head[n:]
	}
	return dissect.No
}

// decides reports whether only FTP has a command with such an argument.
func decides(verb string, rest []byte) bool {
	switch verb {
	case "PORT":
		_, _, ok := six(string(rest))
		return ok
	case "EPRT":
		_, _, ok := extended(string(rest))
		return ok
	case "TYPE":
		return len(rest) >= 1 && len(rest) <= 4 && bytes.IndexByte([]byte("AEILaeil"), rest[0]) >= 0
	case "AUTH":
		return bytes.EqualFold(rest, []byte("TLS")) || bytes.EqualFold(rest, []byte("SSL")) || bytes.EqualFold(rest, []byte("TLS-C"))
	case "EPSV":
		return string(rest) == "ALL" || string(rest) == "1" || string(rest) == "2"
	case "PBSZ", "PROT", "MDTM", "MLST", "CLNT", "SITE":
		return len(rest) > 0
	}
	return false
}

// detectReplies looks for a greeting and a reply that mail servers do not send after it, or for the
// two replies to a login.
func detectReplies(b []byte) dissect.Verdict {
	first, open, named := 0, 0, false // open is the code of a reply with more lines, which may have any text
	for n := 0; len(b) > 0; b = b[n:] {
		var line []byte
		if line, n = lines.Next(b); n == 0 {
			if code, _, _, ok := lines.Reply(b); open != 0 && len(b) < lines.MaxWait || len(b) < lines.MaxWait && (len(b) < 4 || ok && code < 600) && lines.Plain(bytes.TrimRight(b, "\r")) {
				return dissect.More
			}
			return dissect.No
		}
		code, text, last, ok := lines.Reply(line)
		switch upper := bytes.ToUpper(text[:min(len(text), 512)]); {
		case !ok && open == 0 || !lines.Plain(line) || bytes.Contains(upper, []byte("SMTP")):
			return dissect.No
		case bytes.Contains(upper, []byte("FTP")):
			named = true
		}
		switch {
		case open != 0:
			if ok && last && code == open {
				first, open = code, 0
			}
			continue
		case first == 0 && code != codeReady && code != 331:
			return dissect.No
		case first == codeReady && (code == 331 || code == codeLoggedIn || code == codeAuth || code == 215 || named && code >= 200):
			return dissect.Likely
		case first == 331 && (code == codeLoggedIn || code == 530):
			return dissect.Likely
		case first != 0:
			return dissect.No
		}
		if first = code; !last {
			first, open = 0, code
		}
	}
	return dissect.More
}

var grammar = lines.Grammar{Limit: maxLine, Reply: lines.BeginsReply, Command: func(line []byte) bool {
	verb, rest := lines.Verb(line)
	return shared[verb] || alone[verb] || others[verb] || decides(verb, rest)
}}
