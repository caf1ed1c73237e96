package emulator

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"

	"github.com/aws/aws-sdk-go-v2/aws"
)

// Serve answers on l until ctx ends, then closes l and all connections, ends the calls in progress by their contexts, waits for
// them and returns nil. It returns an error only if l fails before that.
func (s *Server) Serve(ctx context.Context, l net.Listener) error {
	var connections sync.WaitGroup
	h := http.Server{
		Handler:     s,
		BaseContext: func(net.Listener) context.Context { return ctx },
		// http.Server.Close does not wait for handlers; their connections are closed when they have returned.
		ConnState: func(_ net.Conn, state http.ConnState) {
			switch state {
			case http.StateNew:
				connections.Add(1)
			case http.StateClosed, http.StateHijacked:
				connections.Done()
			}
		},
	}
	stop := context.AfterFunc(ctx, func() { h.Close() })
	err := h.Serve(l)
	stop()
	h.Close()
	connections.Wait()
	if ctx.Err() != nil && errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return fmt.Errorf("serve kinesis on %s: %w", l.Addr(), err)
}

// Running is a server that answers somewhere.
type Running struct {
	*Server

	// Endpoint is the base URL, as in AWS_ENDPOINT_URL_KINESIS.
	Endpoint string

	// HTTP reaches the server; over pipes it is the only client that does.
	HTTP *http.Client

	stop context.CancelFunc
	done chan error // holds what Serve returned
}

// Listen answers on a TCP address, for example 127.0.0.1:0, until ctx ends or [Running.Close].
func Listen(ctx context.Context, server *Server, address string) (*Running, error) {
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, "tcp", address)
	if err != nil {
		return nil, fmt.Errorf("listen for kinesis: %w", err)
	}
	return run(ctx, server, l, "http://"+l.Addr().String(), &http.Transport{}), nil
}

// ListenInMemory answers over pipes until ctx ends or [Running.Close]: nothing leaves the process, so it works in a testing/synctest bubble.
func ListenInMemory(ctx context.Context, server *Server) *Running {
	l := newPipeListener()
	return run(ctx, server, l, "http://kinesis.invalid", &http.Transport{DialContext: l.dial})
}

func run(ctx context.Context, server *Server, l net.Listener, endpoint string, transport *http.Transport) *Running {
	ctx, stop := context.WithCancel(ctx)
	r := &Running{Server: server, Endpoint: endpoint, HTTP: &http.Client{Transport: patientTransport{transport}}, stop: stop, done: make(chan error, 1)}
	// Ends with ctx, at the latest when Close calls stop; Close waits for it.
	go func() { r.done <- server.Serve(ctx, l) }()
	return r
}

// HTTPClient returns a client for the AWS SDK that does not lose the race which patientTransport describes. Its idle
// connections are the caller's to close.
func HTTPClient() *http.Client {
	return &http.Client{Transport: patientTransport{http.DefaultTransport.(*http.Transport).Clone()}}
}

// patientTransport guards against a race in the AWS SDK (smithy-go v1.28.8) that only a server as near as this one lets a client
// lose: net/http sends the body, the answer arrives, the SDK closes the body, and only then net/http asks the body for bytes beyond
// its announced length. By io.WriterTo the SDK's closed body answers with io.EOF as an error, and net/http closes the connection
// under the answer that is being read. By io.Reader io.EOF is no error, so the body is shown as nothing else.
type patientTransport struct {
	*http.Transport
}

// RoundTrip sends one request.
func (t patientTransport) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.Body != nil && r.Body != http.NoBody {
		r = r.Clone(r.Context())
		r.Body = struct{ io.ReadCloser }{r.Body}
	}
	return t.Transport.RoundTrip(r)
}

// Close ends the server and waits until nothing of it runs. It is called once.
func (r *Running) Close() error {
	r.HTTP.CloseIdleConnections()
	r.stop()
	return <-r.done
}

// AWS returns what a client of the AWS SDK needs to reach the server: endpoint, region, HTTP client and credentials, which may be
// any.
func (r *Running) AWS() aws.Config {
	return aws.Config{
		Region:       r.config.Region,
		BaseEndpoint: aws.String(r.Endpoint),
		HTTPClient:   r.HTTP,
		Credentials: aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) {
			return aws.Credentials{AccessKeyID: "local", SecretAccessKey: "local", Source: "emulator"}, nil
		}),
	}
}

// TB is what Start needs of a *testing.T or *testing.B.
type TB interface {
	Helper()
	Context() context.Context
	Cleanup(func())
	Fatalf(format string, args ...any)
	Errorf(format string, args ...any)
}

// Start runs a server on a loopback port for the length of a test. Most tests are about something else than quotas and write at
// once what a shard takes in many seconds, so unlike [New] it sets [Config.Unlimited]: only the quotas that config names hold.
func Start(t TB, config Config) *Running {
	t.Helper()
	config.Unlimited = true
	r, err := Listen(testLife(t), New(config), "127.0.0.1:0")
	if err != nil {
		t.Fatalf("start kinesis emulator: %v", err)
	}
	closeAfter(t, r)
	return r
}

// StartInMemory runs a server over pipes for the length of a test, as [Start] with only the quotas that config names. In a
// testing/synctest bubble call it with the bubble's T.
func StartInMemory(t TB, config Config) *Running {
	t.Helper()
	config.Unlimited = true
	r := ListenInMemory(testLife(t), New(config))
	closeAfter(t, r)
	return r
}

// testLife ends with the clean-up that closeAfter registers. The test's own context ends before all clean-ups, and those of what the
// test started later, a daemon that drains for example, still need the server.
func testLife(t TB) context.Context { return context.WithoutCancel(t.Context()) }

func closeAfter(t TB, r *Running) {
	t.Cleanup(func() {
		if err := r.Close(); err != nil {
			t.Errorf("stop kinesis emulator: %v", err)
		}
	})
}
