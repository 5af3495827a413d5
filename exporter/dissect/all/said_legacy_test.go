package all

import (
	"cmp"
	"fmt"
	"strings"

	"github.com/pcapsule/pcapsule/exporter/dissect/dnp3"
	"github.com/pcapsule/pcapsule/exporter/dissect/dubbo"
	"github.com/pcapsule/pcapsule/exporter/dissect/fastcgi"
	"github.com/pcapsule/pcapsule/exporter/dissect/irc"
	"github.com/pcapsule/pcapsule/exporter/dissect/netbios"
	"github.com/pcapsule/pcapsule/exporter/dissect/pulsar"
	"github.com/pcapsule/pcapsule/exporter/dissect/tacacs"
	"github.com/pcapsule/pcapsule/exporter/dissect/telnet"
	"github.com/pcapsule/pcapsule/exporter/table"
)

func another(row table.CallRow) []string { return []string{"another protocol: " + row.Base().Summary} }

// tabs joins words as a line of what a client said.
func tabs(words ...string) []string { return []string{strings.Join(words, "\t")} }

// telnetDid is a login of Telnet with its result, or a line with the first line of its output.
func telnetDid(row table.CallRow) []string {
	r, ok := row.(*telnet.Row)
	switch {
	case !ok:
		return another(row)
	case r.Method.V == "CONNECT":
		return nil
	case r.Method.V == "LOGIN":
		return tabs("LOGIN", r.User.V, map[string]string{table.OK: "ok", table.ClientError: "incorrect"}[r.Outcome])
	}
	output, _, _ := strings.Cut(r.Output.V, "\n")
	if r.Input.V == "exit" {
		output = ""
	}
	return tabs("LINE", r.Input.V, output)
}

// tacacsDid is a step of TACACS+ that has a result.
func tacacsDid(row table.CallRow) []string {
	r, ok := row.(*tacacs.Row)
	switch {
	case !ok:
		return another(row)
	case r.Obfuscated:
		return tabs("AUTHENTICATION", "", "", "obfuscated")
	case r.StatusText.V == "GETPASS":
		return nil
	case r.Method.V == "CONTINUE":
		return tabs("LOGIN", r.User.V, "ascii", r.StatusText.V)
	case r.Method.V == "AUTHORIZATION":
		return tabs("AUTHORIZATION", r.User.V, r.Arguments[1], r.StatusText.V)
	case r.Method.V == "LOGIN":
		return tabs("LOGIN", r.User.V, r.AuthKind.V, r.StatusText.V)
	}
	return tabs("ACCOUNTING", r.User.V, strings.TrimPrefix(r.Method.V, "ACCOUNTING "), r.StatusText.V)
}

// netbiosDid is a question for a name with its result.
func netbiosDid(row table.CallRow) []string {
	r, ok := row.(*netbios.Row)
	switch {
	case !ok:
		return another(row)
	case r.Base().Error.V == "no_response":
		return nil
	case len(r.Names) > 0:
		return tabs(r.Method.V, r.Name.V, fmt.Sprintf("%d names", len(r.Names)))
	}
	return tabs(r.Method.V, r.Name.V, cmp.Or(r.StatusText.V, strings.Join(r.Addresses, " ")))
}

// ircDid is a command of IRC with its result, or a message that came.
func ircDid(row table.CallRow) []string {
	r, ok := row.(*irc.Row)
	switch {
	case row.Base().Protocol == "tcp": // the connection of the file, which the test reads by itself
		return nil
	case !ok:
		return another(row)
	case r.Source.OK && r.Command == "PRIVMSG":
		nick, _, _ := strings.Cut(r.Source.V, "!")
		return tabs("from "+nick, r.Target.V, r.Text.V)
	case r.Source.OK, r.Command == "PONG":
		return nil
	case r.Command == "DCC SEND":
		return tabs("DCC SEND", r.Target.V, fmt.Sprintf("%s %d", r.File.V, r.Size.V))
	}
	target := cmp.Or(r.Target.V, r.User.V)
	if r.Command == "QUIT" {
		target = ""
	}
	return tabs(r.Command, target, cmp.Or(r.StatusText.V, "ok"))
}

// fastCGIDid is a request with its status and the size of its response.
func fastCGIDid(row table.CallRow) []string {
	r, ok := row.(*fastcgi.Row)
	if !ok {
		return another(row)
	}
	return tabs(r.Method.V, r.Path.V, fmt.Sprint(r.StatusCode.V), fmt.Sprint(r.ResponseBodySize.V))
}

// dnp3Did is a request for an object with its result; the library sends the others by itself.
func dnp3Did(row table.CallRow) []string {
	r, ok := row.(*dnp3.Row)
	switch {
	case !ok:
		return another(row)
	case len(r.Objects) == 0 || r.Objects[0] != "g12v1 x1" && r.Objects[0] != "g30v0 0-3":
		return nil
	}
	return tabs(r.Method.V, r.Objects[0], cmp.Or(r.StatusText.V, "ok"))
}

// dubboDid is a method with its result.
func dubboDid(row table.CallRow) []string {
	r, ok := row.(*dubbo.Row)
	switch {
	case !ok:
		return another(row)
	case !r.Name.OK:
		return nil
	}
	result := cmp.Or(r.Exception.V, r.StatusText.V)
	if r.Oneway {
		result = "OK"
	}
	return tabs(r.Name.V, result)
}

// pulsarDid is a command with its topic and result.
func pulsarDid(row table.CallRow) []string {
	r, ok := row.(*pulsar.Row)
	if !ok {
		return another(row)
	}
	if r.Method.V == "CONNECT" && r.Failed { // the library retries
		return nil
	}
	switch r.Method.V {
	case "FLOW", "ACK", "PING", "GET_LAST_MESSAGE_ID", "ACTIVE_CONSUMER_CHANGE":
		return nil
	}
	return tabs(r.Method.V, r.Topic.V, cmp.Or(r.StatusText.V, "ok"))
}
