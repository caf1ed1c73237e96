package cassandra

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/apache/cassandra-gocql-driver/v2"
	"go.uber.org/zap"

	"penstock/localstack/stacktest"
)

// tlsServer serves one greeting to everybody who passes, as a server with this certificate file does that asks clients
// for a certificate of authority, if it is not nil. It returns its address.
func tlsServer(t *testing.T, file string, clients *stacktest.Authority) net.Addr {
	t.Helper()
	certificate, err := tls.LoadX509KeyPair(file, file)
	if err != nil {
		t.Fatal(err)
	}
	config := &tls.Config{Certificates: []tls.Certificate{certificate}}
	if clients != nil {
		text, err := os.ReadFile(clients.File)
		if err != nil {
			t.Fatal(err)
		}
		config.ClientCAs = x509.NewCertPool()
		config.ClientCAs.AppendCertsFromPEM(text)
		config.ClientAuth = tls.RequireAndVerifyClientCert
	}
	return server(t, func(c net.Conn) {
		c = tls.Server(c, config)
		_, _ = c.Write([]byte("x"))
		_ = c.Close()
	})
}

// server answers each connection by serve, which must close it.
func server(t *testing.T, serve func(net.Conn)) net.Addr {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() { // ends when the listener is closed
		defer close(done)
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			serve(c)
		}
	}()
	t.Cleanup(func() {
		l.Close()
		<-done
	})
	return l.Addr()
}

// dial connects as the driver does, and reads the greeting.
func dial(t *testing.T, to net.Addr, c Config) error {
	t.Helper()
	address := to.(*net.TCPAddr)
	host, err := gocql.NewHostInfoFromAddrPort(address.IP, address.Port)
	if err != nil {
		t.Fatal(err)
	}
	dialed, err := newDialer(c, func(string, error) {}).DialHost(t.Context(), host)
	if err != nil {
		return err
	}
	defer dialed.Conn.Close()
	_, err = dialed.Conn.Read(make([]byte, 1))
	return err
}

// A server that refuses our certificate and closes makes a write fail before anybody reads, and the driver then tells
// of the attempt in words of its own.
func TestARefusalIsHeardWhoeverNoticesTheEndFirst(t *testing.T) {
	ours := stacktest.NewAuthority(t, "ours")
	file := filepath.Join(t.TempDir(), "address.pem")
	ours.Issue(t, file, stacktest.Leaf{Name: "address", Addresses: loopback})
	c := Config{Timeout: 10 * time.Second, TLS: &TLS{CAFile: ours.File}, Log: zap.NewNop()}
	attempts := newAttempts(c)
	address := tlsServer(t, file, ours).(*net.TCPAddr)
	host, err := gocql.NewHostInfoFromAddrPort(address.IP, address.Port)
	if err != nil {
		t.Fatal(err)
	}
	dialed, err := newDialer(c, attempts.heard).DialHost(t.Context(), host)
	if err != nil {
		t.Fatal(err)
	}
	defer dialed.Conn.Close()
	for err == nil { // the first may still go out
		_, err = dialed.Conn.Write([]byte("x"))
	}
	if _, ok := errors.AsType[*alertError](err); !ok {
		t.Errorf("the write failed with %v", err)
	}
	attempts.ObserveConnect(gocql.ObservedConnect{Host: host, Err: errors.New("no response")})
	if refused := attempts.refusal(); refused == nil || !strings.Contains(refused.Error(), "requires a client certificate") {
		t.Errorf("heard %v", refused)
	}
}

var loopback = []net.IP{net.IPv4(127, 0, 0, 1)}

