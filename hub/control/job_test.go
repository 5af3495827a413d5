package control

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	batch "k8s.io/api/batch/v1"
	core "k8s.io/api/core/v1"
	v1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/apimachinery/pkg/types"
	batchfake "k8s.io/client-go/kubernetes/typed/batch/v1/fake"
	corefake "k8s.io/client-go/kubernetes/typed/core/v1/fake"
	clienttesting "k8s.io/client-go/testing"

	"github.com/pcapsule/pcapsule/hub/collect"
	"github.com/pcapsule/pcapsule/hub/jobs"
	"github.com/pcapsule/pcapsule/hub/resource"
	"github.com/pcapsule/pcapsule/recorder/ring"
)

// jobCluster is a cluster whose Jobs are run by the test.
type jobCluster struct {
	*cluster
	fake *clienttesting.Fake
}

func newJobCluster(t *testing.T, names ...string) *jobCluster {
	t.Helper()
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{core.AddToScheme, batch.AddToScheme} {
		if err := add(scheme); err != nil {
			t.Fatal(err)
		}
	}
	tracker := clienttesting.NewObjectTracker(scheme, serializer.NewCodecFactory(scheme).UniversalDecoder())
	f := &clienttesting.Fake{}
	uids := 0
	f.AddReactor("create", "jobs", func(a clienttesting.Action) (bool, runtime.Object, error) {
		uids++
		a.(clienttesting.CreateAction).GetObject().(*batch.Job).UID = types.UID(fmt.Sprint("job-", uids))
		return false, nil, nil
	})
	f.AddReactor("*", "*", clienttesting.ObjectReaction(tracker))
	c := &jobCluster{newCluster(t, names...), f}
	c.size = 1
	c.jobs = &jobs.Runner{Jobs: (&batchfake.FakeBatchV1{Fake: f}).Jobs(namespace), Pods: (&corefake.FakeCoreV1{Fake: f}).Pods(namespace),
		Template: &batch.Job{Spec: batch.JobSpec{Template: core.PodTemplateSpec{Spec: core.PodSpec{Containers: []core.Container{{Name: "part", Args: []string{"part"}}}}}}}}
	return c
}

// job waits for the Job of a snapshot.
func (c *jobCluster) job(snapshot string) *batch.Job {
	c.t.Helper()
	var job *batch.Job
	eventually(c.t, "there is no Job", func() (ok bool) {
		var err error
		job, err = c.jobs.Jobs.Get(c.t.Context(), "pcapsule-uid-"+snapshot, v1.GetOptions{})
		return err == nil
	})
	return job
}

// say sets what the API reports about a Job.
func (c *jobCluster) say(snapshot, completed, failed string, conditions ...batch.JobCondition) {
	c.t.Helper()
	job := c.job(snapshot)
	job.Status.CompletedIndexes, job.Status.FailedIndexes, job.Status.Conditions = completed, &failed, conditions
	if _, err := c.jobs.Jobs.Update(c.t.Context(), job, v1.UpdateOptions{}); err != nil {
		c.t.Fatal(err)
	}
}

// bundle does what the pod of an index does.
func (c *jobCluster) bundle(snapshot string, index int) {
	c.t.Helper()
	c.job(snapshot)
	if _, err := c.collector().BundleIndex(c.t.Context(), filepath.Join(c.dir, "uid-"+snapshot), index); err != nil {
		c.t.Fatal(err)
	}
}

// pod creates a pod of an index.
func (c *jobCluster) pod(snapshot, name string, index int, status core.PodStatus) {
	c.t.Helper()
	job, yes := c.job(snapshot), true
	_, err := c.jobs.Pods.Create(c.t.Context(), &core.Pod{ObjectMeta: v1.ObjectMeta{Name: name, Namespace: namespace, Labels: map[string]string{batch.JobNameLabel: job.Name},
		Annotations:     map[string]string{batch.JobCompletionIndexAnnotation: fmt.Sprint(index)},
		OwnerReferences: []v1.OwnerReference{{Kind: "Job", Name: job.Name, UID: job.UID, Controller: &yes}}}, Status: status}, v1.CreateOptions{})
	if err != nil {
		c.t.Fatal(err)
	}
}

// created counts the Jobs that were created.
func (c *jobCluster) created() (n int) {
	for _, a := range c.fake.Actions() {
		if a.Matches("create", "jobs") {
			n++
		}
	}
	return n
}

func (c *jobCluster) awaitNode(snapshot, node string, ok func(*resource.Node) bool) *resource.Snapshot {
	c.t.Helper()
	return c.await(snapshot, func(s *resource.Snapshot) bool {
		n := s.Status.Find(node)
		return n != nil && ok(n)
	})
}

