package broker

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	paho "github.com/eclipse/paho.golang/paho"
	old "github.com/eclipse/paho.mqtt.golang"

	"github.com/pcapsule/pcapsule/samples/gen/lab"
)

const mosquittoConf = `listener 1883 %s
allow_anonymous false
password_file %[2]s/mqtt.passwords
acl_file %[2]s/mqtt.acl
max_topic_alias 10
persistence false
log_type all
`

const mosquittoACL = `user shop
topic readwrite sensors/#
topic readwrite replies/#
`

// startMosquitto starts a broker with one user, who may use two trees of topics. more are lines of its
// configuration.
func startMosquitto(l *lab.Lab, on, more string) error {
	if out, err := exec.Command("mosquitto_passwd", "-c", "-b", filepath.Join(l.Tmp, "mqtt.passwords"), "shop", lab.Password).CombinedOutput(); err != nil {
		return fmt.Errorf("making the password file: %w: %s", err, out)
	}
	conf := filepath.Join(l.Tmp, "mosquitto.conf")
	for file, text := range map[string]string{conf: fmt.Sprintf(mosquittoConf, l.Hosts[on].IP, l.Tmp) + more, filepath.Join(l.Tmp, "mqtt.acl"): mosquittoACL} {
		if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
			return err
		}
	}
	if err := os.Chmod(filepath.Join(l.Tmp, "mqtt.passwords"), 0o644); err != nil {
		return err
	}
	_, err := l.Start(on, "running", "mosquitto", "-c", conf)
	return err
}

func makeMQTT(ctx context.Context, out string) error {
	l, err := lab.New("mqtt", "", lab.At("client", "10.1.11.5"), lab.At("mqtt", "10.1.11.20"))
	if err != nil {
		return err
	}
	defer l.Close()
	if err := startMosquitto(l, "mqtt", ""); err != nil {
		return err
	}
	r, err := l.Record(filepath.Join(out, "mqtt.pcapng"))
	if err != nil {
		return err
	}
	if err := l.Do(ctx, "client", "mqtt-client", "10.1.11.20:1883", filepath.Join(out, "mqtt.said.tsv")); err != nil {
		return err
	}
	return r.Stop()
}

// mqttClient publishes and subscribes in versions 3.1, 3.1.1 and 5.
func mqttClient(ctx context.Context, args []string) error {
	var s lab.Said
	for _, version := range []uint{3, 4} {
		if err := mqttOld("tcp://"+args[0], version, &s); err != nil {
			return fmt.Errorf("version %d: %w", version, err)
		}
	}
	if err := mqttFive(ctx, args[0], &s); err != nil {
		return fmt.Errorf("version 5: %w", err)
	}
	if err := mqttRefused(ctx, args[0], &s); err != nil {
		return fmt.Errorf("errors: %w", err)
	}
	return s.Write(args[1])
}

// done waits for a step of the older client.
func done(t old.Token) error {
	if !t.WaitTimeout(5 * time.Second) {
		return errors.New("no answer in time")
	}
	return t.Error()
}

func mqttOld(at string, version uint, s *lab.Said) error {
	name := fmt.Sprintf("meter-%d", version)
	got := make(chan old.Message, 8)
	c := old.NewClient(old.NewClientOptions().AddBroker(at).SetClientID(name).SetProtocolVersion(version).SetUsername("shop").SetPassword(lab.Password).
		SetWill("sensors/"+name+"/gone", "gone", 1, false).SetKeepAlive(time.Minute).SetAutoReconnect(false).SetDefaultPublishHandler(func(_ old.Client, m old.Message) { got <- m }))
	if err := done(c.Connect()); err != nil {
		return err
	}
	s.Line("CONNECT\t%s\taccepted", name)
	filter := "sensors/" + name + "/#"
	if err := done(c.Subscribe(filter, 2, nil)); err != nil {
		return err
	}
	s.Line("SUBSCRIBE\t%s\tQoS 2", filter)
	for qos := range byte(3) {
		topic := fmt.Sprintf("sensors/%s/%d", name, qos)
		value := strings.Repeat(fmt.Sprintf("%d.5 ", qos), 400)
		if err := done(c.Publish(topic, qos, qos == 1, value)); err != nil {
			return err
		}
		s.Line("PUBLISH\t%s\tQoS %d", topic, qos)
		select {
		case m := <-got:
			s.Line("PUBLISH\t%s\tQoS %d", m.Topic(), m.Qos())
		case <-time.After(5 * time.Second):
			return errors.New("the message does not come back")
		}
	}
	if err := done(c.Unsubscribe(filter)); err != nil {
		return err
	}
	s.Line("UNSUBSCRIBE\t%s\tok", filter)
	time.Sleep(lab.Settle)
	c.Disconnect(100)
	s.Line("DISCONNECT\t%s\tok", name)
	return nil
}

