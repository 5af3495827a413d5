package section

import (
	"fmt"
	"time"

	"github.com/pcapsule/pcapsule/forensics/ask/tally"
	"github.com/pcapsule/pcapsule/internal/plural"
	"github.com/pcapsule/pcapsule/report/templates"
	"github.com/pcapsule/pcapsule/report/value"
)

// mostDays is the highest number of days of a heat map.
const mostDays = 60

// latencies shows how long calls took.
func (b *builder) latencies(*templates.Section) (value.Section, string) {
	s := value.Section{Title: "Latency distribution"}
	if b.calls == 0 {
		return s, "HTTP and gRPC requests with a latency"
	}
	list := tallied(b, tally.Latencies)
	if len(list.Rows) == 0 {
		return s, "HTTP and gRPC requests with a latency"
	}
	chart := &value.BarChart{Unit: "calls"}
	most := list.Rows[0]
	class := list.Rows[0].Class
	for _, r := range list.Rows {
		for ; class < r.Class; class++ { // empty classes keep the scale even
			chart.Bars = append(chart.Bars, value.Bar{Name: classText(class)})
		}
		class++
		chart.Bars = append(chart.Bars, value.Bar{Name: classText(r.Class), Value: r.Calls, Part: r.Failed})
		if r.Calls > most.Calls {
			most = r
		}
	}
	f := &value.Figure{ID: "latency-distribution", Title: "HTTP and gRPC requests by the time that they took", Bars: chart, Queries: b.query(list.SQL),
		Note: "Each bar has twice the time of the one above it. Red: failed. A request without a response counts with the time that its caller waited."}
	f.Alt = fmt.Sprintf("Bars: most requests, %s, took %s.", plural.Thousands(most.Calls), classText(most.Class))
	s.Blocks = []value.Block{value.FigureBlock(f)}
	return s, ""
}

// classText is the range of times of a class of tally.Latencies.
func classText(class int64) string {
	if class == 0 {
		return "under 1 µs"
	}
	return value.Micros(1<<(class-1)) + " to " + value.Micros(1<<class)
}

// heat shows calls by day and hour.
func (b *builder) heat(*templates.Section) (value.Section, string) {
	s := value.Section{Title: "Calls by hour"}
	if b.calls == 0 {
		return s, "calls"
	}
	list := tallied(b, tally.Hours)
	if len(list.Rows) == 0 {
		return s, "calls"
	}
	const hour = int64(time.Hour)
	first, last := floorDiv(b.first, hour), floorDiv(b.last, hour)
	day, lastDay := floorDiv(list.Rows[0].Hour, 24), floorDiv(list.Rows[len(list.Rows)-1].Hour, 24)
	chart := &value.HeatChart{Unit: "calls"}
	cut := lastDay-day >= mostDays
	if cut {
		day = lastDay - mostDays + 1
	}
	counts := map[int64]int64{}
	most := list.Rows[0]
	for _, r := range list.Rows {
		counts[r.Hour] = r.Calls
		if r.Calls > most.Calls {
			most = r
		}
	}
	for ; day <= lastDay; day++ {
		row := value.HeatDay{Day: time.Unix(day*86400, 0).UTC().Format(time.DateOnly)}
		for h := range int64(24) {
			n := counts[day*24+h]
			if at := day*24 + h; at < first || at > last {
				n = -1
			}
			row.Hours = append(row.Hours, n)
		}
		chart.Days = append(chart.Days, row)
	}
	f := &value.Figure{ID: "hours", Title: "Calls by day and hour (UTC)", Heat: chart, Queries: b.query(list.SQL), Note: "Darker: more calls. Hours outside the window are blank."}
	if cut {
		f.Note += fmt.Sprintf(" Only the last %d days are shown.", mostDays)
	}
	f.Alt = fmt.Sprintf("Heat map of calls over %s; the busiest hour begins at %s with %s.", plural.Count(int64(len(chart.Days)), "day", "days"), time.Unix(most.Hour*3600, 0).UTC().Format("2006-01-02 15:04"), plural.Count(most.Calls, "call", "calls"))
	s.Blocks = []value.Block{value.FigureBlock(f)}
	return s, ""
}
