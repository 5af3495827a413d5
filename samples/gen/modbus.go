package main

import (
	"context"
	_ "embed" // modbus.py
	"os"
	"path/filepath"
)

//go:embed modbus.py
var modbusScript string

// makeModbus records pymodbus: reads, writes and exceptions.
func makeModbus(ctx context.Context, out string) error {
	python, err := pythonWith(ctx, "pymodbus==3.16.1")
	if err != nil {
		return err
	}
	const server = "10.1.36.20"
	l, err := newLab("modbus", "", host{"client", "10.1.36.5", ""}, host{"plant", server, ""})
	if err != nil {
		return err
	}
	defer l.close()
	script := filepath.Join(l.tmp, "modbus.py")
	if err := os.WriteFile(script, []byte(modbusScript), 0o644); err != nil {
		return err
	}
	if _, err := l.start("plant", "", python, script, "server", server); err != nil {
		return err
	}
	if err := l.do(ctx, "client", "wait", server+":502"); err != nil {
		return err
	}
	return l.recordClient(ctx, out, "modbus", python, script, "client", server, filepath.Join(out, "modbus.said.tsv"))
}
