package recorder

// Check is one thing that recording needs, and whether it is there.
type Check struct {
	Name   string `json:"name"`
	State  State  `json:"state"`
	Detail string `json:"detail,omitempty"`
	Change string `json:"change,omitempty"` // what to do about it
}

// State is how a check ended.
type State string

// States.
const (
	Good    State = "good"
	Partial State = "partial" // recording works, with less
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
