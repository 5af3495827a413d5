package workload

import "encoding/json"

// The fields of Kubernetes objects that are read, and the only ones that are ever written.
// One struct serves all kinds, so that an object is decoded once.
type wireObject struct {
	APIVersion string   `json:"apiVersion,omitempty"`
	Kind       string   `json:"kind,omitempty"`
	Metadata   wireMeta `json:"metadata"`
	Own        *wireOwn `json:"pcapsule,omitempty"`

	Spec   *wireSpec   `json:"spec,omitempty"`
	Status *wireStatus `json:"status,omitempty"`

	Endpoints []wireEndpoint `json:"endpoints,omitempty"` // EndpointSlice
	Ports     []wirePort     `json:"ports,omitempty"`     // of a slice
	Subsets   []wireSubset   `json:"subsets,omitempty"`   // Endpoints

	// Event, in the core and the events.k8s.io form.
	InvolvedObject      *wireRef    `json:"involvedObject,omitempty"`
	Regarding           *wireRef    `json:"regarding,omitempty"`
	Type                string      `json:"type,omitempty"`
	Reason              string      `json:"reason,omitempty"`
	Message             string      `json:"message,omitempty"`
	Note                string      `json:"note,omitempty"`
	Source              *wireSource `json:"source,omitempty"`
	DeprecatedSource    *wireSource `json:"deprecatedSource,omitempty"`
	FirstTimestamp      string      `json:"firstTimestamp,omitempty"`
	LastTimestamp       string      `json:"lastTimestamp,omitempty"`
	DeprecatedFirst     string      `json:"deprecatedFirstTimestamp,omitempty"`
	DeprecatedLast      string      `json:"deprecatedLastTimestamp,omitempty"`
	EventTime           string      `json:"eventTime,omitempty"`
	Count               int64       `json:"count,omitempty"`
	DeprecatedCount     int64       `json:"deprecatedCount,omitempty"`
	Series              *wireSeries `json:"series,omitempty"`
	ReportingComponent  string      `json:"reportingComponent,omitempty"`
	ReportingController string      `json:"reportingController,omitempty"`
	ReportingInstance   string      `json:"reportingInstance,omitempty"`
}

type wireMeta struct {
	Namespace string            `json:"namespace,omitempty"`
	Name      string            `json:"name,omitempty"`
	UID       string            `json:"uid,omitempty"`
	Created   string            `json:"creationTimestamp,omitempty"`
	Deleted   string            `json:"deletionTimestamp,omitempty"`
	Grace     int64             `json:"deletionGracePeriodSeconds,omitempty"`
	Changes   int64             `json:"generation,omitempty"` // of a NetworkPolicy: the number of its specs so far
	Labels    map[string]string `json:"labels,omitempty"`
	Owners    []wireOwner       `json:"ownerReferences,omitempty"`
}

type wireOwner struct {
	Kind       string `json:"kind,omitempty"`
	Name       string `json:"name,omitempty"`
	UID        string `json:"uid,omitempty"`
	Controller bool   `json:"controller,omitempty"`
}

type wireRef struct {
	Kind      string `json:"kind,omitempty"`
	Namespace string `json:"namespace,omitempty"`
	Name      string `json:"name,omitempty"`
	UID       string `json:"uid,omitempty"`
}

type wireSource struct {
	Component string `json:"component,omitempty"`
	Host      string `json:"host,omitempty"`
}

type wireSeries struct {
	Count int64  `json:"count,omitempty"`
	Last  string `json:"lastObservedTime,omitempty"`
}

type wireSpec struct {
	// Pod
	NodeName    string          `json:"nodeName,omitempty"`
	HostNetwork bool            `json:"hostNetwork,omitempty"`
	Containers  []wireContainer `json:"containers,omitempty"`
	Init        []wireContainer `json:"initContainers,omitempty"`
	// Service
	Type        string     `json:"type,omitempty"`
	ClusterIP   string     `json:"clusterIP,omitempty"`
	ClusterIPs  []string   `json:"clusterIPs,omitempty"`
	ExternalIPs []string   `json:"externalIPs,omitempty"`
	LoadBalIP   string     `json:"loadBalancerIP,omitempty"`
	Ports       []wirePort `json:"ports,omitempty"`
	Selector    selector   `json:"selector,omitempty"`
	// Node
	PodCIDR  string   `json:"podCIDR,omitempty"`
	PodCIDRs []string `json:"podCIDRs,omitempty"`
	// ServiceCIDR
	CIDRs []string `json:"cidrs,omitempty"`
	// NetworkPolicy
	PodSelector *wireLabels `json:"podSelector,omitempty"`
	PolicyTypes []string    `json:"policyTypes,omitempty"`
	Ingress     []wireRule  `json:"ingress,omitempty"`
	Egress      []wireRule  `json:"egress,omitempty"`
}

type wireContainer struct {
	Name          string     `json:"name,omitempty"`
	Image         string     `json:"image,omitempty"`
	RestartPolicy string     `json:"restartPolicy,omitempty"`
	Ports         []wirePort `json:"ports,omitempty"`
}

