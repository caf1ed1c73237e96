package localstack

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"time"
)

// Server is one part of the stack that is served in this process: S3 or Kinesis. What it stores lives as long as the stack, also
// over an outage. All methods may be called from any goroutine.
type Server struct {
	name    string
	addr    netip.AddrPort
	handler http.Handler

	mu     sync.Mutex
	http   *http.Server  // nil while it does not listen
	served chan struct{} // closed when the goroutine of http has ended
}

// Name is the part's name: "s3" or "kinesis".
func (s *Server) Name() string { return s.name }

// Addr is where it listens, also during an outage.
func (s *Server) Addr() netip.AddrPort { return s.addr }

// URL is its endpoint for an AWS client.
func (s *Server) URL() string { return "http://" + s.addr.String() }

// Interrupt begins an outage: all connections are cut and new ones refused, until Resume.
func (s *Server) Interrupt() error {
	s.mu.Lock()
	server, served := s.http, s.served
	s.http = nil
	s.mu.Unlock()
	if server == nil {
		return fmt.Errorf("interrupt %s: it does not listen", s.name)
	}
	err := server.Close()
	<-served
	if err != nil {
		return fmt.Errorf("interrupt %s: %w", s.name, err)
	}
	return nil
}

// Resume ends an outage: it listens on its port again.
func (s *Server) Resume() error {
	listener, err := net.Listen("tcp4", s.addr.String())
	if err != nil {
		return fmt.Errorf("listen for %s: %w", s.name, err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.http != nil {
		return errors.Join(fmt.Errorf("resume %s: it listens already", s.name), listener.Close())
	}
	server := &http.Server{Handler: s.handler, ReadHeaderTimeout: 10 * time.Second}
	served := make(chan struct{})
	s.http, s.served = server, served
	// Ends when the server is closed, for which Interrupt waits.
	go func() {
		defer close(served)
		_ = server.Serve(listener)
	}()
	return nil
}

// stop ends serving, if it listens.
func (s *Server) stop() {
	s.mu.Lock()
	listening := s.http != nil
	s.mu.Unlock()
	if listening {
		_ = s.Interrupt()
	}
}
