package cli

import (
	"io"
	"os"

	"github.com/spf13/cobra"

	"github.com/pcapsule/pcapsule/forensics"
	"github.com/pcapsule/pcapsule/mcp"
)

func (e *env) cmdMCP() *cobra.Command {
	var exportDir string
	var secrets bool
	c := &cobra.Command{
		Use:   "mcp BUNDLE...",
		Short: "Serve bundles to an assistant over MCP on standard input and output",
		Long: `Serve bundles to an assistant over the Model Context Protocol on standard input and output.
Every answer cites its packets and says what was recorded. Credentials in headers and URLs
are masked unless --show-secrets is given; bodies are as they were sent.`,
		Example: `  pcapsule mcp incident.pcapsule
  assistant mcp add incident -- pcapsule mcp /evidence/incident.pcapsule --export-dir /tmp`,
		Args:              cobra.MinimumNArgs(1),
		ValidArgsFunction: completeBundles,
		RunE: func(c *cobra.Command, args []string) error {
			if exportDir != "" {
				if info, err := os.Stat(exportDir); err != nil || !info.IsDir() {
					return usagef("--export-dir %s: not a folder", exportDir)
				}
			}
			cs, err := forensics.Open(c.Context(), args, forensics.Options{MaskSecrets: !secrets})
			if err != nil {
				return err
			}
			defer cs.Close()
			return mcp.Serve(c.Context(), cs, mcp.Options{Release: Release, ExportDir: exportDir, Secrets: secrets}, io.NopCloser(e.in), nopCloser{e.out})
		},
	}
	c.Flags().StringVar(&exportDir, "export-dir", "", "folder where export_pcap may write; without it that tool refuses")
	c.Flags().BoolVar(&secrets, "show-secrets", false, "do not mask credentials")
	return c
}

type nopCloser struct{ io.Writer }

// Close implements io.Closer; standard output is not ours to close.
func (nopCloser) Close() error { return nil }
