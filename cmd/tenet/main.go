// Command tenet is a runtime for declarative infrastructure: the Kubernetes API, its controllers, its scheduler and its node agent in one program.
package main

import (
	"os"

	"github.com/tenet-run/tenet/cli"
)

func main() { os.Exit(cli.Main(os.Args)) }
