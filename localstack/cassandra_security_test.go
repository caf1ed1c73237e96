package localstack

import (
	"strings"
	"testing"
)

func TestClientCertificatesNeedTheOtherFiles(t *testing.T) {
	for _, test := range []struct {
		security CassandraSecurity
		want     string // in the error; empty: none
	}{
		{CassandraSecurity{}, ""},
		{CassandraSecurity{Login: true}, ""},
		{CassandraSecurity{ServerFile: "/s"}, ""},
		{CassandraSecurity{ServerFile: "/s", AuthorityFile: "/a", ClientFile: "/c"}, ""},
		{CassandraSecurity{AuthorityFile: "/a", ClientFile: "/c"}, "needs a server file"},
		{CassandraSecurity{ServerFile: "/s", AuthorityFile: "/a"}, "needs a client file"},
		{CassandraSecurity{ServerFile: "/s", ClientFile: "/c"}, "needs a client file"},
	} {
		config := Everything()
		config.Security = test.security
		err := config.Validate()
		if (err == nil) != (test.want == "") || err != nil && !strings.Contains(err.Error(), test.want) {
			t.Errorf("%+v: %v, want %q", test.security, err, test.want)
		}
	}
}
