package mcp

import "encoding/json"

// maxSeen is the size of each of the two sets of remembered calls: at 2,000 calls/s, the calls of half a minute.
const maxSeen = 1 << 16

// seenCalls remembers the identities of the last calls, because two nodes may finish a call between them in different
// cuts.
type seenCalls struct{ now, before map[string]bool }

// among lists those of some calls that are remembered.
func (s *seenCalls) among(ids []string) (list []string) {
	for _, id := range ids {
		if s.now[id] || s.before[id] {
			list = append(list, id)
		}
	}
	return list
}

// add remembers a call, and reports whether it already was remembered.
func (s *seenCalls) add(id string) bool {
	if id == "" {
		return false
	}
	if s.now[id] || s.before[id] {
		return true
	}
	if s.now == nil || len(s.now) >= maxSeen {
		s.now, s.before = map[string]bool{}, s.now
	}
	s.now[id] = true
	return false
}

// again is add for a call in the form in which it is sent.
func (s *seenCalls) again(call []byte) bool {
	var x struct{ ID string }
	return json.Unmarshal(call, &x) == nil && s.add(x.ID)
}
