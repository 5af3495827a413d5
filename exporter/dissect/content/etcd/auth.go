package etcd

// user reads a request whose first field is a user.
func (r *reader) user(b []byte) {
	for n, v := range fields(b) {
		if n == 1 {
			r.o.User = some(v.key())
			add(&r.parts, v.key())
		}
	}
}

// role reads a request whose first field is a role.
func (r *reader) role(b []byte) {
	for n, v := range fields(b) {
		if n == 1 {
			r.o.Role = some(v.key())
			add(&r.parts, v.key())
		}
	}
}

// userRole reads a request with a user and a role.
func (r *reader) userRole(b []byte) {
	user, role := ends(b, 1)
	r.o.User, r.o.Role = some(string(user)), some(string(role))
	add(&r.parts, r.o.User.V+" "+r.o.Role.V)
}

// grant reads an AuthRoleGrantPermissionRequest: a role, and a Permission with its type, key and end.
func (r *reader) grant(b []byte) {
	r.role(b)
	for n, v := range fields(b) {
		if n != 2 {
			continue
		}
		what := "read"
		for n, v := range fields(v.b) {
			if n == 1 {
				what = [...]string{"read", "write", "readwrite"}[min(v.n, 2)]
			}
		}
		key, end := ends(v.b, 2)
		r.target(what, key, end)
	}
}

// revoke reads an AuthRoleRevokePermissionRequest.
func (r *reader) revoke(b []byte) {
	r.role(b)
	key, end := ends(b, 2)
	r.target("", key, end)
}
