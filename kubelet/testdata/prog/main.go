// Command prog is what test containers run: prog serve; prog exit <code> [termination message]; prog cat <file>; prog echo <words>.
package main

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
)

func main() {
	switch os.Args[1] {
	case "serve":
		term := make(chan os.Signal, 1)
		signal.Notify(term, syscall.SIGTERM)
		http.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, "page") })
		http.HandleFunc("/file", func(w http.ResponseWriter, r *http.Request) {
			b, err := os.ReadFile(r.URL.Query().Get("path"))
			if err != nil {
				http.Error(w, err.Error(), 404)
			}
			w.Write(b)
		})
		http.HandleFunc("/stat", func(w http.ResponseWriter, r *http.Request) {
			i, err := os.Stat(r.URL.Query().Get("path"))
			if err != nil {
				http.Error(w, err.Error(), 404)
				return
			}
			s := i.Sys().(*syscall.Stat_t)
			fmt.Fprintf(w, "%s %d:%d", i.Mode(), s.Uid, s.Gid)
		})
		http.HandleFunc("/write", func(w http.ResponseWriter, r *http.Request) {
			if err := os.WriteFile(r.URL.Query().Get("path"), []byte(r.URL.Query().Get("text")), 0o644); err != nil {
				http.Error(w, err.Error(), 500)
			}
		})
		http.HandleFunc("/env", func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, strings.Join(os.Environ(), "\n")) })
		http.HandleFunc("/id", func(w http.ResponseWriter, r *http.Request) {
			g, _ := os.Getgroups()
			h, _ := os.Hostname()
			fmt.Fprintf(w, "%d:%d %v %s", os.Getuid(), os.Getgid(), g, h)
		})
		http.HandleFunc("/say", func(w http.ResponseWriter, r *http.Request) { fmt.Println(r.URL.Query().Get("text")) })
		http.HandleFunc("/exit", func(w http.ResponseWriter, r *http.Request) {
			os.WriteFile("/dev/termination-log", []byte(r.URL.Query().Get("message")), 0)
			code, _ := strconv.Atoi(r.URL.Query().Get("code"))
			os.Exit(code)
		})
		fmt.Println("serving")
		go func() {
			fmt.Fprintln(os.Stderr, http.ListenAndServe(":8080", nil))
			os.Exit(1)
		}()
		<-term
		fmt.Println("ending")
	case "exit":
		if len(os.Args) > 3 {
			os.WriteFile("/dev/termination-log", []byte(os.Args[3]), 0)
		}
		code, _ := strconv.Atoi(os.Args[2])
		os.Exit(code)
	case "cat":
		if len(os.Args) == 2 {
			io.Copy(os.Stdout, os.Stdin)
			return
		}
		b, err := os.ReadFile(filepath.Clean(os.Args[2]))
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Stdout.Write(b)
	case "echo":
		fmt.Println(strings.Join(os.Args[2:], " "))
	}
}
