// Package k8sapi reads calls of the Kubernetes API in the terms of authorization rules: verb,
// resource, namespace and name.
package k8sapi

import (
	"net/url"
	"strconv"
	"strings"

	"github.com/pcapsule/pcapsule/exporter/dissect/content"
	"github.com/pcapsule/pcapsule/exporter/dissect/internal/httpfield"
	"github.com/pcapsule/pcapsule/exporter/table"
)

// Protocol describes it for readers.
var Protocol = content.Protocol{
	Name:     "k8sapi",
	Doc:      "API of Kubernetes, in the terms of authorization rules",
	Versions: "any version of an API group",
	Depth:    "verb, API group, resource, namespace, name, reasons of errors, events of a watch",
	Inside:   []string{"http"},
}

// Request is the verb and the object of a call.
type Request struct {
	Verb        table.Opt[string] `col:"k8sapi_verb" enc:"dict" doc:"verb of authorization: get, list, watch, create, update, patch, delete, deletecollection; connect for exec, attach, portforward and proxy. Not null in every call of the Kubernetes API"`
	Group       table.Opt[string] `col:"k8sapi_group" enc:"dict" doc:"API group, null for the core group"`
	Version     table.Opt[string] `col:"k8sapi_version" enc:"dict" doc:"version of the API group, such as v1"`
	Resource    table.Opt[string] `col:"k8sapi_resource" enc:"dict" doc:"resource, such as deployments"`
	Namespace   table.Opt[string] `col:"k8sapi_namespace" enc:"dict" doc:"namespace; null if the resource has none, or if all are meant"`
	Name        table.Opt[string] `col:"k8sapi_name" doc:"name of the object; of a creation, that of the answer"`
	Subresource table.Opt[string] `col:"k8sapi_subresource" enc:"dict" doc:"part of the object, such as status, scale, log or exec"`
	Reason      table.Opt[string] `col:"k8sapi_reason" enc:"dict" doc:"reason of a failure in the answer's Status, such as Forbidden or AlreadyExists"`
	Events      table.Opt[int64]  `col:"k8sapi_watch_events" doc:"events that a watch got; null if a gap, or a form that is not JSON, makes the count uncertain"`
}

// Read implements content.Reader.
func Read(x *content.Exchange, r *Request) bool {
	if x.Socket || !r.target(x.Path.V) || !answersLike(x) {
		*r = Request{}
		return false
	}
	r.verb(x)
	r.answer(x)
	object := r.Resource.V
	if r.Subresource.OK {
		object += "/" + r.Subresource.V
	}
	endpoint := "k8s " + r.Verb.V + " " + object
	what := endpoint
	switch {
	case r.Namespace.OK && r.Name.OK:
		what += " " + r.Namespace.V + "/" + r.Name.V
	case r.Namespace.OK || r.Name.OK:
		what += " " + r.Namespace.V + r.Name.V
	}
	x.Name(what, endpoint)
	if r.Events.OK {
		x.Add(", " + strconv.FormatInt(r.Events.V, 10) + " events")
	}
	if r.Reason.OK {
		x.Add(", " + r.Reason.V)
		x.Fail(table.ClientError, r.Reason.V)
	}
	return true
}

// target reads /api/v1/… and /apis/GROUP/VERSION/….
func (r *Request) target(path string) bool {
	if !strings.HasPrefix(path, "/api/v") && !strings.HasPrefix(path, "/apis/") || len(path) > 4096 {
		return false
	}
	parts := strings.Split(strings.Trim(path, "/"), "/")
	if parts[0] == "apis" {
		if len(parts) < 4 || !strings.Contains(parts[1], ".") && !builtIn[parts[1]] {
			return false
		}
		r.Group = content.Some(parts[1])
		parts = parts[1:]
	}
	if len(parts) < 3 || !isVersion(parts[1]) {
		return false
	}
	r.Version = content.Some(parts[1])
	parts = parts[2:]
	if parts[0] == "watch" && len(parts) > 1 { // of old clients
		parts = parts[1:]
	}
	if parts[0] == "namespaces" && len(parts) > 2 && parts[2] != "status" && parts[2] != "finalize" {
		r.Namespace = content.Some(parts[1])
		parts = parts[2:]
	}
	if strings.Trim(parts[0], "abcdefghijklmnopqrstuvwxyz0123456789-") != "" {
		return false
	}
	r.Resource = content.Some(parts[0])
	if len(parts) > 1 {
		r.Name = content.Some(parts[1])
	}
	if parts[0] == "namespaces" && len(parts) > 1 {
		r.Namespace = r.Name
	}
	if len(parts) > 2 {
		r.Subresource = content.Some(parts[2])
	}
	return true
}

