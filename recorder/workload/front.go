package workload

import (
	"cmp"
	"slices"
)

// Front is a port on which a service reaches what is behind it. A service without any Front may reach it on every port:
// its ports are unknown, or it has none, as a headless one may.
type Front struct {
	Service string
	Port    uint16 // 0: none, because no container has the port that the service names
	Proto   uint8  // IP protocol number
}

func compareFronts(a, b Front) int {
	return cmp.Or(cmp.Compare(a.Service, b.Service), cmp.Compare(a.Port, b.Port), cmp.Compare(a.Proto, b.Proto))
}

// SortFronts sorts a list and removes repetitions.
func SortFronts(list []Front) []Front {
	slices.SortFunc(list, compareFronts)
	return slices.Compact(list)
}

// ServiceAt is the service that reaches id on a port, empty if none does. Among several it is the one that the workload
// is named after, else the first by name.
func (id *Identity) ServiceAt(port uint16, proto uint8) string {
	var exact, any []string
	for _, name := range id.Services {
		switch {
		case slices.Contains(id.Fronts, Front{name, port, proto}):
			exact = append(exact, name)
		case !slices.ContainsFunc(id.Fronts, func(f Front) bool { return f.Service == name }):
			any = append(any, name)
		}
	}
	if len(exact) > 0 {
		return id.main(exact)
	}
	return id.main(any)
}

// Reached reports whether a service is known to reach id on a port.
func (id *Identity) Reached(port uint16, proto uint8) bool {
	return slices.ContainsFunc(id.Fronts, func(f Front) bool { return f.Port == port && f.Proto == proto })
}

// MainService is the service that names a client, whose port does not tell services apart.
func (id *Identity) MainService() string { return id.main(id.Services) }

func (id *Identity) main(services []string) string {
	if len(services) == 0 {
		return ""
	}
	if slices.Contains(services, id.Workload) {
		return id.Workload
	}
	return services[0]
}
