package jobs

import (
	"fmt"
	"os"

	batch "k8s.io/api/batch/v1"
	core "k8s.io/api/core/v1"
	"sigs.k8s.io/yaml"
)

// Read reads the file with the template of each snapshot's Job. The hub adds names, the number of indexes and the
// argument --snapshot of the first container.
func Read(path string) (*batch.Job, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	var job batch.Job
	if err := yaml.UnmarshalStrict(text, &job); err != nil {
		return nil, fmt.Errorf("reading Job %s: %w", path, err)
	}
	pod := &job.Spec.Template.Spec
	switch {
	case job.APIVersion != "batch/v1" || job.Kind != "Job":
		return nil, fmt.Errorf("reading Job %s: it is a %s of %s, expected a Job of batch/v1", path, job.Kind, job.APIVersion)
	case len(pod.Containers) == 0:
		return nil, fmt.Errorf("reading Job %s: spec.template.spec.containers is empty", path)
	case pod.RestartPolicy != core.RestartPolicyNever:
		return nil, fmt.Errorf("reading Job %s: spec.template.spec.restartPolicy is %q, expected Never", path, pod.RestartPolicy)
	case job.Spec.BackoffLimitPerIndex == nil:
		return nil, fmt.Errorf("reading Job %s: spec.backoffLimitPerIndex is missing; without it, one part that fails ends all", path)
	}
	return &job, nil
}
