package main

import (
	"net/http"
	"sort"
	"sync"
	"time"
)

// Entry is one exchange as seen by the client: the request and the response with their times. The
// services write it; it is never read from a capture.
type Entry struct {
	At   time.Time `json:"at"`
	Done time.Time `json:"done"`

	Protocol   string `json:"protocol"`
	Client     string `json:"client"`
	ClientRole string `json:"client_role"`
	ClientAddr string `json:"client_addr"`
	Server     string `json:"server"`
	ServerRole string `json:"server_role"`
	ServerAddr string `json:"server_addr"`

	Method   string `json:"method"`
	Host     string `json:"host,omitempty"`
	Path     string `json:"path,omitempty"`
	Endpoint string `json:"endpoint,omitempty"`
	Status   int    `json:"status"`
	Error    string `json:"error,omitempty"`

	LateStatus int `json:"late_status,omitempty"` // status of a response after the client was gone

	RequestID     string `json:"request_id,omitempty"`
	TraceID       string `json:"trace_id,omitempty"`
	RequestBytes  int    `json:"request_bytes"`
	ResponseBytes int    `json:"response_bytes"`
	Sealed        bool   `json:"sealed,omitempty"` // in TLS that cannot be decrypted
	Step          string `json:"step,omitempty"`

	realAt, realDone time.Time
	asked, answered  http.Header
	request, reply   string // bodies, arguments, results
}

func (e *Entry) elapsed() time.Duration { return e.Done.Sub(e.At) }

// failed is the protocol's verdict.
func (e *Entry) failed() bool {
	switch e.Protocol {
	case "http1", "http2":
		return e.Status >= 400 || e.Status == 0
	case "dns":
		return e.Status != 0
	}
	return e.Error != ""
}

// journal is the log of all endpoints.
type journal struct {
	mu      sync.Mutex
	step    string
	entries []*Entry
	served  map[string]int     // requests that the servers received, by role
	answers map[string][]given // by addresses and path
}

func newJournal() *journal { return &journal{served: map[string]int{}, answers: map[string][]given{}} }

func (j *journal) enter(step string) {
	j.mu.Lock()
	j.step = step
	j.mu.Unlock()
}

// begin makes an entry that starts now.
func (j *journal) begin(p *pod, protocol string) *Entry {
	j.mu.Lock()
	defer j.mu.Unlock()
	return &Entry{Protocol: protocol, Client: p.name, ClientRole: p.role, realAt: time.Now(), Step: j.step}
}

// end files it.
func (j *journal) end(s *shop, e *Entry) {
	if e.realDone.IsZero() {
		e.realDone = time.Now()
	}
	if to := s.podAt(e.ServerAddr); to != nil {
		e.Server, e.ServerRole = to.name, to.role
	}
	j.mu.Lock()
	j.entries = append(j.entries, e)
	j.mu.Unlock()
}

func (j *journal) served1(role string) {
	j.mu.Lock()
	j.served[role]++
	j.mu.Unlock()
}

// given is a response of a server.
type given struct {
	at     time.Time
	status int
}

const lateBy = 5 * time.Second // a response may arrive this long after the client gave up; ports are reused later

// answered stores a server's response, because the client may not have waited for it.
func (j *journal) answered(client, server, path string, status int) {
	j.mu.Lock()
	k := client + " " + server + " " + path
	j.answers[k] = append(j.answers[k], given{time.Now(), status})
	j.mu.Unlock()
}

// close converts all entries to the scenario's time and sorts them.
func (j *journal) close(c *clock) []*Entry {
	j.mu.Lock()
	defer j.mu.Unlock()
	for _, e := range j.entries {
		if e.Error == "timeout" {
			for _, g := range j.answers[e.ClientAddr+" "+e.ServerAddr+" "+e.Path] {
				if g.at.After(e.realDone) && g.at.Before(e.realDone.Add(lateBy)) {
					e.LateStatus = g.status
					break
				}
			}
		}
		e.At, e.Done = c.of(e.realAt), c.of(e.realDone)
	}
	sort.SliceStable(j.entries, func(a, b int) bool { return j.entries[a].realAt.Before(j.entries[b].realAt) })
	return j.entries
}
