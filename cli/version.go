package cli

import (
	"encoding/json"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/tenet-run/tenet/internal/version"
)

func versionCommand() *cobra.Command {
	var output string
	c := &cobra.Command{
		Use: "version", Short: "Print the version", Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			v := version.Get()
			switch output {
			case "":
				fmt.Fprintf(c.OutOrStdout(), "tenet %s (Kubernetes API %s, %s, %s)\n", version.Version, v.GitVersion, v.GoVersion, v.Platform)
			case "json":
				e := json.NewEncoder(c.OutOrStdout())
				e.SetIndent("", "  ")
				return e.Encode(struct {
					Tenet      string `json:"tenet"`
					Kubernetes any    `json:"kubernetes"`
				}{version.Version, v})
			default:
				return fmt.Errorf("unknown output format %q: use json, or leave it out", output)
			}
			return nil
		},
	}
	c.Flags().StringVarP(&output, "output", "o", "", "json for a machine to read")
	return c
}
