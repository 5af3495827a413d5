package policy_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/pcapsule/pcapsule/forensics/ask/asktest"

	networking "k8s.io/api/networking/v1"
	"sigs.k8s.io/yaml"

	"github.com/pcapsule/pcapsule/forensics/ask"
	"github.com/pcapsule/pcapsule/forensics/ask/policy"
)

func TestNetworkPoliciesAllowWhatWasSeen(t *testing.T) {
	c := asktest.Open(t, "shop.pcapng")
	out, err := policy.Ask(ctx, c, policy.In{})
	if err != nil {
		t.Fatal(err)
	}
	if len(out.Policies) == 0 {
		t.Fatal("no policies")
	}
	for text := range strings.SplitSeq(out.YAML, "---\n") {
		var p networking.NetworkPolicy
		if err := yaml.UnmarshalStrict([]byte(text), &p); err != nil {
			t.Fatalf("%v\n%s", err, text)
		}
		if p.Kind != "NetworkPolicy" || p.Namespace == "" || len(p.Spec.PodSelector.MatchLabels) == 0 || len(p.Spec.PolicyTypes) != 2 {
			t.Errorf("%+v", p)
		}
	}
	for _, r := range out.Refused {
		if r.Answered > 0 {
			t.Errorf("the policies refuse a connection that they are based on: %+v", r)
		}
	}
	payment := slices.IndexFunc(out.Policies, func(p policy.PolicySummary) bool { return strings.Contains(p.Name, "payment") })
	if payment < 0 || !slices.ContainsFunc(out.Policies[payment].Ingress, func(s string) bool { return strings.HasPrefix(s, "shop/frontend TCP/") }) {
		t.Errorf("%+v", out.Policies)
	}
}

func TestNetworkPoliciesRefuseWhatLiesOutside(t *testing.T) {
	c := asktest.Open(t, "shop.pcapng")
	out, err := policy.Ask(ctx, c, policy.In{Scope: ask.Scope{KFL: `!(http && path.startsWith("/v1/payments"))`}})
	if err != nil {
		t.Fatal(err)
	}
	if !slices.ContainsFunc(out.Refused, func(a policy.Attempt) bool {
		return a.Src == "shop/frontend" && strings.Contains(a.Dst, "payment") && a.Answered > 0 && strings.Contains(a.Why, "ingress of shop/payment")
	}) {
		t.Errorf("%+v", out.Refused)
	}
}