func TestSizeOfAJob(t *testing.T) {
	for _, tt := range []struct {
		name  string
		nodes []string
		size  int64
		down  string
		want  int32 // indexes
	}{
		{"parts of that size or less are bundled in the hub", []string{"a", "b"}, 1 << 40, "", 0},
		{"larger ones by a Job", []string{"a", "b"}, 1, "", 2},
		{"a node that is gone needs no pod", []string{"a", "b", "c"}, 1, "b", 2},
		{"nothing came", []string{"a"}, 0, "a", 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := newJobCluster(t, tt.nodes...)
			c.size = tt.size
			if tt.down != "" {
				c.node[tt.down].down.Store(true)
			}
			c.start()
			c.create("x", namespace, nil)
			if tt.want > 0 {
				job := c.job("x")
				if *job.Spec.Completions != tt.want || *job.Spec.CompletionMode != batch.IndexedCompletion || *job.Spec.Parallelism != tt.want {
					t.Errorf("%+v", job.Spec)
				}
				if o := job.OwnerReferences[0]; o.UID != "uid-x" || o.Kind != "Snapshot" || job.Annotations[jobs.Annotation] != "x" {
					t.Errorf("%+v", job.ObjectMeta)
				}
				if args := job.Spec.Template.Spec.Containers[0].Args; !slices.Equal(args, []string{"part", "--snapshot=uid-x"}) {
					t.Errorf("arguments %q", args)
				}
				if n := c.made.Load(); int(n) != len(tt.nodes)-int(tt.want) {
					t.Errorf("the hub made %d bundles", n)
				}
				for i := range tt.want {
					c.bundle("x", int(i))
				}
				c.say("x", fmt.Sprint("0-", tt.want-1), "")
			}
			s := c.await("x", finished)
			check(t, s, resource.Complete, tt.down == "", tt.down)
			check(t, s, resource.Done, true, "")
			if n := c.created(); n != int(min(tt.want, 1)) {
				t.Errorf("%d Jobs", n)
			}
			if n := c.made.Load(); int(n) != len(tt.nodes) {
				t.Errorf("%d bundles were made of %d parts", n, len(tt.nodes))
			}
			for _, n := range s.Status.Nodes {
				if n.State == resource.Bundled && (n.Packets == 0 || n.Segments == 0 || n.Bytes == 0 || n.Message != "") {
					t.Errorf("%+v", n)
				}
			}
		})
	}
}

// TestHubRestartsWhileAJobRuns ends the hub again and again, and the nodes are gone meanwhile.
func TestHubRestartsWhileAJobRuns(t *testing.T) {
	c := newJobCluster(t, "a", "b")
	stop := c.start()
	c.create("x", namespace, nil)
	c.job("x")
	stop()
	for _, n := range c.node {
		n.down.Store(true)
	}
	stop = c.start()
	c.bundle("x", 0)
	c.say("x", "0", "")
	c.awaitNode("x", "a", func(n *resource.Node) bool { return n.State == resource.Bundled })
	stop()
	c.bundle("x", 1)
	c.bundle("x", 1) // another pod of the same index
	c.say("x", "0,1", "", batch.JobCondition{Type: batch.JobComplete, Status: core.ConditionTrue})
	c.start()
	s := c.await("x", finished)
	check(t, s, resource.Complete, true, "AllNodes")
	if c.created() != 1 || c.made.Load() != 2 {
		t.Errorf("%d Jobs, %d bundles", c.created(), c.made.Load())
	}
}

