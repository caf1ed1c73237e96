package localstack

import (
	"crypto/tls"
	"errors"

	gocql "github.com/apache/cassandra-gocql-driver/v2"
)

// The superuser of a Cassandra whose clients log in, as Cassandra makes it.
const (
	Superuser         = "cassandra"
	SuperuserPassword = "cassandra"
)

// CassandraSecurity is how Cassandra's nodes and their clients know each other. All files hold PEM.
type CassandraSecurity struct {
	// Login lets only roles with a password in, and each do only what it was granted (PasswordAuthenticator, CassandraAuthorizer). There
	// is the role [Superuser] at first.
	Login bool
	// ServerFile has clients speak TLS. It holds a private key (PKCS #8) and its certificate, the same for every node. A node reads it,
	// and the next one, when it starts.
	ServerFile string
	// AuthorityFile has clients show a certificate of its authority. Empty: they are not asked.
	AuthorityFile string
	// ClientFile holds a private key and its certificate, with which the stack itself asks whether a node is ready. It is read for every
	// connection, and needed with AuthorityFile.
	ClientFile string
}

func (s CassandraSecurity) validate() []error {
	var wrong []error
	if s.AuthorityFile != "" && s.ServerFile == "" {
		wrong = append(wrong, errors.New("security: an authority for clients needs a server file"))
	}
	if (s.AuthorityFile != "") != (s.ClientFile != "") {
		wrong = append(wrong, errors.New("security: an authority for clients needs a client file, and the other way round"))
	}
	return wrong
}

// apply has the stack's own client come in. It does not look at the server's certificate: the stack starts nodes whose certificates are
// wrong on purpose, and whose only connection is the loopback.
func (s CassandraSecurity) apply(cluster *gocql.ClusterConfig) error {
	if s.Login {
		cluster.Authenticator = gocql.PasswordAuthenticator{Username: Superuser, Password: SuperuserPassword}
	}
	if s.ServerFile == "" {
		return nil
	}
	config := &tls.Config{InsecureSkipVerify: true}
	if s.ClientFile != "" {
		certificate, err := tls.LoadX509KeyPair(s.ClientFile, s.ClientFile)
		if err != nil {
			return err
		}
		config.Certificates = []tls.Certificate{certificate}
	}
	cluster.SslOpts = &gocql.SslOptions{Config: config}
	return nil
}
