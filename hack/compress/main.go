// Command compress writes a file zstd-compressed, for internal/carry to embed. The same input gives the same output.
package main

import (
	"fmt"
	"os"

	"github.com/klauspost/compress/zstd"
)

func main() {
	if err := compress(os.Args[1], os.Args[2]); err != nil {
		fmt.Fprintln(os.Stderr, "compress:", err)
		os.Exit(1)
	}
}

func compress(from, to string) error {
	raw, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	// One block after the other, whole file as window: decoding needs no more memory than the program itself.
	enc, err := zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedBestCompression), zstd.WithEncoderConcurrency(1), zstd.WithWindowSize(8<<20))
	if err != nil {
		return err
	}
	return os.WriteFile(to, enc.EncodeAll(raw, nil), 0o644)
}
