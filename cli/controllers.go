package cli

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/tenet-run/tenet/server"
)

func controllersCommand() *cobra.Command {
	return &cobra.Command{
		Use: "controllers", Short: "Print what each controller reads and what it owns", Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			graph, err := server.ControllerGraph()
			if err == nil {
				fmt.Fprint(c.OutOrStdout(), graph)
			}
			return err
		},
	}
}
