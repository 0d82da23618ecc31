// The peer in Go: POST /v1/pose/frames on net/http, the standard library only.
//
// The form "accept" verifies the session token (kept once verified), inflates and checks the batch
// and answers the contract's JSON. The form "full" also keeps each batch in its session's file and
// computes the joints' angles of every frame.
//
// What a request needs for itself (buffers, the inflater) comes from a pool, answers are formatted
// and not marshalled, and a session has its own lock, so that requests of different sessions meet
// only where tokens and sessions are looked up.
package main

import (
	"context"
	"flag"
	"fmt"
	"log"
	"net"
	"net/http"
	"os"
	"os/signal"
	"runtime/debug"
	"syscall"
	"time"
)

const (
	stopTime      = 5 * time.Second
	sweepTime     = 100 * time.Millisecond
	headerTime    = 10 * time.Second
	idleTime      = 75 * time.Second
	maxHeaderSize = 16 << 10
	// The heap is small beside what pools and sessions hold, so at Go's default of 100 the
	// collector would run far more often than memory asks for.
	gcPercent = 400
)

func main() {
	log.SetFlags(0)
	form := flag.String("form", "accept", "accept or full")
	folder := flag.String("folder", "", "where the form full keeps its files")
	flag.Parse()
	if *form != "accept" && *form != "full" || (*form == "full") != (*folder != "") {
		log.Fatal("the form is accept, or full with a folder")
	}
	if err := serve(*folder); err != nil {
		log.Fatal(err)
	}
}

func serve(folder string) error {
	debug.SetGCPercent(gcPercent)
	var files *fileCache
	if folder != "" {
		if err := os.MkdirAll(folder, 0o700); err != nil {
			return err
		}
		files = newFileCache(folder)
	}
	sessions := newSessions(files)
	route := &poseRoute{
		tokens:   newTokens([]byte(os.Getenv("PENSTOCK_SESSION_SECRET")), sessions),
		sessions: sessions,
	}
	server := &http.Server{
		Handler:           route,
		ReadHeaderTimeout: headerTime,
		IdleTimeout:       idleTime,
		MaxHeaderBytes:    maxHeaderSize,
	}
	stop, cancel := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer cancel()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	failed := make(chan error, 2)
	go func() { failed <- server.Serve(listener) }()
	if files != nil {
		go func() { failed <- sessions.sweepUntil(stop.Done()) }()
	}
	fmt.Fprintf(os.Stderr, "{\"event\":\"service.started\",\"address\":\"http://%s\"}\n",
		listener.Addr())
	select {
	case err := <-failed:
		if err != nil {
			return err
		}
	case <-stop.Done():
	}
	limit, end := context.WithTimeout(context.Background(), stopTime)
	defer end()
	if err := server.Shutdown(limit); err != nil {
		return err
	}
	return sessions.flush(time.Time{})
}
