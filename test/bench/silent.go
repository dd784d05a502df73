package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"io"
	"strings"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// silentWatch opens a watch on a connection of its own and then never reads from it, until ctx ends: neither frames nor bytes.
func (a *api) silentWatch(ctx context.Context, path string) error {
	cfg := &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"h2"}}
	if a.cert != nil {
		cfg.Certificates = []tls.Certificate{*a.cert}
	}
	host := strings.TrimPrefix(a.url, "https://")
	conn, err := tls.Dial("tcp", host, cfg)
	if err != nil {
		return err
	}
	context.AfterFunc(ctx, func() { conn.Close() })
	if _, err := io.WriteString(conn, http2.ClientPreface); err != nil {
		return err
	}
	framer := http2.NewFramer(conn, conn)
	if err := framer.WriteSettings(); err != nil {
		return err
	}
	var block bytes.Buffer
	fields := hpack.NewEncoder(&block)
	for _, f := range [][2]string{
		{":method", "GET"}, {":scheme", "https"}, {":authority", host}, {":path", path}, {"accept", jsonType}, {"authorization", "Bearer " + a.token},
	} {
		if f[0] != "authorization" || a.token != "" {
			if err := fields.WriteField(hpack.HeaderField{Name: f[0], Value: f[1]}); err != nil {
				return err
			}
		}
	}
	return framer.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: block.Bytes(), EndStream: true, EndHeaders: true})
}
