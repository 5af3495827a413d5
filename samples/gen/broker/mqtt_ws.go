package broker

import (
	"context"
	"fmt"
	"path/filepath"

	"github.com/pcapsule/pcapsule/samples/gen/lab"
)

// makeMQTTWeb records MQTT inside WebSocket.
func makeMQTTWeb(ctx context.Context, out string) error {
	l, err := lab.New("mqttws", "", lab.At("client", "10.1.11.5"), lab.At("mqtt", "10.1.11.20"))
	if err != nil {
		return err
	}
	defer l.Close()
	if err := startMosquitto(l, "mqtt", "listener 8083 10.1.11.20\nprotocol websockets\n"); err != nil {
		return err
	}
	r, err := l.Record(filepath.Join(out, "mqtt-ws.pcapng"))
	if err != nil {
		return err
	}
	if err := l.Do(ctx, "client", "mqtt-ws-client", "ws://10.1.11.20:8083/mqtt", filepath.Join(out, "mqtt-ws.said.tsv")); err != nil {
		return err
	}
	return r.Stop()
}

// mqttWebClient publishes and subscribes in versions 3.1 and 3.1.1.
func mqttWebClient(_ context.Context, args []string) error {
	var s lab.Said
	for _, version := range []uint{3, 4} {
		if err := mqttOld(args[0], version, &s); err != nil {
			return fmt.Errorf("version %d: %w", version, err)
		}
	}
	return s.Write(args[1])
}
