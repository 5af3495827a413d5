package office

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/pcapsule/pcapsule/samples/gen/lab"
)

const ganeshaConf = `NFS_CORE_PARAM { Protocols = 4; Enable_NLM = false; Enable_RQUOTA = false; NFS_Port = 2049; }
NFS_KRB5 { Active_krb5 = false; }
NFSv4 { RecoveryBackend = fs; Graceless = true; Minor_Versions = 0, 1; }
EXPORT {
	Export_Id = 1;
	Path = %[1]s/export;
	Pseudo = /export;
	Access_Type = RW;
	Squash = No_root_squash;
	SecType = sys;
	FSAL { Name = VFS; }
}
`

// makeNFS records NFS-Ganesha with the tools of libnfs: NFS 4.0.
func makeNFS(ctx context.Context, out string) error {
	const server = "10.1.32.20"
	l, err := lab.New("nfs", "", lab.At("client", "10.1.32.5"), lab.At("files", server))
	if err != nil {
		return err
	}
	defer l.Close()
	if err := os.MkdirAll(filepath.Join(l.Tmp, "export", "2026"), 0o755); err != nil {
		return err
	}
	conf := filepath.Join(l.Tmp, "ganesha.conf")
	for name, text := range map[string]string{conf: fmt.Sprintf(ganeshaConf, l.Tmp), filepath.Join(l.Tmp, "export", "2026", "menu.txt"): strings.Repeat("tea\n", 100)} {
		if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
			return err
		}
	}
	if _, err := l.Start("files", "", "ganesha.nfsd", "-F", "-L", filepath.Join(l.Tmp, "log"), "-f", conf, "-p", filepath.Join(l.Tmp, "pid"), "-N", "NIV_EVENT"); err != nil {
		return err
	}
	if err := l.Do(ctx, "client", "wait", server+":2049"); err != nil {
		return err
	}
	return l.Python(ctx, out, "nfs", server)
}
