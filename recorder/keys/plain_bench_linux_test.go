//go:build amd64 || arm64

package keys

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// toItself is a Python program that is both ends of a connection, like testdata/gotalk.
const toItself = `
import ssl,socket,threading,sys
size,rounds=int(sys.argv[2]),int(sys.argv[3])
s=ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER); s.load_cert_chain(sys.argv[1])
c=ssl._create_unverified_context()
a,b=socket.socketpair()
def full(x):
  n=size
  while n:
    got=x.recv(n)
    if not got: return False
    n-=len(got)
  return True
def serve():
  x=s.wrap_socket(a,server_side=True)
  while full(x): x.sendall(bytes(size))
threading.Thread(target=serve,daemon=True).start()
x=c.wrap_socket(b)
print('ready',flush=True); sys.stdin.readline()
for i in range(rounds):
  x.sendall(bytes(size)); full(x)
`

type nothing struct{ n int }

func (n *nothing) Plain(*Plain) error { n.n++; return nil }
func (n *nothing) Flush() error       { return nil }

// BenchmarkPlaintextCall measures the processor time of a call that sends or receives, with
// and without plaintext being read. A round has four calls, two of them in each direction.
func BenchmarkPlaintextCall(b *testing.B) {
	if os.Getuid() != 0 {
		b.Skip("needs CAP_BPF")
	}
	bin := filepath.Join(b.TempDir(), "gotalk")
	if out, err := exec.Command("go", "build", "-o", bin, "./testdata/gotalk").CombinedOutput(); err != nil {
		b.Fatalf("%v: %s", err, out)
	}
	pem := filepath.Join(b.TempDir(), "pem")
	if out, err := exec.Command("sh", "-c", "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=x -keyout "+pem+" -out "+pem+".crt && cat "+pem+".crt >>"+pem).CombinedOutput(); err != nil {
		b.Skipf("needs TLS programs: %s", out)
	}
	for _, size := range []int{64, 16 << 10} {
		for _, program := range []string{"go", "openssl"} {
			for _, with := range []bool{false, true} {
				b.Run(fmt.Sprintf("%s/bytes=%d/read=%v", program, size, with), func(b *testing.B) {
					args := []string{bin, fmt.Sprint("-rounds=", b.N), fmt.Sprint("-bytes=", size)}
					if program == "openssl" {
						args = []string{"/usr/bin/python3", "-c", toItself, pem, fmt.Sprint(size), fmt.Sprint(b.N)}
					}
					c := exec.Command(args[0], args[1:]...)
					in, err := c.StdinPipe()
					if err != nil {
						b.Fatal(err)
					}
					out, err := c.StdoutPipe()
					if err != nil {
						b.Fatal(err)
					}
					if err := c.Start(); err != nil {
						b.Fatal(err)
					}
					if line, err := bufio.NewReader(out).ReadString('\n'); err != nil || strings.TrimSpace(line) != "ready" {
						b.Fatal(line, err)
					}
					if with {
						tr, err := Start(Options{Select: Selector{PIDs: []uint32{uint32(c.Process.Pid)}}, Plain: &nothing{}, RingBytes: 64 << 20})
						if err != nil {
							b.Skip("needs CAP_BPF: ", err)
						}
						defer func() {
							k, err := tr.PlainCounters()
							// The last call of the server may not return before the program ends.
							if want := uint64(4*b.N - 1); err != nil || k.Calls < want {
								b.Errorf("%d calls, want %d; %v", k.Calls, want, err)
							}
							b.ReportMetric(float64(k.Lost)/float64(max(k.Seen, 1)), "lost/piece")
							tr.Close()
						}()
						for tr.Processes()[0].Reason != NoHandshake {
							time.Sleep(10 * time.Millisecond)
						}
					}
					b.ResetTimer()
					if _, err := io.WriteString(in, "go\n"); err != nil {
						b.Fatal(err)
					}
					if err := c.Wait(); err != nil {
						b.Fatal(err)
					}
					b.StopTimer()
					b.ReportMetric(float64((c.ProcessState.UserTime()+c.ProcessState.SystemTime()).Nanoseconds())/float64(4*b.N), "cpu-ns/call")
				})
			}
		}
	}
}
