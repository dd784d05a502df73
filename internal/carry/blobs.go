//go:build carry

package carry

import "embed"

// Filled by `make carried`.
//
//go:embed blobs/*.zst
var blobs embed.FS
