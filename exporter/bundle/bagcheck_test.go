package bundle

import (
	"os/exec"
	"path/filepath"
	"testing"
)

func TestAnotherBagItImplementationAgrees(t *testing.T) {
	if testing.Short() {
		t.Skip("needs time: to build bagcheck")
	}
	tool, err := exec.LookPath("go")
	if err != nil {
		t.Skip("needs go")
	}
	if out, err := exec.Command(tool, "-C", "bagcheck", "mod", "download").CombinedOutput(); err != nil {
		t.Skipf("needs the modules of bagcheck: %s", out)
	}
	bin := filepath.Join(t.TempDir(), "bagcheck.exe")
	if out, err := exec.Command(tool, "-C", "bagcheck", "build", "-o", bin, ".").CombinedOutput(); err != nil {
		t.Fatalf("building bagcheck: %v\n%s", err, out)
	}
	tests := []struct {
		name   string
		break_ func(*testing.T, string)
		valid  bool
	}{
		{"whole bundle", func(*testing.T, string) {}, true},
		{"missing table part", remove("data/tables/flows/part-000.parquet"), false},
		{"added table part", write("data/tables/flows/part-001.parquet", "x"), false},
		{"changed byte of the packets", flip("data/packets/import/000-first_half.pcapng"), false},
		{"changed bag-info", extend(bagInfoName), false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			dir := build(t, testOptions())
			tt.break_(t, dir)
			out, err := exec.Command(bin, dir).CombinedOutput()
			if (err == nil) != tt.valid || verify(t, dir).OK() != tt.valid {
				t.Errorf("it says %v %s, we say %v, want valid %v", err, out, verify(t, dir).Problems, tt.valid)
			}
		})
	}
}
