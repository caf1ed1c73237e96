package localstack

import (
	"errors"
	"io"
	"net"
	"net/http"
	"net/netip"
	"syscall"
	"testing"

	"go.uber.org/goleak"
)

func TestAServerCanListenOnAReservedPort(t *testing.T) {
	r, err := reserve(netip.AddrPortFrom(loopback(1), 0))
	if err != nil {
		t.Fatal(err)
	}
	defer r.release()
	if _, err := net.Dial("tcp", r.addr.String()); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("before a server listens: %v", err)
	}
	for range 2 {
		listener, err := net.Listen("tcp", r.addr.String())
		if err != nil {
			t.Fatal(err)
		}
		listener.Close()
	}
}

func TestReservedPortsAreTheSameOnAllAddresses(t *testing.T) {
	s := new(Stack)
	defer func() {
		for _, r := range s.reservations {
			r.release()
		}
	}()
	addrs, err := s.reserveOnAll(3, 0)
	if err != nil {
		t.Fatal(err)
	}
	for i, addr := range addrs {
		if addr.Port() != addrs[0].Port() || addr.Addr() != loopback(byte(i+1)) {
			t.Errorf("address %d: %s", i, addr)
		}
	}
}

func TestATakenPortIsToldByName(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	config := Config{S3: true, Dir: t.TempDir(), Ports: Ports{S3: listener.Addr().(*net.TCPAddr).Port}}
	if _, err := Start(t.Context(), config); !errors.Is(err, syscall.EADDRINUSE) {
		t.Errorf("%v", err)
	}
}

func TestAnOutageKeepsThePort(t *testing.T) {
	defer goleak.VerifyNone(t, goleak.IgnoreCurrent())
	r, err := reserve(netip.AddrPortFrom(loopback(1), 0))
	if err != nil {
		t.Fatal(err)
	}
	defer r.release()
	transport := new(http.Transport)
	defer transport.CloseIdleConnections()
	client := &http.Client{Transport: transport}
	s := &Server{name: "hello", addr: r.addr, handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "hello") })}
	get := func() error {
		response, err := client.Get(s.URL())
		if err != nil {
			return err
		}
		return response.Body.Close()
	}
	if s.Interrupt() == nil {
		t.Error("an outage of a server that does not listen")
	}
	for range 2 {
		if err := s.Resume(); err != nil {
			t.Fatal(err)
		}
		if err := get(); err != nil {
			t.Error(err)
		}
		if s.Resume() == nil {
			t.Error("it was resumed twice")
		}
		if err := s.Interrupt(); err != nil {
			t.Fatal(err)
		}
		if err := get(); !errors.Is(err, syscall.ECONNREFUSED) {
			t.Errorf("during the outage: %v", err)
		}
	}
	s.stop()
}

func TestANodeWithAHostOfItsOwnHasTheUsualPorts(t *testing.T) {
	h := Host{Clients: netip.MustParseAddr("10.0.1.1"), Ring: netip.MustParseAddr("10.0.2.1")}
	want := nodeAddresses{netip.MustParseAddrPort("10.0.1.1:9042"), netip.MustParseAddrPort("10.0.2.1:7000"), netip.MustParseAddrPort("127.0.0.1:7199")}
	if got := h.addresses(Ports{}); got != want {
		t.Errorf("%v, want %v", got, want)
	}
	want.cql = netip.MustParseAddrPort("10.0.1.1:9999")
	if got := h.addresses(Ports{CQL: 9999}); got != want {
		t.Errorf("%v, want %v", got, want)
	}
}
