package network

import (
	"context"
	_ "embed" // modbus.py
	"os"
	"path/filepath"

	"github.com/pcapsule/pcapsule/samples/gen/lab"
)

//go:embed modbus.py
var modbusScript string

// makeModbus records pymodbus: reads, writes and exceptions.
func makeModbus(ctx context.Context, out string) error {
	python, err := lab.PythonWith(ctx, "pymodbus==3.16.1")
	if err != nil {
		return err
	}
	const server = "10.1.36.20"
	l, err := lab.New("modbus", "", lab.At("client", "10.1.36.5"), lab.At("plant", server))
	if err != nil {
		return err
	}
	defer l.Close()
	script := filepath.Join(l.Tmp, "modbus.py")
	if err := os.WriteFile(script, []byte(modbusScript), 0o644); err != nil {
		return err
	}
	if _, err := l.Start("plant", "", python, script, "server", server); err != nil {
		return err
	}
	if err := l.Do(ctx, "client", "wait", server+":502"); err != nil {
		return err
	}
	return l.RecordClient(ctx, out, "modbus", python, script, "client", server, filepath.Join(out, "modbus.said.tsv"))
}
