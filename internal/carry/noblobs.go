//go:build !carry

package carry

import "embed"

// A plain build carries nothing.
var blobs embed.FS
