package when

import "time"

// Layout is the form in which files and answers state a time, for times in UTC: RFC 3339 with nine
// digits and Z.
const Layout = "2006-01-02T15:04:05.000000000Z"

// Stamp writes a time in nanoseconds since 1970 UTC in Layout.
func Stamp(ns int64) string { return time.Unix(0, ns).UTC().Format(Layout) }
