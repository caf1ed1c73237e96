package cassandra

import (
	"errors"
	"io/fs"
	"strings"
	"testing"

	"github.com/apache/cassandra-gocql-driver/v2"

	"penstock/diagnosis"
	"penstock/localstack/stacktest"
	"penstock/sink"
	"penstock/view/viewtest"
)

// told is an error of the server with its message.
type told struct {
	code    int
	message string
}

func (a told) Code() int       { return a.code }
func (a told) Message() string { return a.message }
func (a told) Error() string   { return a.message }

// The messages are Cassandra 5.0's. Two codes each stand for a decision against us and for an outage.
func TestAnOutageOfTheUsersTableIsNoRefusal(t *testing.T) {
	for _, test := range []struct {
		answer  told
		refused bool
	}{
		{told{gocql.ErrCodeCredentials, "Provided username a and/or password are incorrect"}, true},
		{told{gocql.ErrCodeCredentials, "a is not permitted to log in"}, true},
		{told{gocql.ErrCodeUnauthorized, "You do not have access to this datacenter (dc1)"}, true},
		{told{gocql.ErrCodeUnauthorized, "User a has no MODIFY permission on <table k.t> or any of its parents"}, true},
		{told{gocql.ErrCodeCredentials, "Unable to perform authentication: Cannot achieve consistency level LOCAL_QUORUM"}, false},
		{told{gocql.ErrCodeUnauthorized, "Unable to perform authorization of permissions: Cannot achieve consistency level LOCAL_ONE"}, false},
		{told{gocql.ErrCodeUnauthorized, "Unable to perform authorization of login permission: Operation timed out"}, false},
	} {
		if _, refused := explain(test.answer, nil); refused != test.refused {
			t.Errorf("%s: refused %t", test.answer.message, refused)
		}
		want := sink.Overload
		if test.refused {
			want = sink.Fatal
		}
		if got := classify(test.answer); got != want {
			t.Errorf("%s: %s, want %s", test.answer.message, got, want)
		}
	}
}

// A password that cannot be read, such as from a file that was rotated away, is for an operator to repair: nobody waits.
func TestAPasswordThatCannotBeReadIsNamed(t *testing.T) {
	stack := stacktest.Require(t)
	c := inspectConfig(stack, "orders")
	c.Username = "penstock"
	unreadable := &fs.PathError{Op: "open", Path: "/run/secrets/password", Err: fs.ErrPermission}
	c.Password = func() (string, error) { return "", unreadable }
	const want = "cannot be connected to: read the password: open /run/secrets/password: permission denied"
	s, err := Connect(c)
	if err == nil {
		s.Close()
	}
	if _, ok := errors.AsType[*ConnectError](err); !ok || sink.DispositionOf(err) != sink.Fatal || !strings.Contains(err.Error(), want) {
		t.Errorf("%v, want a fatal error and %s", err, want)
	}
	findings := Diagnose(t.Context(), c, viewtest.Stock{}, 1)
	if len(findings) != 1 || findings[0].Level != diagnosis.Denied || !strings.Contains(findings[0].Found, want) ||
		!strings.Contains(findings[0].Do, "cassandra.password_file") {
		t.Errorf("check: %+v", findings)
	}
}
