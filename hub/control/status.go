package control

import (
	"context"
	"errors"
	"fmt"
	"time"

	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	v1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/pcapsule/pcapsule/hub/resource"
	"github.com/pcapsule/pcapsule/hub/served"
	"github.com/pcapsule/pcapsule/internal/clip"
)

// maxMessage limits a condition's text.
const maxMessage = 2000

// condition sets a condition of a snapshot.
func condition(s *resource.Snapshot, kind string, is bool, reason, message string) {
	served.Condition(&s.Status.Conditions, kind, is, reason, clip.Text(message, maxMessage), s.Generation)
}

// update changes the status of a snapshot in the API, and in s. If the API is unavailable, it retries until ctx
// ends. It returns errDeleted if the snapshot was deleted.
func (c *Controller) update(ctx context.Context, s *resource.Snapshot, change func(*resource.Snapshot)) error {
	for delay := c.o.Retry; ; delay = min(2*delay, maxDelay) {
		err := c.tryUpdate(ctx, s, change)
		if err == nil || errors.Is(err, errDeleted) {
			return err
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if apierrors.IsInvalid(err) || apierrors.IsForbidden(err) {
			return fmt.Errorf("writing the status: %w", err)
		}
		if !apierrors.IsConflict(err) {
			c.o.Log.Warn("writing the status of a snapshot; trying again", "snapshot", s.Name, "error", err)
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(delay):
		}
	}
}

func (c *Controller) tryUpdate(ctx context.Context, s *resource.Snapshot, change func(*resource.Snapshot)) error {
	u, err := c.objects(s).Get(ctx, s.Name, v1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return errDeleted
	}
	if err != nil {
		return err
	}
	now, err := resource.FromObject(u)
	if err != nil {
		return err
	}
	if now.UID != s.UID {
		return errDeleted
	}
	before := *now
	before.Status.Conditions = append([]v1.Condition{}, now.Status.Conditions...)
	before.Status.Nodes = append([]resource.Node{}, now.Status.Nodes...)
	change(now)
	now.Status.Settle()
	if !equality.Semantic.DeepEqual(before.Status, now.Status) {
		if u, err = now.Object(); err != nil {
			return err
		}
		if _, err = c.objects(s).UpdateStatus(ctx, u, v1.UpdateOptions{}); err != nil {
			return err
		}
		served.Announce(ctx, c.o.Client, u, before.Status.Conditions)
	}
	s.Status = now.Status
	return nil
}

// reject states why a snapshot is not served.
func (c *Controller) reject(ctx context.Context, s *resource.Snapshot, reason, message string) error {
	return c.update(ctx, s, func(s *resource.Snapshot) {
		s.Status.Phase = resource.Failed
		condition(s, resource.Accepted, false, reason, message)
		condition(s, resource.Done, false, reason, message)
	})
}
