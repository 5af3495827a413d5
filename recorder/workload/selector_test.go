package workload

import "testing"

func choose(t *testing.T, list ...string) *Selector {
	t.Helper()
	s := &Selector{}
	for i := 0; i < len(list); i += 2 {
		if err := s.Add(list[i], list[i+1]); err != nil {
			t.Fatal(err)
		}
	}
	return s
}

func TestSelectorMatch(t *testing.T) {
	web := Subject{Namespace: "shop", Pod: "web-1", PodUID: "0b6ff4d4-5f1c-4d3f-8f3c-0d7a8b1d2c3e", Workload: "web", Container: "nginx",
		ContainerID: "4f5e6d7c8b9a0f1e2d3c4b5a69788796a5b4c3d2e1f00f1e2d3c4b5a69788796", Cgroup: "/kubepods.slice/kubepods-pod1.slice/x.scope",
		Labels: []Label{{"app", "web"}, {"tier", "front"}}, Process: "nginx", Exe: "/usr/sbin/nginx", PID: 7}
	fresh := Subject{PodUID: web.PodUID, ContainerID: web.ContainerID, Container: "4f5e6d7c8b9a", Cgroup: web.Cgroup, Unnamed: true, Unowned: true}
	host := Subject{Cgroup: "/system.slice/ssh.service", Process: "sshd", Exe: "/usr/sbin/sshd", PID: 9}
	for _, c := range []struct {
		name string
		of   []string
		who  Subject
		want Verdict
	}{
		{"an empty selector chooses everything", nil, host, Yes},
		{"namespace", []string{"namespace", "shop"}, web, Yes},
		{"one of two namespaces", []string{"namespace", "a", "namespace", "sh*"}, web, Yes},
		{"a different namespace", []string{"namespace", "shops"}, web, No},
		{"an unknown namespace", []string{"namespace", "shop"}, fresh, Maybe},
		{"a process of the node has no namespace", []string{"namespace", "*"}, host, No},
		{"both fields must fit", []string{"namespace", "shop", "pod", "db-*"}, web, No},
		{"pod by pattern", []string{"pod", "web-?"}, web, Yes},
		{"pod in its namespace", []string{"pod", "shop/web-*"}, web, Yes},
		{"pod of a different namespace", []string{"pod", "prod/web-*"}, web, No},
		{"pod by uid before its name", []string{"pod", web.PodUID}, fresh, Yes},
		{"workload by owner", []string{"workload", "shop/web"}, web, Yes},
		{"workload by pod", []string{"workload", "web-1"}, web, Yes},
		{"container by name", []string{"container", "ng*"}, web, Yes},
		{"container by id", []string{"container", "4f5e6d7c8b9a"}, fresh, Yes},
		{"a container without a name yet", []string{"container", "nginx"}, fresh, Maybe},
		{"the start of an id is too short", []string{"container", "4f5e6d7c8b9"}, web, No},
		{"label", []string{"label", "app=web"}, web, Yes},
		{"all labels must match", []string{"label", "app=web", "label", "tier=back"}, web, No},
		{"any value of a label", []string{"label", "tier=*"}, web, Yes},
		{"unknown labels", []string{"label", "app=web"}, fresh, Maybe},
		{"process by name", []string{"process", "nginx"}, web, Yes},
		{"process by path", []string{"process", "/usr/sbin/*"}, web, Yes},
		{"process by number", []string{"process", "7"}, web, Yes},
		{"a different process number", []string{"process", "8"}, web, No},
		{"an unknown process", []string{"process", "nginx"}, fresh, Maybe},
		{"known well enough to say no", []string{"cgroup", "/system.slice", "process", "nginx"}, fresh, No},
		{"control group and below", []string{"cgroup", "/system.slice"}, host, Yes},
		{"a control group with the same prefix", []string{"cgroup", "/system.slice/ssh"}, host, No},
	} {
		if got := choose(t, c.of...).Match(&c.who); got != c.want {
			t.Errorf("%s: %d, want %d", c.name, got, c.want)
		}
	}
}

func TestSelectorRefusesInvalidValues(t *testing.T) {
	for _, c := range []struct{ name, field, value string }{
		{"no value", "namespace", ""},
		{"an unknown field", "colour", "red"},
		{"a label without a value", "label", "app"},
		{"a broken pattern", "pod", "web-["},
		{"the root control group", "cgroup", "/"},
	} {
		if err := new(Selector).Add(c.field, c.value); err == nil {
			t.Errorf("%s: accepted", c.name)
		}
	}
}

func TestSelectorText(t *testing.T) {
	s := choose(t, "label", "app=web", "namespace", "shop", "process", "my server")
	if got, want := s.String(), `namespace=shop process="my server" label=app=web`; got != want {
		t.Errorf("%s, want %s", got, want)
	}
	if !s.NeedsNames() || !s.NeedsSockets() || s.Empty() {
		t.Error("wrong needs")
	}
}
