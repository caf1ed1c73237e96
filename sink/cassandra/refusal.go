package cassandra

import (
	"cmp"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"strings"
	"time"

	"github.com/apache/cassandra-gocql-driver/v2"
)

// ConnectError is a reason why a host and we do not come together that an operator must remove: waiting does not help.
type ConnectError struct {
	Host    string // address and port
	Problem string // the end of a sentence that begins with the host
	Err     error
}

func (e *ConnectError) Error() string { return fmt.Sprintf("%s %s: %v", e.Host, e.Problem, e.Err) }

func (e *ConnectError) Unwrap() error { return e.Err }

// explain recognises such a reason in the error of one attempt to connect, by its type, and returns its sentence.
func explain(err error, t *TLS) (problem string, ok bool) {
	if unverified, ok := errors.AsType[*tls.CertificateVerificationError](err); ok {
		return explainCertificate(unverified, t), true
	}
	if alert, ok := errors.AsType[*alertError](err); ok {
		return alert.explain()
	}
	if _, ok := errors.AsType[tls.RecordHeaderError](err); ok {
		return "does not speak TLS on this port", true
	}
	if _, ok := errors.AsType[*fileError](err); ok {
		return "cannot be connected to", true
	}
	if errors.Is(err, errNoUser) {
		return "asks for a user (cassandra.username)", true
	}
	if refused, ok := errors.AsType[gocql.RequestError](err); ok && !isUndecided(refused) {
		switch refused.Code() {
		case gocql.ErrCodeCredentials:
			return "refuses user or password", true
		case gocql.ErrCodeUnauthorized:
			return "refuses the user", true
		}
	}
	return "", false
}

// explainCertificate says what is wrong with a host's certificate.
func explainCertificate(err *tls.CertificateVerificationError, t *TLS) string {
	leaf := err.UnverifiedCertificates[0]
	if wrong, ok := errors.AsType[x509.HostnameError](err); ok {
		remedy := "put it there, or set cassandra.tls_server_name"
		if t.ServerName != "" {
			remedy = "put it there, or correct cassandra.tls_server_name"
		}
		return fmt.Sprintf("shows a certificate for other names (%s), not for %s (%s)", names(leaf), wrong.Host, remedy)
	}
	if _, ok := errors.AsType[x509.UnknownAuthorityError](err); ok {
		return fmt.Sprintf("shows a certificate (%s) of an authority (%s) that is not in %s",
			leaf.Subject, leaf.Issuer, cmp.Or(t.CAFile, "the system's list"))
	}
	if invalid, ok := errors.AsType[x509.CertificateInvalidError](err); ok && invalid.Reason == x509.Expired {
		return fmt.Sprintf("shows a certificate (%s) that %s", leaf.Subject, validity(invalid.Cert))
	}
	return fmt.Sprintf("shows a certificate (%s) that is not accepted", leaf.Subject)
}

func names(c *x509.Certificate) string {
	all := append([]string{}, c.DNSNames...)
	for _, ip := range c.IPAddresses {
		all = append(all, ip.String())
	}
	return cmp.Or(strings.Join(all, ", "), "none")
}

// validity says how a certificate stands to its time by the local clock.
func validity(c *x509.Certificate) string {
	now := time.Now()
	switch {
	case now.After(c.NotAfter):
		return "expired at " + c.NotAfter.UTC().Format(time.RFC3339)
	case now.Before(c.NotBefore):
		return "is not valid before " + c.NotBefore.UTC().Format(time.RFC3339)
	}
	return "is valid until " + c.NotAfter.UTC().Format(time.RFC3339)
}

// remoteError is how crypto/tls marks a net.OpError that carries the other side's alert. The alert itself has a type
// that is not exported.
const remoteError = "remote error"

// The alerts of RFC 8446, section 6.2, and RFC 5246, section 7.2.2, that do not pass by themselves. What a server says
// of a certificate differs by its TLS library: Cassandra 5.0 on OpenSSL calls one of an unknown authority an internal
// error, and on Java's own library an expired one unknown.
var (
	certificateAlerts = []tls.AlertError{
		40,  // handshake_failure, for a missing one before TLS 1.3
		42,  // bad_certificate
		43,  // unsupported_certificate
		44,  // certificate_revoked
		45,  // certificate_expired
		46,  // certificate_unknown
		48,  // unknown_ca
		49,  // access_denied
		80,  // internal_error, only if a certificate was asked for
		116, // certificate_required
	}
	handshakeAlerts = []tls.AlertError{
		70,  // protocol_version
		71,  // insufficient_security
		112, // unrecognized_name
	}
)

// alertError is a server's refusal to go on, with what it knew of us.
type alertError struct {
	files TLS
	asked bool
	leaf  *x509.Certificate // nil if we showed none
	err   error
}

func (e *alertError) Error() string { return e.err.Error() }

func (e *alertError) Unwrap() error { return e.err }

func (e *alertError) is(alerts []tls.AlertError) bool {
	op, ok := errors.AsType[*net.OpError](e.err)
	if !ok {
		return false
	}
	for _, alert := range alerts {
		if op.Err.Error() == alert.Error() {
			return true
		}
	}
	return false
}

func (e *alertError) explain() (problem string, ok bool) {
	switch {
	case e.is(handshakeAlerts):
		return "refuses the TLS handshake", true
	case !e.asked || !e.is(certificateAlerts):
		return "", false
	case e.leaf == nil:
		return "requires a client certificate (cassandra.tls_cert_file)", true
	}
	return fmt.Sprintf("refuses our certificate %s (%s), which %s", e.files.CertFile, e.leaf.Subject, validity(e.leaf)), true
}

// undecided is how the messages of a server begin that could not read its own tables of users and rights. It has no
// code of its own: Cassandra then answers as if it had decided against us (PasswordAuthenticator, CassandraAuthorizer
// and CassandraRoleManager of Cassandra 5.0), and the message is all that differs. Too few replicas of system_auth are
// an outage and not a wrong password.
const undecided = "Unable to perform auth"

func isUndecided(err gocql.RequestError) bool {
	refused := err.Code() == gocql.ErrCodeCredentials || err.Code() == gocql.ErrCodeUnauthorized
	return refused && strings.HasPrefix(err.Message(), undecided)
}
