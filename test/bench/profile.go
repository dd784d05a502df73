package main

import (
	"fmt"
	"io"
	"log"
	"net/http"
	"os"
	"path/filepath"
	"strings"
)

// profile starts a CPU profile of the API server, when one is wanted, and returns what waits for its end.
func (a *api) profile(row string) func() {
	if *profiles == "" {
		return func() {}
	}
	done := make(chan error, 1)
	go func() {
		req, err := http.NewRequest("GET", fmt.Sprintf("%s/debug/pprof/profile?seconds=%d", a.url, *seconds), nil)
		if err != nil {
			done <- err
			return
		}
		if a.token != "" {
			req.Header.Set("Authorization", "Bearer "+a.token)
		}
		resp, err := a.client().Do(req)
		if err != nil {
			done <- err
			return
		}
		defer resp.Body.Close()
		data, err := io.ReadAll(resp.Body)
		if err == nil {
			name := strings.NewReplacer(" ", "-", ",", "", "%", "").Replace(row)
			err = os.WriteFile(filepath.Join(*profiles, name+".pprof"), data, 0o644)
		}
		done <- err
	}()
	return func() {
		if err := <-done; err != nil {
			log.Printf("  profile of %s: %v", row, err)
		}
	}
}
