package objects_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"testing"

	"penstock/diagnosis"
	"penstock/objects"
	"penstock/objects/objectstest"
)

// denying returns a store whose requests pass a proxy that forbids a method, and answers a HEAD without a body, as S3
// does.
func denying(t *testing.T, server *objectstest.Server, method string) *objects.Store {
	t.Helper()
	target, err := url.Parse(server.URL())
	if err != nil {
		t.Fatal(err)
	}
	forward := &httputil.ReverseProxy{Rewrite: func(p *httputil.ProxyRequest) { p.SetURL(target) }}
	proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != method {
			forward.ServeHTTP(w, r)
			return
		}
		w.Header().Set("Content-Type", "application/xml")
		w.WriteHeader(http.StatusForbidden)
		if method != http.MethodHead {
			_, _ = io.WriteString(w, `<Error><Code>AccessDenied</Code><Message>not authorized</Message></Error>`)
		}
	}))
	t.Cleanup(proxy.Close)
	c := server.AWS()
	c.BaseEndpoint = &proxy.URL
	store, err := objects.New(c, objects.Config{Bucket: "letters", Prefix: "dead", Attempts: 1})
	if err != nil {
		t.Fatal(err)
	}
	return store
}

// levels returns the findings as "level item name".
func levels(findings []diagnosis.Finding) string {
	var out []string
	for _, f := range findings {
		out = append(out, string(f.Level)+" "+f.Item+" "+f.Name)
	}
	return strings.Join(out, ", ")
}

func TestDiagnoseFindsBucketAndRightsAndWritesNothing(t *testing.T) {
	server := objectstest.Start(t, "letters")
	for range 2 {
		got := levels(server.Store("letters", "dead").Diagnose(t.Context()))
		if want := "ok bucket letters, ok right s3:GetObject on s3://letters/dead/*, ok right s3:PutObject on s3://letters/dead/*"; got != want {
			t.Errorf("got  %s\nwant %s", got, want)
		}
	}
	for object, err := range server.Store("letters", "").List(t.Context(), "") {
		t.Errorf("left %+v, %v", object, err)
	}
}

func TestDiagnoseTellsAnAbsentBucketFromASilentServer(t *testing.T) {
	server := objectstest.Start(t, "letters")
	absent := server.Store("nosuch", "dead").Diagnose(t.Context())
	if got := levels(absent); got != "missing bucket nosuch" || !strings.Contains(absent[0].Do, "dead_letters.bucket") {
		t.Errorf("%+v", absent)
	}
	server.Down()
	if got := levels(server.Store("letters", "dead").Diagnose(t.Context())); got != "unreachable bucket letters" {
		t.Error(got)
	}
}

func TestDiagnoseNamesTheActionThatIsDenied(t *testing.T) {
	server := objectstest.Start(t, "letters")
	for method, want := range map[string]string{
		http.MethodHead: "denied bucket letters, warn right s3:GetObject on s3://letters/dead/*, ok right s3:PutObject on s3://letters/dead/*",
		http.MethodGet:  "ok bucket letters, denied right s3:GetObject on s3://letters/dead/*, ok right s3:PutObject on s3://letters/dead/*",
		http.MethodPut:  "ok bucket letters, ok right s3:GetObject on s3://letters/dead/*, denied right s3:PutObject on s3://letters/dead/*",
	} {
		findings := denying(t, server, method).Diagnose(t.Context())
		if got := levels(findings); got != want {
			t.Errorf("%s: got  %s\nwant %s", method, got, want)
		}
		for _, f := range findings {
			if f.Level == diagnosis.Denied && !strings.HasPrefix(f.Do, "allow s3:") {
				t.Errorf("%+v", f)
			}
		}
	}
}
