package workload

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"
)

// TestRunsOfACronJobAreOneWorkload reads pods without their Jobs, which the controller deletes first.
func TestRunsOfACronJobAreOneWorkload(t *testing.T) {
	began := time.Date(2026, 3, 5, 9, 30, 12, 0, time.UTC)
	scheduled := began.Unix() / 60
	x := NewIndex()
	var items []string
	jobs := []struct{ name, want string }{
		{fmt.Sprintf("report-%d", scheduled), "CronJob:report derived"},
		{fmt.Sprintf("report-%d", scheduled-60), "CronJob:report derived"},
		{fmt.Sprintf("report-%d", scheduled+60), fmt.Sprintf("Job:report-%d", scheduled+60)}, // it had not been scheduled
		{"report-20260305", "Job:report-20260305"},                                           // a date
		{"report-1", "Job:report-1"},
		{"-29500000", "Job:-29500000"},
	}
	for i, j := range jobs {
		items = append(items, fmt.Sprintf(`{"apiVersion":"v1","kind":"Pod","metadata":{"namespace":"shop","name":"p%d","uid":"u%[1]d","creationTimestamp":%q,"ownerReferences":[{"kind":"Job","name":%q,"uid":"j%[1]d","controller":true}]},
			"spec":{"nodeName":"n"},"status":{"phase":"Running","startTime":%[2]q,"podIPs":[{"ip":"10.1.0.%[1]d"}]}}`, i, began.Format(time.RFC3339), j.name))
	}
	if _, err := x.AddKube("pods", strings.NewReader(`{"apiVersion":"v1","kind":"List","items":[`+strings.Join(items, ",")+`]}`)); err != nil {
		t.Fatal(err)
	}
	for i, j := range jobs {
		id, ok := x.Lookup(netip.AddrFrom4([4]byte{10, 1, 0, byte(i)}), 0, 0, began.UnixNano()+1e9)
		got := id.WorkloadKind + ":" + id.Workload
		if id.OwnerDerived {
			got += " derived"
		}
		if !ok || got != j.want {
			t.Errorf("job %s: %s, want %s", j.name, got, j.want)
		}
	}
}
