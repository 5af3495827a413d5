package network

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	"github.com/pcapsule/pcapsule/samples/gen/lab"
)

const snmpdConf = `agentaddress udp:%[1]s:161
sysDescr till
sysName till
rocommunity public
rwcommunity %[2]s
createUser ann SHA %[2]s AES %[2]s
createUser bob SHA %[2]s
rwuser ann priv
rouser bob auth
`

const snmptrapdConf = `authCommunity log public
disableAuthorization yes
`

// makeSNMP records Net-SNMP: requests of all versions, and traps.
func makeSNMP(ctx context.Context, out string) error {
	const server = "10.1.29.20"
	l, err := lab.New("snmp", "options attempts:1\n", lab.At("client", "10.1.29.5"), lab.At("agent", server))
	if err != nil {
		return err
	}
	defer l.Close()
	for name, text := range map[string]string{"snmpd.conf": fmt.Sprintf(snmpdConf, server, lab.Password), "snmptrapd.conf": snmptrapdConf} {
		if err := os.WriteFile(filepath.Join(l.Tmp, name), []byte(text), 0o644); err != nil {
			return err
		}
	}
	directory := "SNMP_PERSISTENT_DIR=" + l.Tmp
	if _, err := l.Start("agent", "NET-SNMP", "env", directory, "snmpd", "-f", "-C", "-c", filepath.Join(l.Tmp, "snmpd.conf"), "-Lo"); err != nil {
		return err
	}
	if _, err := l.Start("agent", "NET-SNMP", "env", directory, "snmptrapd", "-f", "-n", "-m", "", "-C", "-c", filepath.Join(l.Tmp, "snmptrapd.conf"), "-Lo", "udp:"+server+":162"); err != nil {
		return err
	}
	return l.Python(ctx, out, "snmp", server)
}
