package main

import (
	"context"
	"fmt"
	"path/filepath"
)

// makeMQTTWeb records MQTT inside WebSocket.
func makeMQTTWeb(ctx context.Context, out string) error {
	l, err := newLab("mqttws", "", host{"client", "10.1.11.5", ""}, host{"mqtt", "10.1.11.20", ""})
	if err != nil {
		return err
	}
	defer l.close()
	if err := l.mosquitto("mqtt", "listener 8083 10.1.11.20\nprotocol websockets\n"); err != nil {
		return err
	}
	r, err := l.record(filepath.Join(out, "mqtt-ws.pcapng"))
	if err != nil {
		return err
	}
	if err := l.do(ctx, "client", "mqtt-ws-client", "ws://10.1.11.20:8083/mqtt", filepath.Join(out, "mqtt-ws.said.tsv")); err != nil {
		return err
	}
	return r.stop()
}

// mqttWebClient publishes and subscribes in versions 3.1 and 3.1.1.
func mqttWebClient(_ context.Context, args []string) error {
	var s said
	for _, version := range []uint{3, 4} {
		if err := mqttOld(args[0], version, &s); err != nil {
			return fmt.Errorf("version %d: %w", version, err)
		}
	}
	return s.write(args[1])
}
