package zones

import (
	"fmt"
	"io"
	"os"

	"golang.org/x/sys/unix"
)

// openTun makes a device whose packets are read from the file, each whole, as IPv4.
func openTun(name string) (io.ReadCloser, error) {
	fd, err := unix.Open(tunDevice, unix.O_RDWR|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, os.NewSyscallError("open "+tunDevice, err)
	}
	request, err := unix.NewIfreq(name)
	if err != nil {
		_ = unix.Close(fd)
		return nil, err
	}
	request.SetUint16(unix.IFF_TUN | unix.IFF_NO_PI)
	if err := unix.IoctlIfreq(fd, unix.TUNSETIFF, request); err != nil {
		_ = unix.Close(fd)
		return nil, os.NewSyscallError("make device "+name, err)
	}
	return os.NewFile(uintptr(fd), tunDevice), nil
}

// link sends IPv4 packets as they are.
type link struct{ socket int }

// openLink returns what sends through one device, whatever way the routes name.
func openLink(device string) (io.WriteCloser, error) {
	socket, err := unix.Socket(unix.AF_INET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.IPPROTO_RAW)
	if err != nil {
		return nil, os.NewSyscallError("socket", err)
	}
	if err := unix.BindToDevice(socket, device); err != nil {
		_ = unix.Close(socket)
		return nil, os.NewSyscallError("bind to "+device, err)
	}
	return link{socket}, nil
}

// Write implements io.Writer: one packet.
func (l link) Write(p []byte) (int, error) {
	const destination = 16 // its place in the header
	if len(p) < destination+4 || p[0]>>4 != 4 {
		return 0, fmt.Errorf("send: %d bytes are no IPv4 packet", len(p))
	}
	to := [4]byte(p[destination:])
	if err := unix.Sendto(l.socket, p, unix.MSG_DONTWAIT, &unix.SockaddrInet4{Addr: to}); err != nil {
		return 0, os.NewSyscallError("send", err)
	}
	return len(p), nil
}

// Close implements io.Closer.
func (l link) Close() error { return unix.Close(l.socket) }
