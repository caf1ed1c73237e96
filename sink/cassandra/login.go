package cassandra

import (
	"errors"
	"fmt"

	"github.com/apache/cassandra-gocql-driver/v2"
)

// login returns the driver's source of credentials. The password is asked for anew with every connection, so that one
// that was changed is used by the next.
func login(c Config) func(*gocql.HostInfo) (gocql.Authenticator, error) {
	return func(*gocql.HostInfo) (gocql.Authenticator, error) {
		if c.Username == "" {
			return anonymous{}, nil
		}
		password, err := c.Password()
		if err != nil {
			return nil, &fileError{fmt.Errorf("read the password: %w", err)}
		}
		return gocql.PasswordAuthenticator{Username: c.Username, Password: password}, nil
	}
}

// anonymous answers a server that asks for a user where none is configured. Servers that ask for none never meet it.
type anonymous struct{}

var errNoUser = errors.New("no user is configured")

func (anonymous) Challenge([]byte) ([]byte, gocql.Authenticator, error) { return nil, nil, errNoUser }

func (anonymous) Success([]byte) error { return nil }
