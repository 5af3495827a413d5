package bundle

import "time"

// Events about how long a bundle is kept. Details "until" is a date (2006-01-02), and "authority"
// the person or body that ordered it.
const (
	EventLegalHold    = "legal_hold"    // nobody may delete the bundle until it is released
	EventHoldReleased = "hold_released" // the last hold has ended
	EventRetention    = "retention"     // keep until a date, then delete
)

// Retention is the legal hold and retention period in a custody log.
type Retention struct {
	Hold      *Entry    `json:"legal_hold,omitempty"` // in force; nil: none
	Until     time.Time `json:"until,omitzero"`       // keep until this day; zero: not stated
	Statement *Entry    `json:"stated,omitempty"`     // the entry that states it
}

// RetentionOf returns the newest legal hold that was not released, and the newest retention.
func RetentionOf(log []Entry) (r Retention) {
	for i := range log {
		switch e := &log[i]; e.Event {
		case EventLegalHold:
			r.Hold = e
		case EventHoldReleased:
			r.Hold = nil
		case EventRetention:
			if day, err := time.Parse(time.DateOnly, e.Details["until"]); err == nil {
				r.Until, r.Statement = day, e
			}
		}
	}
	return r
}