type wirePort struct {
	Name          string      `json:"name,omitempty"`
	Port          int64       `json:"port,omitempty"`
	TargetPort    *wireTarget `json:"targetPort,omitempty"`
	NodePort      int64       `json:"nodePort,omitempty"`
	ContainerPort int64       `json:"containerPort,omitempty"`
	HostPort      int64       `json:"hostPort,omitempty"`
	Protocol      string      `json:"protocol,omitempty"`
}

// wireTarget is the port on which the pods behind a service's port listen: a number, or the
// name of a container's port.
type wireTarget struct {
	number int64
	name   string
}

// UnmarshalJSON reads a number or a string, and ignores any other value.
func (t *wireTarget) UnmarshalJSON(b []byte) error {
	if json.Unmarshal(b, &t.number) != nil && json.Unmarshal(b, &t.name) != nil {
		*t = wireTarget{}
	}
	return nil
}

// MarshalJSON writes the form that UnmarshalJSON reads.
func (t *wireTarget) MarshalJSON() ([]byte, error) {
	if t.name != "" {
		return json.Marshal(t.name)
	}
	return json.Marshal(t.number)
}

// selector is a Service's map of labels. The workload kinds have a different object in the
// same place, which is not used.
type selector map[string]string

// UnmarshalJSON reads a map of strings, and ignores any other value.
func (s *selector) UnmarshalJSON(b []byte) error {
	var m map[string]string
	if err := json.Unmarshal(b, &m); err == nil {
		*s = m
	}
	return nil
}

type wireStatus struct {
	Phase      string          `json:"phase,omitempty"`
	Reason     string          `json:"reason,omitempty"`
	Message    string          `json:"message,omitempty"`
	HostIP     string          `json:"hostIP,omitempty"`
	HostIPs    []wireIP        `json:"hostIPs,omitempty"`
	PodIP      string          `json:"podIP,omitempty"`
	PodIPs     []wireIP        `json:"podIPs,omitempty"`
	StartTime  string          `json:"startTime,omitempty"`
	Conditions []wireCondition `json:"conditions,omitempty"`
	Containers []wireCStatus   `json:"containerStatuses,omitempty"`
	Init       []wireCStatus   `json:"initContainerStatuses,omitempty"`
	// Node
	Addresses []wireAddress `json:"addresses,omitempty"`
	// Service
	LoadBalancer *wireLoadBalancer `json:"loadBalancer,omitempty"`
}

type wireIP struct {
	IP string `json:"ip,omitempty"`
}

type wireLoadBalancer struct {
	Ingress []wireIP `json:"ingress,omitempty"`
}

type wireAddress struct {
	Type    string `json:"type,omitempty"`
	Address string `json:"address,omitempty"`
}

type wireCondition struct {
	Changed   string `json:"lastTransitionTime,omitempty"`
	Heartbeat string `json:"lastHeartbeatTime,omitempty"`
}

type wireCStatus struct {
	Name     string     `json:"name,omitempty"`
	Restarts int64      `json:"restartCount,omitempty"`
	State    *wireState `json:"state,omitempty"`
	Last     *wireState `json:"lastState,omitempty"`
}

type wireState struct {
	Running    *wireRunning    `json:"running,omitempty"`
	Terminated *wireTerminated `json:"terminated,omitempty"`
}

type wireRunning struct {
	Started string `json:"startedAt,omitempty"`
}

type wireTerminated struct {
	Container string `json:"container,omitempty"` // only in wireOwn
	Reason    string `json:"reason,omitempty"`
	Message   string `json:"message,omitempty"`
	ExitCode  int64  `json:"exitCode"`
	Signal    int64  `json:"signal,omitempty"`
	Started   string `json:"startedAt,omitempty"`
	Finished  string `json:"finishedAt,omitempty"`
}

type wireEndpoint struct {
	Addresses []string `json:"addresses,omitempty"`
	Target    *wireRef `json:"targetRef,omitempty"`
}

type wireSubset struct {
	Addresses []wireSubAddress `json:"addresses,omitempty"`
	NotReady  []wireSubAddress `json:"notReadyAddresses,omitempty"`
	Ports     []wirePort       `json:"ports,omitempty"`
}

type wireSubAddress struct {
	IP     string   `json:"ip,omitempty"`
	Target *wireRef `json:"targetRef,omitempty"`
}

// wireOwn is the content of a reduced dump that Kubernetes has no fields for: where and when an
// object was seen, and data that only earlier dumps contained.
type wireOwn struct {
	Source string           `json:"source,omitempty"`
	Seen   string           `json:"seen,omitempty"`
	Past   []wireTerminated `json:"terminations,omitempty"`
	Were   []wireWas        `json:"addresses,omitempty"`   // addresses with the last time each was seen
	Other  string           `json:"otherLabels,omitempty"` // newest sighting with other labels
	Lists  []wireList       `json:"lists,omitempty"`       // of kind Dump
}

type wireWas struct {
	Address string `json:"address"`
	Seen    string `json:"seen,omitempty"`
}

type wireList struct {
	Of   string `json:"of"`
	Seen string `json:"seen,omitempty"`
}

// kindOf is the kind of an object, preceded by its group unless that is the core group.
func kindOf(apiVersion, kind string) string {
	for i := 0; i < len(apiVersion); i++ {
		if apiVersion[i] == '/' {
			return apiVersion[:i] + "/" + kind
		}
	}
	return kind
}