func TestWhatKeepsAHostAndUsApartIsNamed(t *testing.T) {
	ours, foreign := stacktest.NewAuthority(t, "ours"), stacktest.NewAuthority(t, "foreign")
	dir := t.TempDir()
	file := func(name string, a *stacktest.Authority, leaf stacktest.Leaf) string {
		path := filepath.Join(dir, name+".pem")
		leaf.Name = name
		a.Issue(t, path, leaf)
		return path
	}
	byAddress := file("address", ours, stacktest.Leaf{Addresses: loopback})
	byName := file("name", ours, stacktest.Leaf{Names: []string{"cassandra-1.example"}})
	client, other := file("client", ours, stacktest.Leaf{}), file("other", ours, stacktest.Leaf{})
	garbage := filepath.Join(dir, "garbage.pem")
	if err := os.WriteFile(garbage, []byte("no PEM"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		name    string
		server  string
		clients *stacktest.Authority
		hosts   []string
		tls     TLS
		want    string // in the sentence; empty: it connects
	}{
		{"by address", byAddress, nil, nil, TLS{CAFile: ours.File}, ""},
		{"by a listed name", byName, nil, []string{"192.0.2.1:9042", "other.example", "cassandra-1.example:9042"}, TLS{CAFile: ours.File}, ""},
		{"by the server name", byName, nil, nil, TLS{CAFile: ours.File, ServerName: "cassandra-1.example"}, ""},
		{"the server name excludes the address", byAddress, nil, nil, TLS{CAFile: ours.File, ServerName: "cassandra-1.example"},
			"for other names (127.0.0.1), not for cassandra-1.example"},
		{"the server name excludes listed names", byName, nil, []string{"cassandra-1.example"}, TLS{CAFile: ours.File, ServerName: "cassandra-2.example"},
			"for other names (cassandra-1.example), not for cassandra-2.example"},
		{"another name", byName, nil, []string{"cassandra-2.example"}, TLS{CAFile: ours.File}, "for other names (cassandra-1.example), not for 127.0.0.1"},
		{"another authority", byAddress, nil, nil, TLS{CAFile: foreign.File}, "(CN=address) of an authority (CN=ours) that is not in " + foreign.File},
		{"the system's authorities", byAddress, nil, nil, TLS{}, "not in the system's list"},
		{"a listed name by another authority", file("forged", foreign, stacktest.Leaf{Names: []string{"a.example"}}), nil, []string{"a.example"},
			TLS{CAFile: ours.File}, "of an authority (CN=foreign)"},
		{"expired", file("old", ours, stacktest.Leaf{Addresses: loopback, Expired: true}), nil, nil, TLS{CAFile: ours.File}, "(CN=old) that expired at 20"},
		{"our certificate", byAddress, ours, nil, TLS{CAFile: ours.File, CertFile: client, KeyFile: client}, ""},
		{"our certificate is missing", byAddress, ours, nil, TLS{CAFile: ours.File}, "requires a client certificate"},
		{"our certificate is expired", byAddress, ours, nil,
			TLS{CAFile: ours.File, CertFile: file("late", ours, stacktest.Leaf{Expired: true}), KeyFile: filepath.Join(dir, "late.pem")}, "(CN=late), which expired at 20"},
		{"our certificate is of another authority", byAddress, ours, nil,
			TLS{CAFile: ours.File, CertFile: file("stranger", foreign, stacktest.Leaf{}), KeyFile: filepath.Join(dir, "stranger.pem")},
			"refuses our certificate " + filepath.Join(dir, "stranger.pem") + " (CN=stranger), which is valid until 20"},
		{"another's key", byAddress, nil, nil, TLS{CAFile: ours.File, CertFile: client, KeyFile: other}, "private key does not match public key"},
		{"no authority in the file", byAddress, nil, nil, TLS{CAFile: garbage}, "garbage.pem holds no certificate in PEM"},
		{"no such file", byAddress, nil, nil, TLS{CAFile: filepath.Join(dir, "absent")}, "no such file"},
	} {
		t.Run(test.name, func(t *testing.T) {
			c := Config{Hosts: test.hosts, Timeout: 10 * time.Second, TLS: &test.tls}
			err := dial(t, tlsServer(t, test.server, test.clients), c)
			if test.want == "" {
				if err != nil {
					t.Error(err)
				}
				return
			}
			problem, ok := explain(err, c.TLS)
			if got := (&ConnectError{Host: "host", Problem: problem, Err: err}).Error(); !ok || !strings.Contains(got, test.want) {
				t.Errorf("explained %t: %s\nwant %s", ok, got, test.want)
			}
		})
	}
}

func TestAServerWithoutTLSIsNamed(t *testing.T) {
	ca := stacktest.NewAuthority(t, "ours")
	c := Config{Timeout: 10 * time.Second, TLS: &TLS{CAFile: ca.File}}
	address := server(t, func(c net.Conn) {
		_, _ = c.Write([]byte("\x84\x00\x00\x00\x00\x00\x00\x00\x00")) // any frame of CQL
		_, _ = c.Read(make([]byte, 4096))
		_ = c.Close()
	})
	problem, ok := explain(dial(t, address, c), c.TLS)
	if want := "does not speak TLS on this port"; !ok || problem != want {
		t.Errorf("got %q, %t", problem, ok)
	}
}

// The driver's own dialer would wait for ever, and CreateSession with it.
func TestAServerThatDoesNotShakeHandsIsGivenUp(t *testing.T) {
	ca := stacktest.NewAuthority(t, "ours")
	hang := make(chan struct{})
	address := server(t, func(c net.Conn) {
		<-hang
		_ = c.Close()
	})
	c := Config{Timeout: 50 * time.Millisecond, TLS: &TLS{CAFile: ca.File}}
	err := dial(t, address, c)
	close(hang)
	if _, ok := explain(err, c.TLS); ok || err == nil {
		t.Errorf("got %v, which waiting may cure", err)
	}
}

func TestReplacedFilesAreUsedByTheNextConnection(t *testing.T) {
	old, next := stacktest.NewAuthority(t, "old"), stacktest.NewAuthority(t, "next")
	dir := t.TempDir()
	host, client := filepath.Join(dir, "host.pem"), filepath.Join(dir, "client.pem")
	old.Issue(t, client, stacktest.Leaf{Name: "client"})
	next.Issue(t, host, stacktest.Leaf{Name: "host", Addresses: loopback})
	c := Config{Timeout: 10 * time.Second, TLS: &TLS{CAFile: old.File, CertFile: client, KeyFile: client}}
	address := tlsServer(t, host, next)
	if _, ok := errors.AsType[x509.UnknownAuthorityError](dial(t, address, c)); !ok {
		t.Fatal("the old authority is good for the new host")
	}
	if err := os.Rename(next.File, old.File); err != nil {
		t.Fatal(err)
	}
	if _, ok := errors.AsType[*alertError](dial(t, address, c)); !ok {
		t.Fatal("the old certificate is good for the new host")
	}
	next.Issue(t, client, stacktest.Leaf{Name: "client"})
	if err := dial(t, address, c); err != nil {
		t.Error(err)
	}
}