// mqttDial connects a client of version 5. It returns the answer to CONNECT, too.
func mqttDial(ctx context.Context, at, name, password string, got chan<- *paho.Publish) (*paho.Client, *paho.Connack, error) {
	conn, err := net.Dial("tcp", at)
	if err != nil {
		return nil, nil, err
	}
	c := paho.NewClient(paho.ClientConfig{Conn: conn, OnPublishReceived: []func(paho.PublishReceived) (bool, error){
		func(r paho.PublishReceived) (bool, error) { got <- r.Packet; return true, nil }}})
	a, err := c.Connect(ctx, &paho.Connect{ClientID: name, CleanStart: true, KeepAlive: 60, UsernameFlag: true, Username: "shop", PasswordFlag: true, Password: []byte(password)})
	return c, a, err
}

func mqttFive(ctx context.Context, at string, s *lab.Said) error {
	got := make(chan *paho.Publish, 8)
	c, _, err := mqttDial(ctx, at, "gateway", lab.Password, got)
	if err != nil {
		return err
	}
	s.Line("CONNECT\tgateway\tsuccess")
	a, err := c.Subscribe(ctx, &paho.Subscribe{Subscriptions: []paho.SubscribeOptions{{Topic: "replies/+", QoS: 1}, {Topic: "sensors/5/#", QoS: 2}}})
	if err != nil {
		return err
	}
	s.Line("SUBSCRIBE\treplies/+,sensors/5/#\tQoS %d", a.Reasons[0])
	alias := uint16(3)
	for i, topic := range []string{"sensors/5/door", "", "replies/7"} { // the second has only its alias
		p := &paho.PublishProperties{User: paho.UserProperties{{Key: "traceparent", Value: lab.Trace}}, ContentType: "application/json",
			ResponseTopic: "replies/7", CorrelationData: []byte{0, 1, byte(i)}}
		if i < 2 {
			p.TopicAlias = &alias
		}
		if _, err := c.Publish(ctx, &paho.Publish{Topic: topic, QoS: byte(2 - i), Payload: []byte(`{"open":true}`), Properties: p}); err != nil {
			return err
		}
		if i == 1 {
			topic = "sensors/5/door"
		}
		s.Line("PUBLISH\t%s\tQoS %d", topic, 2-i)
		select {
		case m := <-got:
			if m.Topic == "" {
				m.Topic = topic
			}
			s.Line("PUBLISH\t%s\tQoS %d", m.Topic, m.QoS)
		case <-time.After(5 * time.Second):
			return errors.New("the message does not come back")
		}
	}
	if _, err := c.Unsubscribe(ctx, &paho.Unsubscribe{Topics: []string{"replies/+", "nothing"}}); err != nil {
		return err
	}
	s.Line("UNSUBSCRIBE\treplies/+,nothing\tok")
	if err := c.Disconnect(&paho.Disconnect{ReasonCode: 4}); err != nil {
		return err
	}
	s.Line("DISCONNECT\tgateway\tdisconnect with will message")
	return nil
}

// mqttRefused logs in with a wrong password, and publishes where it may not.
func mqttRefused(ctx context.Context, at string, s *lab.Said) error {
	got := make(chan *paho.Publish, 8)
	_, a, err := mqttDial(ctx, at, "thief", "wrong", got)
	if err == nil {
		return errors.New("the password counts as right")
	}
	if a == nil {
		return err
	}
	s.Line("CONNECT\tthief\t%s", map[byte]string{0x86: "bad user name or password", 0x87: "not authorized"}[a.ReasonCode])
	c, _, err := mqttDial(ctx, at, "intruder", lab.Password, got)
	if err != nil {
		return err
	}
	s.Line("CONNECT\tintruder\tsuccess")
	p, err := c.Publish(ctx, &paho.Publish{Topic: "secret/plans", QoS: 1, Payload: []byte("x")})
	if p == nil {
		return err
	}
	s.Line("PUBLISH\tsecret/plans\t%s", map[byte]string{0x87: "not authorized"}[p.ReasonCode])
	return nil
}
