package jobs

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	batch "k8s.io/api/batch/v1"
	core "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/validation"
	batchfake "k8s.io/client-go/kubernetes/typed/batch/v1/fake"
	corefake "k8s.io/client-go/kubernetes/typed/core/v1/fake"
	clienttesting "k8s.io/client-go/testing"

	"github.com/pcapsule/pcapsule/hub/resource"
)

const template = `
apiVersion: batch/v1
kind: Job
metadata: {labels: {a: b}}
spec:
  parallelism: 4
  backoffLimitPerIndex: 2
  template:
    spec:
      restartPolicy: Never
      containers: [{name: part, image: x, args: [part]}]
`

// runner has a fake API.
func runner(t *testing.T) (*Runner, *clienttesting.Fake) {
	t.Helper()
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{core.AddToScheme, batch.AddToScheme} {
		if err := add(scheme); err != nil {
			t.Fatal(err)
		}
	}
	f := &clienttesting.Fake{}
	f.AddReactor("*", "*", clienttesting.ObjectReaction(clienttesting.NewObjectTracker(scheme, serializer.NewCodecFactory(scheme).UniversalDecoder())))
	job, err := Read(file(t, template))
	if err != nil {
		t.Fatal(err)
	}
	return &Runner{(&batchfake.FakeBatchV1{Fake: f}).Jobs("ns"), (&corefake.FakeCoreV1{Fake: f}).Pods("ns"), job}, f
}

func file(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "job.yaml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func snapshot(name, uid string) *resource.Snapshot {
	return &resource.Snapshot{ObjectMeta: meta.ObjectMeta{Name: name, Namespace: "ns", UID: types.UID(uid)}}
}

const uid = "0a1b2c3d-0000-4000-8000-000000000000"

// TestNamesOfSnapshots has names that the API allows for a snapshot, and some that it does not.
func TestNamesOfSnapshots(t *testing.T) {
	for _, name := range []string{"incident", strings.Repeat("a", 253), "a.b-c.d", "$(reboot)", "--help", "a' || true || '"} {
		t.Run(fmt.Sprintf("%.20s", name), func(t *testing.T) {
			r, _ := runner(t)
			if _, err := r.Look(t.Context(), snapshot(name, uid), 5000); err != nil {
				t.Fatal(err)
			}
			list, err := r.Jobs.List(t.Context(), meta.ListOptions{})
			if err != nil || len(list.Items) != 1 {
				t.Fatalf("%v, %v", list, err)
			}
			job := &list.Items[0]
			if problems := validation.IsDNS1123Label(job.Name + "-4999"); len(problems) > 0 {
				t.Errorf("name %s: %v", job.Name, problems)
			}
			if job.Annotations[Annotation] != name || !maps.Equal(job.Labels, map[string]string{"a": "b"}) {
				t.Errorf("%+v", job.ObjectMeta)
			}
			if c := job.Spec.Template.Spec.Containers[0]; !slices.Equal(c.Args, []string{"part", "--snapshot=" + uid}) || len(c.Env) != 0 || len(c.Command) != 0 {
				t.Errorf("%+v", c)
			}
			if *job.Spec.Parallelism != 4 || *job.Spec.Completions != 5000 {
				t.Errorf("%+v", job.Spec)
			}
		})
	}
	for _, bad := range []string{"", "../x", "a.b", "A", "a b", strings.Repeat("a", 60)} {
		r, f := runner(t)
		if _, err := r.Look(t.Context(), snapshot("x", bad), 1); err == nil || !strings.Contains(err.Error(), "cannot name a Job") {
			t.Errorf("UID %q: %v", bad, err)
		}
		if gone, err := r.Remove(t.Context(), types.UID(bad)); !gone || err != nil || len(f.Actions()) != 0 {
			t.Errorf("UID %q: %v, %v", bad, gone, err)
		}
	}
}

// TestAnotherHubIsFirst has a second hub create the Job between this one's question and its attempt.
func TestAnotherHubIsFirst(t *testing.T) {
	r, f := runner(t)
	if _, err := r.Jobs.Create(t.Context(), r.job(snapshot("x", uid), prefix+uid, 2), meta.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	first := true
	f.PrependReactor("get", "jobs", func(clienttesting.Action) (bool, runtime.Object, error) {
		before := first
		first = false
		return before, nil, apierrors.NewNotFound(batch.Resource("jobs"), prefix+uid)
	})
	all, err := r.Look(t.Context(), snapshot("x", uid), 2)
	if err != nil || len(all) != 2 || all[0].State != Waiting {
		t.Errorf("%v, %v", all, err)
	}
}

func TestLookNamesWhatIsWrong(t *testing.T) {
	for _, tt := range []struct {
		name, want string
		change     func(*batch.Job)
	}{
		{"another's Job", "does not belong to the snapshot", func(j *batch.Job) { j.OwnerReferences[0].UID = "other" }},
		{"a Job without an owner", "does not belong to the snapshot", func(j *batch.Job) { j.OwnerReferences = nil }},
		{"another number of indexes", "without 2 indexes", func(j *batch.Job) { *j.Spec.Completions = 3 }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r, _ := runner(t)
			job := r.job(snapshot("x", uid), prefix+uid, 2)
			tt.change(job)
			if _, err := r.Jobs.Create(t.Context(), job, meta.CreateOptions{}); err != nil {
				t.Fatal(err)
			}
			if _, err := r.Look(t.Context(), snapshot("x", uid), 2); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, want %q", err, tt.want)
			}
		})
	}
	r, f := runner(t)
	f.PrependReactor("create", "jobs", func(clienttesting.Action) (bool, runtime.Object, error) {
		return true, nil, apierrors.NewForbidden(batch.Resource("jobs"), "x", errors.New("exceeded quota"))
	})
	if _, err := r.Look(t.Context(), snapshot("x", uid), 2); err == nil || !strings.Contains(err.Error(), "running Job "+prefix+uid) || !strings.Contains(err.Error(), "exceeded quota") {
		t.Errorf("%v", err)
	}
}

