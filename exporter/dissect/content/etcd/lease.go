package etcd

import (
	"github.com/pcapsule/pcapsule/exporter/table"
)

// leaseGrant reads a LeaseGrantRequest.
func (r *reader) leaseGrant(b []byte) {
	for n, v := range fields(b) {
		switch n {
		case 1:
			r.o.TTL = table.Some(int64(v.n))
		case 2:
			r.leased(v.n)
		}
	}
}

// lease reads a request with the number of a lease.
func (r *reader) lease(b []byte) {
	for n, v := range fields(b) {
		if n == 1 && v.n != 0 {
			if r.leased(v.n); len(r.parts) == 0 {
				add(&r.parts, r.o.Lease.V)
			}
		}
	}
}

// leaseAnswer reads the answers with the number and the time of a lease, and its keys.
func (r *reader) leaseAnswer(b []byte) {
	r.header(b)
	for n, v := range fields(b) {
		switch n {
		case 2:
			r.leased(v.n)
		case 3:
			r.o.TTL = table.Some(int64(v.n))
		case 4:
			r.o.Reason = some(string(v.b)) // of LeaseGrant; of LeaseTimeToLive a number
		case 5:
			r.keyed(v.key())
		}
	}
}

// lock reads a LockRequest, CampaignRequest or LeaderRequest: a name, a lease, and a value.
func (r *reader) lock(b []byte) {
	var name []byte
	for n, v := range fields(b) {
		switch n {
		case 1:
			name = v.b
		case 2:
			r.leased(v.n)
		case 3:
			r.value(v.b)
		}
	}
	r.target("", name, nil)
}

// locked reads a LockResponse.
func (r *reader) locked(b []byte) {
	r.header(b)
	for n, v := range fields(b) {
		if n == 2 {
			r.keyed(v.key())
		}
	}
}

// elected reads a CampaignResponse.
func (r *reader) elected(b []byte) {
	r.header(b)
	for n, v := range fields(b) {
		if n == 2 {
			r.leaderKey(v.b)
		}
	}
}

// leader reads a ProclaimRequest or a ResignRequest.
func (r *reader) leader(b []byte) {
	for n, v := range fields(b) {
		switch n {
		case 1:
			name, _ := ends(v.b, 1)
			r.target("", name, nil)
			r.leaderKey(v.b)
		case 2:
			r.value(v.b)
		}
	}
}

// leaderKey reads a LeaderKey.
func (r *reader) leaderKey(b []byte) {
	for n, v := range fields(b) {
		switch n {
		case 2:
			r.keyed(v.key())
		case 4:
			r.leased(v.n)
		}
	}
}
