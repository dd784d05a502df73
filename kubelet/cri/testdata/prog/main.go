// Command prog is what test containers run: prog serve [message], get <url>, cat <file>, exit <code>, sleep.
package main

import (
	"fmt"
	"net/http"
	"os"
	"os/signal"
	"strconv"
	"syscall"
)

func main() {
	arg := func(i int) string {
		if len(os.Args) > i {
			return os.Args[i]
		}
		return ""
	}
	term := make(chan os.Signal, 1)
	signal.Notify(term, syscall.SIGTERM)
	switch arg(1) {
	case "serve":
		go func() {
			fmt.Println("serving")
			fmt.Fprintln(os.Stderr, http.ListenAndServe(":8080", http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, arg(2)) })))
			os.Exit(1)
		}()
		<-term
	case "get":
		r, err := http.Get(arg(2))
		if err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
		fmt.Println(r.Status)
	case "cat":
		b, err := os.ReadFile(arg(2))
		if err != nil {
			fmt.Println(err)
		}
		os.Stdout.Write(b)
	case "sleep":
		fmt.Println("hello")
		<-term
	case "exit":
		code, _ := strconv.Atoi(arg(2))
		os.Exit(code)
	}
}