// TestRemoveLeavesOthers: a Job of that name which somebody else made.
func TestRemoveLeavesOthers(t *testing.T) {
	r, f := runner(t)
	if _, err := r.Jobs.Create(t.Context(), &batch.Job{ObjectMeta: meta.ObjectMeta{Name: prefix + uid, Namespace: "ns"}}, meta.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	if gone, err := r.Remove(t.Context(), uid); !gone || err != nil {
		t.Errorf("%v, %v", gone, err)
	}
	for _, a := range f.Actions() {
		if a.GetVerb() == "delete" {
			t.Error("it was deleted")
		}
	}
}

func TestSetOfIndexes(t *testing.T) {
	for list, want := range map[string][]int{"": nil, "0": {0}, "1,3-5,7": {1, 3, 4, 5, 7}, "8-9,12": {8, 9}, "5-3": nil, "x,2": {2}, "-1": nil, "0-99999999999999999999,1": {1}, "3-999999999": {3, 4, 5, 6, 7, 8, 9}} {
		if got := slices.Sorted(maps.Keys(set(list, 10))); !slices.Equal(got, want) {
			t.Errorf("%q: %v, want %v", list, got, want)
		}
	}
}

func TestWhatPodsSay(t *testing.T) {
	ended := func(code int32, reason, message string) core.PodStatus {
		return core.PodStatus{Phase: core.PodFailed, ContainerStatuses: []core.ContainerStatus{{State: core.ContainerState{Terminated: &core.ContainerStateTerminated{ExitCode: code, Reason: reason, Message: message}}}}}
	}
	for _, tt := range []struct {
		name   string
		status core.PodStatus
		state  int
		text   string
	}{
		{"out of memory", ended(137, "OOMKilled", ""), Waiting, "pod p on node n (try 2): OOMKilled, exit code 137"},
		{"its last words", ended(6, "Error", "a\nerror: no space left\x1b[0m on device\n"), Waiting, "pod p on node n (try 2): Error, exit code 6: error: no space left [0m on device"},
		{"evicted", core.PodStatus{Phase: core.PodFailed, Reason: "Evicted", Message: "low on memory"}, Waiting, "pod p on node n (try 2): Evicted: low on memory"},
		{"running", core.PodStatus{Phase: core.PodRunning}, Running, "pod p on node n (try 2)"},
		{"an image that is not there", core.PodStatus{Phase: core.PodPending, ContainerStatuses: []core.ContainerStatus{{State: core.ContainerState{Waiting: &core.ContainerStateWaiting{Reason: "ErrImagePull", Message: "not found"}}}}}, Waiting, "pod p on node n (try 2): ErrImagePull: not found"},
		{"starting", core.PodStatus{Phase: core.PodPending}, Waiting, "pod p on node n (try 2) starts"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got := of(&core.Pod{ObjectMeta: meta.ObjectMeta{Name: "p", Annotations: map[string]string{batch.JobIndexFailureCountAnnotation: "1"}}, Spec: core.PodSpec{NodeName: "n"}, Status: tt.status})
			if got.State != tt.state || got.Text != tt.text {
				t.Errorf("%d %q, want %d %q", got.State, got.Text, tt.state, tt.text)
			}
		})
	}
	if s := plainText(strings.Repeat("é", 1000)); len(s) > 310 || !strings.HasSuffix(s, "é…") {
		t.Errorf("%q", s)
	}
}

func TestReadRefuses(t *testing.T) {
	for _, tt := range []struct{ change, to, want string }{
		{"kind: Job", "kind: CronJob", "expected a Job of batch/v1"},
		{"parallelism", "paralelism", "paralelism"},
		{"restartPolicy: Never", "restartPolicy: OnFailure", "expected Never"},
		{"containers: [{name: part, image: x, args: [part]}]", "containers: []", "containers is empty"},
		{"  backoffLimitPerIndex: 2\n", "", "backoffLimitPerIndex is missing"},
	} {
		if _, err := Read(file(t, strings.Replace(template, tt.change, tt.to, 1))); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v, want %q", tt.to, err, tt.want)
		}
	}
	if _, err := Read("none.yaml"); !errors.Is(err, os.ErrNotExist) {
		t.Error(err)
	}
}
