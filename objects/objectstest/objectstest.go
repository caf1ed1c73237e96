// Package objectstest serves S3 in memory for tests: gofakes3 on a loopback listener, which can be taken down and up
// again on the same port with all it holds.
package objectstest

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/johannesboyne/gofakes3"
	"github.com/johannesboyne/gofakes3/backend/s3mem"

	"penstock/objects"
)

// Server is an S3 in memory. Down and Up are called by the test's goroutine.
type Server struct {
	t       testing.TB
	handler http.Handler
	address string // host:port, kept for the life of the server
	http    *http.Server
	served  sync.WaitGroup // ends when Down closes the listener
}

// Start serves S3 with the named buckets until the test ends.
func Start(t testing.TB, buckets ...string) *Server {
	t.Helper()
	backend := s3mem.New()
	for _, b := range buckets {
		if err := backend.CreateBucket(b); err != nil {
			t.Fatalf("create bucket %s: %v", b, err)
		}
	}
	s := &Server{t: t, handler: known(gofakes3.New(backend).Server()), address: "127.0.0.1:0"}
	s.Up()
	t.Cleanup(s.Down)
	return s
}

// known refuses requests of other keys than the server's own, which gofakes3 does not look at. It believes that the signature
// is right.
func known(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.Contains(r.Header.Get("Authorization"), " Credential="+keyID+"/") {
			next.ServeHTTP(w, r)
			return
		}
		w.Header().Set("Content-Type", "application/xml")
		w.WriteHeader(http.StatusForbidden)
		if r.Method != http.MethodHead {
			_, _ = io.WriteString(w, `<Error><Code>InvalidAccessKeyId</Code><Message>The AWS access key ID is not known here.</Message></Error>`)
		}
	})
}

const keyID = "test"

// Up listens again after Down, on the same port.
func (s *Server) Up() {
	s.t.Helper()
	listener, err := net.Listen("tcp", s.address)
	if err != nil {
		s.t.Fatalf("listen for S3 on %s: %v", s.address, err)
	}
	s.address = listener.Addr().String()
	s.http = &http.Server{Handler: s.handler}
	server := s.http
	s.served.Go(func() {
		if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
			s.t.Errorf("serve S3: %v", err)
		}
	})
}

// Down closes the listener and every connection. What is stored stays. It may be called again.
func (s *Server) Down() {
	_ = s.http.Close()
	s.served.Wait()
}

// URL returns what AWS_ENDPOINT_URL_S3 should be.
func (s *Server) URL() string { return "http://" + s.address }

// AWS returns a configuration that reaches the server.
func (s *Server) AWS() aws.Config {
	return aws.Config{
		Region:       "us-east-1",
		BaseEndpoint: aws.String(s.URL()),
		Credentials: aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) {
			return aws.Credentials{AccessKeyID: keyID, SecretAccessKey: "test"}, nil
		}),
	}
}

// Store returns a store on the server that tries each request once, so that an outage shows at once.
func (s *Server) Store(bucket, prefix string) *objects.Store {
	s.t.Helper()
	store, err := objects.New(s.AWS(), objects.Config{Bucket: bucket, Prefix: prefix, Attempts: 1})
	if err != nil {
		s.t.Fatal(err)
	}
	return store
}