func TestFailingIndex(t *testing.T) {
	c := newJobCluster(t, "a", "b")
	stop := c.start()
	c.create("x", namespace, nil)
	c.pod("x", "p1", 1, core.PodStatus{Phase: core.PodFailed, ContainerStatuses: []core.ContainerStatus{{State: core.ContainerState{Terminated: &core.ContainerStateTerminated{ExitCode: 137, Reason: "OOMKilled"}}}}})
	c.bundle("x", 0)
	c.say("x", "0", "1")
	s := c.await("x", finished)
	check(t, s, resource.Complete, false, "b (its part was collected, but no bundle was made of it: pod p1: OOMKilled, exit code 137. The hub keeps it in ")
	check(t, s, resource.Done, true, "")
	if a, b := s.Status.Find("a"), s.Status.Find("b"); a.State != resource.Bundled || b.State != resource.Failed || b.Bundle == "" || s.Status.Collected != "1/2" {
		t.Errorf("%+v", s.Status)
	}
	r, err := ring.Open(filepath.Join(c.dir, "uid-x", "bundles", "b.pcapsule"))
	if err != nil || len(r.Holes) != 1 || r.Holes[0].Reason != "missing" || !strings.Contains(r.Holes[0].Detail, "OOMKilled") {
		t.Errorf("%+v, %v: the gap is not stated", r, err)
	}
	eventually(t, "the node keeps its pin", func() bool {
		list, _ := os.ReadDir(filepath.Join(c.node["b"].ring, ".pins"))
		return len(list) == 0
	})
	stop()
	c.start() // which removes what a finished snapshot does not need
	eventually(t, "the files of the other node are left", func() bool {
		_, err := os.Stat(filepath.Join(c.dir, "uid-x", "nodes", "a"))
		return os.IsNotExist(err)
	})
	if rep, err := ring.Verify(filepath.Join(c.dir, "uid-x", "nodes", "b", "held"), ring.VerifyOptions{}); err != nil || !rep.OK() {
		t.Errorf("the part is not kept: %v, %v", rep, err)
	}
}

// TestHubIsKilledAtAFailure ends the hub after it has made the bundle that states a failure, when the Job is gone.
func TestHubIsKilledAtAFailure(t *testing.T) {
	c := newJobCluster(t, "a")
	stop := c.start()
	c.create("x", namespace, nil)
	c.job("x")
	stop()
	x := c.collector()
	x.Retry = 1
	s := c.get("x", namespace)
	from, to, err := s.Window()
	if err != nil {
		t.Fatal(err)
	}
	p := collect.Part{Dir: filepath.Join(c.dir, "uid-x"), Pin: "uid-x", Node: "a", From: from, To: to}
	n, err := x.Receive(t.Context(), p, nil)
	if err == nil {
		_, err = x.Fail(t.Context(), p, n, "it failed")
	}
	if err == nil {
		err = c.jobs.Jobs.Delete(t.Context(), "pcapsule-uid-x", v1.DeleteOptions{})
	}
	if err != nil {
		t.Fatal(err)
	}
	c.start()
	check(t, c.await("x", finished), resource.Complete, false, "a (it failed)")
	if c.created() != 1 {
		t.Errorf("%d Jobs", c.created())
	}
}

func TestDeadlineOfAJob(t *testing.T) {
	c := newJobCluster(t, "a", "b")
	c.start()
	c.create("x", namespace, nil)
	c.bundle("x", 1)
	c.say("x", "1", "", batch.JobCondition{Type: batch.JobFailed, Status: core.ConditionTrue, Reason: batch.JobReasonDeadlineExceeded, Message: "Job was active longer than specified deadline"})
	s := c.await("x", finished)
	check(t, s, resource.Complete, false, "a (its part was collected, but no bundle was made of it: Job pcapsule-uid-x ended: DeadlineExceeded: Job was active")
	if s.Status.Find("b").State != resource.Bundled {
		t.Errorf("%+v", s.Status)
	}
}

