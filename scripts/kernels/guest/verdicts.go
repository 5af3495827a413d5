//go:build linux

package main

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// check checks the recording.
func (s *scene) check() {
	s.owned("tcp loopback", "webclient", "webserver", 5)
	s.owned("udp loopback", "dnsclient", "dnsserver", 5)
	switch {
	case errors.Is(s.veth, errNoVeth):
		report("tcp veth", none, s.veth.Error())
	case s.veth != nil:
		report("tcp veth", bad, s.veth.Error())
	default:
		s.owned("tcp veth", "farclient", "farserver", 5)
	}
	s.opened("go keys", "tlsclient", 3)
	s.opened("openssl keys", "openssl", 1)
	s.happened()
	s.dropped()
	state, detail := good, fmt.Sprintf("seen %d, delivered %d, dropped %d", s.stats.Seen, s.stats.Delivered, s.stats.Dropped)
	if !s.stats.Balanced() || s.stats.Seen == 0 {
		state = bad
	}
	report("balance", state, detail)
}

// process is the owner of one end, with a question mark if the recorder is not certain.
func (s *scene) process(id int64) string {
	e, ok := s.endpoint[id]
	if !ok || e.Process == nil {
		return "unknown"
	}
	if e.OwnerGuess != nil && *e.OwnerGuess {
		return *e.Process + "?"
	}
	return *e.Process
}

// owned checks that all calls of a client are complete and have both owners. On kernels that cannot
// list sockets that were already open the server may be unknown, which is partial; a wrong name always
// fails.
func (s *scene) owned(check, client, server string, want int) {
	if err := s.traffic[client]; err != nil {
		report(check, bad, "the client: "+err.Error())
		return
	}
	n, guessed := 0, 0
	pairs := map[string]int{}
	for _, c := range s.calls {
		src, dst := s.process(c.SrcID), s.process(c.DstID)
		if strings.TrimSuffix(src, "?") != client && !(c.Path != nil && strings.HasPrefix(*c.Path, "/"+client+"/")) {
			continue
		}
		pairs[src+" → "+dst]++
		switch {
		case !c.Complete:
		case src == client && dst == server:
			n++
		case src == client && (dst == "unknown" || dst == server+"?"):
			n, guessed = n+1, guessed+1
		}
	}
	detail := fmt.Sprintf("%d of %d calls", n, want)
	for _, p := range slices.Sorted(maps.Keys(pairs)) {
		detail += fmt.Sprintf(", %d %s", pairs[p], p)
	}
	state := good
	if guessed > 0 {
		state = partial
	}
	if n != want || len(pairs) != 1 || guessed > 0 && len(s.started.Degraded) == 0 {
		state = bad
	}
	report(check, state, detail)
}

// opened checks that the keys of a program decrypt its connections.
func (s *scene) opened(check, client string, want int) {
	if err := s.traffic[client]; err != nil {
		report(check, bad, "the client: "+err.Error())
		return
	}
	n := 0
	for _, c := range s.calls {
		if c.DecryptedBy != nil && c.Path != nil && (strings.HasPrefix(*c.Path, "/"+client+"/") || *c.Path == "/"+client) {
			n++
		}
	}
	state, detail := good, fmt.Sprintf("%d calls decrypted", n)
	if n < want {
		state = bad
		if k := s.stats.Keys; k != nil {
			detail += fmt.Sprintf(", %d wanted; %+v; %+v", want, k.Counters, k.Processes)
		}
	}
	report(check, state, detail)
}

// happened checks that events of processes and of the network stack were recorded.
func (s *scene) happened() {
	var missing []string
	for _, kind := range []string{"exec", "exit", "tcp_state"} {
		if s.events[kind] == 0 {
			missing = append(missing, kind)
		}
	}
	if len(missing) > 0 {
		report("events", bad, "none of: "+strings.Join(missing, ", "))
		return
	}
	report("events", good, fmt.Sprint(s.events))
}

// dropped checks that the kernel's reason for a drop is known by name.
func (s *scene) dropped() {
	if s.reasons["NO_SOCKET"] > 0 {
		report("drop reasons", good, fmt.Sprint(s.reasons))
		return
	}
	for _, d := range s.started.Degraded {
		if strings.Contains(d, "with their reasons (needs Linux") {
			report("drop reasons", partial, d)
			return
		}
	}
	report("drop reasons", bad, fmt.Sprintf("no drop because there is no socket: %v", s.reasons))
}
