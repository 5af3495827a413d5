package value

// Recheck is a second tool's statement about the calls that a report cites. It is a recorded
// observation: it does not follow from the bundles alone, and running the tool again may differ.
type Recheck struct {
	Tool    string      `json:"tool"`
	Version string      `json:"version"`
	Calls   []Rechecked `json:"calls"`
}

// Rechecked is a second tool's statement about one call.
type Rechecked struct {
	Call  string `json:"call_id"`
	Why   string `json:"why,omitempty"` // reason why nothing could be checked
	Facts []Fact `json:"facts,omitempty"`
}

// Fact is one fact that two tools state, or that only one of them does.
type Fact struct {
	Name  string `json:"name"`            // method, path, status, …
	State string `json:"state"`           // one of the states below
	Other string `json:"other,omitempty"` // what the second tool states, if it differs
}

// States of a fact.
const (
	Confirmed = "confirmed"
	Differs   = "differs"
	Unstated  = "not checkable" // the second tool does not state it
)
