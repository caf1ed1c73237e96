package localstack

import (
	"fmt"
	"net/netip"
	"os"
	"syscall"
)

// reservation holds one TCP port with a socket that is bound and never listens.
//
// Linux lets a server bind the same address as long as both sockets carry SO_REUSEADDR (Go's listeners and the JVM's do) and neither
// listens yet; it neither hands the port to a bind of port 0 nor uses it for an outgoing connection. Without a listener,
// connections are refused, as with any absent server.
type reservation struct {
	addr   netip.AddrPort
	socket int
}

// reserve takes addr, an IPv4 address; its port 0 lets the kernel choose.
func reserve(addr netip.AddrPort) (*reservation, error) {
	socket, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("reserve port %s: %w", addr, os.NewSyscallError("socket", err))
	}
	bound, err := bind(socket, addr)
	if err != nil {
		_ = syscall.Close(socket)
		return nil, fmt.Errorf("reserve port %s: %w", addr, err)
	}
	return &reservation{addr: bound, socket: socket}, nil
}

func bind(socket int, addr netip.AddrPort) (netip.AddrPort, error) {
	if err := syscall.SetsockoptInt(socket, syscall.SOL_SOCKET, syscall.SO_REUSEADDR, 1); err != nil {
		return netip.AddrPort{}, os.NewSyscallError("setsockopt", err)
	}
	if err := syscall.Bind(socket, &syscall.SockaddrInet4{Port: int(addr.Port()), Addr: addr.Addr().As4()}); err != nil {
		return netip.AddrPort{}, os.NewSyscallError("bind", err)
	}
	name, err := syscall.Getsockname(socket)
	if err != nil {
		return netip.AddrPort{}, os.NewSyscallError("getsockname", err)
	}
	inet, ok := name.(*syscall.SockaddrInet4)
	if !ok {
		return netip.AddrPort{}, fmt.Errorf("getsockname: %T is no IPv4 address", name)
	}
	return netip.AddrPortFrom(addr.Addr(), uint16(inet.Port)), nil
}

func (r *reservation) release() { _ = syscall.Close(r.socket) }
