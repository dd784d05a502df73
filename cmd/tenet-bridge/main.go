// Command tenet-bridge is the CNI plugin of Tenet's pod network: see package attach. bin/tenet carries it compressed and unpacks it when a node starts.
package main

import "github.com/tenet-run/tenet/network/podnet/attach"

func main() { attach.Main() }
