package schedule

import (
	"bufio"
	"context"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/pcapsule/pcapsule/hub/pods"
	"github.com/pcapsule/pcapsule/hub/resource"
)

const (
	burstTime = time.Minute
	scrape    = 20 * time.Second // patience
)

// Bursts notices that many calls failed, from the counters of the MCP server next to the hub. It reads them only while
// a schedule needs them, because the server counts only on request.
type Bursts struct {
	url     string
	samples []sample // of the last minute, the oldest first
}

// sample is the counter of failed calls of each workload at a time.
type sample struct {
	at     time.Time
	failed map[string]int64
}

// CountedBy makes one for the server at an address; nil for none.
func CountedBy(server *url.URL) *Bursts {
	if server == nil {
		return nil
	}
	return &Bursts{url: server.JoinPath("metrics").String()}
}

// wantsBursts reports whether a schedule is about failed calls.
func wantsBursts(u unstructured.Unstructured) bool {
	s, err := resource.ScheduleFromObject(&u)
	return err == nil && !s.Spec.Suspend && slices.Contains(s.Spec.Incidents, resource.ErrorBurst)
}

// look reads the counters.
func (b *Bursts) look(ctx context.Context, now time.Time) error {
	ctx, cancel := context.WithTimeout(ctx, scrape)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, b.url, nil)
	if err != nil {
		return err
	}
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		return fmt.Errorf("counting failed calls: %w", err)
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		return fmt.Errorf("counting failed calls: %s answers %s", b.url, answer.Status)
	}
	s := sample{now, map[string]int64{}}
	lines := bufio.NewScanner(answer.Body)
	for lines.Scan() {
		if to, n, ok := failedOf(lines.Text()); ok {
			s.failed[to] += n
		}
	}
	if err := lines.Err(); err != nil {
		return fmt.Errorf("counting failed calls: %w", err)
	}
	b.samples = append(slices.DeleteFunc(b.samples, func(old sample) bool { return now.Sub(old.at) > burstTime }), s)
	return nil
}

var failedLine = regexp.MustCompile(`^pcapsule_live_failed_calls_total\{destination=("(?:[^"\\]|\\.)*"),outcome="(?:server_error|refused|no_answer)",.*\} ([0-9.e+]+)$`)

// failedOf reads a line of the metrics: the workload to which calls failed, and how many. Errors of clients do not count:
// in every cluster, most names that pods look up do not exist, because of the search list.
func failedOf(line string) (to string, n int64, ok bool) {
	m := failedLine.FindStringSubmatch(line)
	if m == nil {
		return "", 0, false
	}
	to, err := strconv.Unquote(m[1])
	count, err2 := strconv.ParseFloat(m[2], 64)
	return to, int64(count), err == nil && err2 == nil
}

// over lists the workloads to which at least this number of calls failed in the last minute. A workload has at most one
// incident for each minute of the clock.
func (b *Bursts) over(errors int64, now time.Time) (list []pods.Incident) {
	if b == nil || len(b.samples) < 2 {
		return nil
	}
	first, last := b.samples[0], b.samples[len(b.samples)-1]
	if now.Sub(last.at) > burstTime {
		return nil // the server has not answered since
	}
	for to, n := range last.failed {
		namespace, name, named := strings.Cut(to, "/")
		if n -= first.failed[to]; n < errors || !named || !resource.NodeName(namespace) || !resource.NodeName(name) {
			continue // fewer also after a restart of the server; what is outside the cluster has no node
		}
		list = append(list, pods.Incident{ID: pods.ID("burst", to, now.Unix()/60), Kind: resource.ErrorBurst, At: now,
			Pod:  resource.Pod{Namespace: namespace, Kind: "Service", Owner: name, AnyService: true},
			Text: fmt.Sprintf("%d calls to %s failed within %s", n, to, last.at.Sub(first.at).Round(time.Second))})
	}
	slices.SortFunc(list, func(a, b pods.Incident) int { return strings.Compare(a.Text, b.Text) })
	return list
}