// TestPodIsEvicted has a pod that is evicted, one that waits for a node, and one that runs.
func TestPodIsEvicted(t *testing.T) {
	c := newJobCluster(t, "a")
	c.start()
	c.create("x", namespace, nil)
	says := func(text string) {
		t.Helper()
		c.awaitNode("x", "a", func(n *resource.Node) bool { return n.State == resource.Received && strings.Contains(n.Message, text) })
	}
	says("Job pcapsule-uid-x has no pod for it yet")
	c.pod("x", "p1", 0, core.PodStatus{Phase: core.PodFailed, Reason: "Evicted", Message: "The node was low on\x1b[31m resource: memory."})
	says("pod p1: Evicted: The node was low on [31m resource: memory.")
	c.pod("x", "p2", 0, core.PodStatus{Phase: core.PodPending, Conditions: []core.PodCondition{{Type: core.PodScheduled, Status: core.ConditionFalse, Reason: "Unschedulable", Message: "0/2 nodes are available"}}})
	says("pod p2: Unschedulable: 0/2 nodes are available")
	if err := c.jobs.Pods.Delete(t.Context(), "p2", v1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	c.pod("x", "p3", 0, core.PodStatus{Phase: core.PodRunning})
	says("bundled by pod p3")
	check(t, c.get("x", namespace), resource.Done, false, "0 of 1 bundles are made")
	c.bundle("x", 0)
	c.say("x", "0", "")
	s := c.await("x", finished)
	check(t, s, resource.Complete, true, "")
	if n := s.Status.Find("a"); n.State != resource.Bundled || n.Message != "" {
		t.Errorf("%+v", n)
	}
}

// TestDeletionWhileAJobRuns waits for the pods before it removes their files.
func TestDeletionWhileAJobRuns(t *testing.T) {
	c := newJobCluster(t, "a")
	c.start()
	c.create("x", namespace, nil)
	c.pod("x", "p1", 0, core.PodStatus{Phase: core.PodRunning})
	s, now := c.get("x", namespace), v1.Now()
	s.DeletionTimestamp = &now
	u, err := s.Object()
	if err == nil {
		_, err = c.objects(namespace).Update(t.Context(), u, v1.UpdateOptions{})
	}
	if err != nil {
		t.Fatal(err)
	}
	deleted := func() bool {
		return slices.ContainsFunc(c.fake.Actions(), func(a clienttesting.Action) bool { return a.Matches("delete", "jobs") })
	}
	eventually(t, "the Job is not deleted", deleted)
	for _, a := range c.fake.Actions() {
		if x, ok := a.(clienttesting.DeleteActionImpl); ok && *x.DeleteOptions.PropagationPolicy != v1.DeletePropagationForeground {
			t.Errorf("pods are not deleted first: %+v", x.DeleteOptions)
		}
	}
	if _, err := os.Stat(filepath.Join(c.dir, "uid-x")); err != nil || len(c.get("x", namespace).Finalizers) != 1 {
		t.Errorf("the files were removed while a pod wrote: %v", err)
	}
	if err := c.jobs.Pods.Delete(t.Context(), "p1", v1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	c.await("x", func(s *resource.Snapshot) bool { return len(s.Finalizers) == 0 })
	if list, _ := os.ReadDir(c.dir); len(list) > 0 {
		t.Errorf("files are left: %v", list)
	}
	if c.created() != 1 {
		t.Errorf("%d Jobs", c.created())
	}
}

// TestTwoHubs runs two at once, as when one has lost its Lease and does not know it yet.
func TestTwoHubs(t *testing.T) {
	c := newJobCluster(t, "a", "b", "c")
	c.start()
	c.create("x", namespace, nil)
	c.job("x")
	c.start()
	for i := range 3 {
		c.bundle("x", i)
	}
	c.say("x", "0-2", "")
	check(t, c.await("x", finished), resource.Complete, true, "")
	list, err := c.jobs.Jobs.List(t.Context(), v1.ListOptions{})
	if err != nil || len(list.Items) != 1 {
		t.Errorf("%d Jobs, %v", len(list.Items), err)
	}
	if n := c.made.Load(); n != 3 {
		t.Errorf("%d bundles were made of 3 parts", n)
	}
}

// TestJobIsDeleted has somebody delete the Job: the hub makes another, with the same indexes.
func TestJobIsDeleted(t *testing.T) {
	c := newJobCluster(t, "a", "b")
	c.start()
	c.create("x", namespace, nil)
	c.bundle("x", 0)
	c.say("x", "0", "")
	c.awaitNode("x", "a", func(n *resource.Node) bool { return n.State == resource.Bundled })
	if err := c.jobs.Jobs.Delete(t.Context(), "pcapsule-uid-x", v1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	if job := c.job("x"); *job.Spec.Completions != 2 {
		t.Errorf("%+v", job.Spec)
	}
	c.bundle("x", 0)
	c.bundle("x", 1)
	c.say("x", "0,1", "")
	check(t, c.await("x", finished), resource.Complete, true, "")
	if n := c.made.Load(); n != 2 {
		t.Errorf("%d bundles were made of 2 parts", n)
	}
}

// TestJobOfAnother has a Job of that name which is not the snapshot's.
func TestJobOfAnother(t *testing.T) {
	c := newJobCluster(t, "a")
	if _, err := c.jobs.Jobs.Create(t.Context(), &batch.Job{ObjectMeta: v1.ObjectMeta{Name: "pcapsule-uid-x", Namespace: namespace}}, v1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	c.start()
	c.create("x", namespace, nil)
	s := c.await("x", func(s *resource.Snapshot) bool {
		_, why := is(s, resource.Done)
		return strings.HasPrefix(why, "Error")
	})
	check(t, s, resource.Done, false, "there is a Job pcapsule-uid-x that does not belong to the snapshot; delete it")
	if err := c.jobs.Jobs.Delete(t.Context(), "pcapsule-uid-x", v1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	c.bundle("x", 0)
	c.say("x", "0", "")
	check(t, c.await("x", finished), resource.Complete, true, "")
}
