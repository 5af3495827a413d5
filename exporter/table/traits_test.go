package table

import "testing"

func TestDatabaseOf(t *testing.T) {
	if d, part, ok := DatabaseOf("mysql_params"); d.Protocol != "mysql" || part != "params" || !ok {
		t.Errorf("mysql_params: %v %s", d, part)
	}
	if _, _, ok := DatabaseOf("redis_key"); ok {
		t.Error("redis_key is no part of a statement")
	}
}
