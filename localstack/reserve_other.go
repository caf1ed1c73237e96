//go:build unix && !linux

package localstack

import (
	"fmt"
	"net"
	"net/netip"
)

// reservation names a port that was free when it was chosen. Other systems than Linux do not let a server bind beside a socket
// that holds the port, so here another process may take it first.
type reservation struct {
	addr netip.AddrPort
}

// reserve takes addr, an IPv4 address; its port 0 lets the kernel choose.
func reserve(addr netip.AddrPort) (*reservation, error) {
	listener, err := net.ListenTCP("tcp4", net.TCPAddrFromAddrPort(addr))
	if err != nil {
		return nil, fmt.Errorf("reserve port %s: %w", addr, err)
	}
	bound := listener.Addr().(*net.TCPAddr).AddrPort()
	if err := listener.Close(); err != nil {
		return nil, fmt.Errorf("reserve port %s: %w", addr, err)
	}
	return &reservation{addr: netip.AddrPortFrom(addr.Addr(), bound.Port())}, nil
}

func (r *reservation) release() {}
