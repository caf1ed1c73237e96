package cassandra

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"time"

	"github.com/apache/cassandra-gocql-driver/v2"
)

// TLS says how hosts prove to us who they are, and we to them. The files hold PEM and are read again for every new
// connection, so that they can be replaced while connections stand.
//
// A host's certificate must lead to an authority of CAFile and be valid now, and it must carry a name: ServerName if
// there is one, otherwise the address that is connected to or one of the names in [Config.Hosts]. The driver knows the
// hosts it learns from the cluster by address only, so without a ServerName each of them needs its address in its
// certificate, or a name in Hosts.
type TLS struct {
	CAFile     string // empty: the system's authorities
	CertFile   string // our certificate, then those that lead from it to the authority; empty: none is shown
	KeyFile    string // of that certificate
	ServerName string
}

// dialer opens TLS connections, in place of the driver's own dialer, which reads files once, knows no names but
// addresses, and waits for a handshake without end (v2.1.2).
type dialer struct {
	tls     TLS
	names   []string                     // those in Config.Hosts that are not addresses
	timeout time.Duration                // of connection and handshake together
	refused func(host string, err error) // is told of a refusal that is read on a connection
}

func newDialer(c Config, refused func(host string, err error)) *dialer {
	d := &dialer{tls: *c.TLS, timeout: c.Timeout, refused: refused}
	for _, host := range c.Hosts {
		if name, _, err := net.SplitHostPort(host); err == nil {
			host = name
		}
		if _, err := netip.ParseAddr(host); err != nil {
			d.names = append(d.names, host)
		}
	}
	return d
}

// DialHost implements gocql.HostDialer. Its errors keep their types; see [explain].
func (d *dialer) DialHost(ctx context.Context, host *gocql.HostInfo) (*gocql.DialedHost, error) {
	ctx, cancel := context.WithTimeout(ctx, d.timeout)
	defer cancel()
	name := cmp.Or(d.tls.ServerName, host.ConnectAddress().String())
	c, err := d.handshake(ctx, host.ConnectAddressAndPort(), name)
	if other, ok := d.otherName(err); ok {
		c, err = d.handshake(ctx, host.ConnectAddressAndPort(), other)
	}
	if err != nil {
		return nil, err
	}
	// The driver's coalescing of writes gains something only where one system call can send several of them.
	return &gocql.DialedHost{Conn: c, DisableCoalesce: true}, nil
}

// otherName returns the name to ask for when a certificate is good but for the address that was connected to. Asking
// again, in a second handshake, leaves all of the judgement to crypto/tls.
func (d *dialer) otherName(err error) (string, bool) {
	wrong, ok := errors.AsType[x509.HostnameError](err)
	if !ok || d.tls.ServerName != "" {
		return "", false
	}
	for _, name := range d.names {
		if wrong.Certificate.VerifyHostname(name) == nil {
			return name, true
		}
	}
	return "", false
}

func (d *dialer) handshake(ctx context.Context, address, name string) (*secureConn, error) {
	c := &secureConn{files: d.tls, refused: func(err error) { d.refused(address, err) }}
	config, err := d.tls.config(c)
	if err != nil {
		return nil, err
	}
	config.ServerName = name
	plain, err := new(net.Dialer).DialContext(ctx, "tcp", address)
	if err != nil {
		return nil, err
	}
	c.Conn = tls.Client(plain, config)
	if err := c.HandshakeContext(ctx); err != nil {
		return nil, c.explain(errors.Join(err, plain.Close()))
	}
	return c, nil
}

// config reads the files for one connection.
func (t TLS) config(c *secureConn) (*tls.Config, error) {
	config := &tls.Config{
		MinVersion: tls.VersionTLS12,
		GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
			c.asked = true
			return &c.shown, nil // also one that the server's authorities do not know: its refusal says more than our silence
		},
	}
	if t.CAFile != "" {
		text, err := os.ReadFile(t.CAFile)
		if err != nil {
			return nil, &fileError{fmt.Errorf("read the certificate authorities: %w", err)}
		}
		config.RootCAs = x509.NewCertPool()
		if !config.RootCAs.AppendCertsFromPEM(text) {
			return nil, &fileError{fmt.Errorf("read the certificate authorities: %s holds no certificate in PEM", t.CAFile)}
		}
	}
	if t.CertFile != "" {
		var err error
		if c.shown, err = tls.LoadX509KeyPair(t.CertFile, t.KeyFile); err != nil {
			return nil, &fileError{fmt.Errorf("read our certificate %s with key %s: %w", t.CertFile, t.KeyFile, err)}
		}
	}
	return config, nil
}

// fileError is a file of ours that cannot be used.
type fileError struct{ err error }

func (e *fileError) Error() string { return e.err.Error() }

func (e *fileError) Unwrap() error { return e.err }

// secureConn is a TLS connection that remembers what was shown. In TLS 1.3 a server judges our certificate after the
// handshake has succeeded on our side, so that its refusal comes with the first read. A server that closes the
// connection behind it makes a write fail before anybody reads; then the refusal is looked for.
type secureConn struct {
	*tls.Conn
	files   TLS
	refused func(error)
	asked   bool            // the server asked for our certificate
	shown   tls.Certificate // without certificates if we have none
}

// Read implements net.Conn.
func (c *secureConn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	if err != nil {
		err = c.heard(err)
	}
	return n, err
}

// lastWord bounds the wait for what a server said before it closed. It was sent before the close that was noticed.
const lastWord = 200 * time.Millisecond

// Write implements net.Conn.
func (c *secureConn) Write(b []byte) (int, error) {
	n, err := c.Conn.Write(b)
	if err == nil || errors.Is(err, net.ErrClosed) || c.SetReadDeadline(time.Now().Add(lastWord)) != nil {
		return n, err
	}
	var said [1]byte
	if _, readErr := c.Conn.Read(said[:]); readErr != nil {
		if refusal, ok := errors.AsType[*alertError](c.heard(readErr)); ok {
			return n, refusal
		}
	}
	return n, err
}

// heard explains an error of reading, and passes it on if it is a refusal: the driver may report the end of the
// connection in its own words (v2.1.2).
func (c *secureConn) heard(err error) error {
	err = c.explain(err)
	if refusal, ok := errors.AsType[*alertError](err); ok {
		c.refused(refusal)
	}
	return err
}

// explain puts what we showed to a refusal.
func (c *secureConn) explain(err error) error {
	if op, ok := errors.AsType[*net.OpError](err); ok && op.Op == remoteError {
		return &alertError{files: c.files, asked: c.asked, leaf: c.shown.Leaf, err: err}
	}
	return err
}
