package cassandra

import (
	"testing"

	"github.com/apache/cassandra-gocql-driver/v2"

	"penstock/sink"
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