// builtIn are groups without a domain.
var builtIn = map[string]bool{"apps": true, "autoscaling": true, "batch": true, "extensions": true, "policy": true}

// isVersion reports whether s is a version such as v1, v2beta1.
func isVersion(s string) bool {
	rest := strings.TrimLeft(strings.TrimPrefix(s, "v"), "0123456789")
	if len(s) < 2 || s[0] != 'v' || s[1] < '1' || s[1] > '9' {
		return false
	}
	return rest == "" || strings.TrimRight(rest, "0123456789") == "alpha" || strings.TrimRight(rest, "0123456789") == "beta"
}

// answersLike reports whether the exchange has what only this API has. A path alone proves nothing:
// others have /api/v1/users too.
func answersLike(x *content.Exchange) bool {
	if x.Header(httpfield.Response, "X-Kubernetes-Pf-Flowschema-Uid") != "" || x.Response.Type == "application/vnd.kubernetes.protobuf" ||
		strings.Contains(x.Header(httpfield.Request, "Accept"), "kubernetes") || strings.HasPrefix(x.Request.Type, "application/vnd.kubernetes") {
		return true
	}
	switch x.Request.Type {
	case "application/apply-patch+yaml", "application/strategic-merge-patch+json":
		return true
	}
	for _, header := range []string{"Sec-WebSocket-Protocol", "X-Stream-Protocol-Version"} { // exec, attach and portforward
		if strings.HasSuffix(x.Header(httpfield.Response, header), ".k8s.io") {
			return true
		}
	}
	if strings.Contains(x.UserAgent.V, "kubernetes/") || strings.HasPrefix(x.UserAgent.V, "kubectl/") {
		return true
	}
	if !x.Response.JSON() {
		return false
	}
	for v := range content.Documents(x.Response.Bytes()) {
		if o := content.Member(v, "object"); o != nil {
			v = o
		}
		return content.String(content.Member(v, "kind")) != "" && content.String(content.Member(v, "apiVersion")) != ""
	}
	return false
}

// verb sets the verb, as the API server's authorization does.
func (r *Request) verb(x *content.Exchange) {
	query, _ := url.ParseQuery(x.Query.V[:min(len(x.Query.V), 8<<10)])
	verb := map[string]string{"POST": "create", "PUT": "update", "PATCH": "patch", "DELETE": "delete", "GET": "get", "HEAD": "get"}[x.Method.V]
	switch r.Subresource.V {
	case "exec", "attach", "portforward", "proxy":
		verb = "connect"
	default:
		watch := query.Get("watch") == "true" || query.Get("watch") == "1" || strings.Contains(x.Path.V, "/watch/")
		switch {
		case verb == "get" && watch:
			verb = "watch"
		case verb == "get" && !r.Name.OK:
			verb = "list"
		case verb == "delete" && !r.Name.OK:
			verb = "deletecollection"
		case verb == "":
			verb = strings.ToLower(x.Method.V)
		}
	}
	r.Verb = content.Some(verb)
}

// answer reads the Status of a failure, the events of a watch, and the name of a created object.
func (r *Request) answer(x *content.Exchange) {
	if !x.Response.JSON() {
		return
	}
	n := int64(0)
	for v := range content.Documents(x.Response.Bytes()) {
		n++
		if r.Verb.V == "watch" {
			if content.String(content.Member(v, "type")) == "ERROR" {
				r.status(content.Member(v, "object"))
			}
			continue
		}
		r.status(v)
		if r.Verb.V == "create" && !r.Name.OK {
			r.Name = content.Some(content.String(content.Member(content.Member(v, "metadata"), "name")))
		}
	}
	if r.Verb.V == "watch" && !x.Response.Lost && x.StatusCode.V == 200 {
		r.Events = table.Some(n)
	}
}

// status reads a Status that reports a failure.
func (r *Request) status(v []byte) {
	if content.String(content.Member(v, "kind")) == "Status" && content.String(content.Member(v, "status")) == "Failure" {
		r.Reason = content.Some(content.String(content.Member(v, "reason")))
	}
}
