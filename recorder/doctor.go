package recorder

// Check is a requirement of recording, and whether this machine meets it.
type Check struct {
	Name   string `json:"name"`
	State  State  `json:"state"`
	Detail string `json:"detail,omitempty"`
	Change string `json:"change,omitempty"` // how to fix it
}

// State is the result of a check.
type State string

// States.
const (
	Good    State = "good"
	Partial State = "partial" // recording works with restrictions
	Bad     State = "bad"     // recording does not work
)

// Works reports whether recording works on this machine.
func Works(checks []Check) bool {
	for _, c := range checks {
		if c.State == Bad {
			return false
		}
	}
	return len(checks) > 0
}
