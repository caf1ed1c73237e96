package objects_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync"
	"testing"

	"penstock/diagnosis"
	"penstock/objects"
	"penstock/objects/objectstest"
)

const kmsKey = "arn:aws:kms:eu-central-1:123456789012:key/1234abcd-12ab-34cd-56ef-1234567890ab"

// What S3 says to a caller that may put objects but not use the key: its code is that of any other missing right.
const keyDenied = `<Error><Code>AccessDenied</Code><Message>User: arn:aws:sts::123456789012:assumed-role/run is not authorized to perform: ` +
	`kms:GenerateDataKey on resource: ` + kmsKey + ` because no identity-based policy allows the action</Message></Error>`

// answering returns a store with a key whose requests pass a proxy, which answers those that denied chooses with 403.
func answering(t *testing.T, server *objectstest.Server, denied func(*http.Request) bool) (store *objects.Store, seen func() []http.Header) {
	t.Helper()
	target, err := url.Parse(server.URL())
	if err != nil {
		t.Fatal(err)
	}
	forward := &httputil.ReverseProxy{Rewrite: func(p *httputil.ProxyRequest) { p.SetURL(target) }}
	var mu sync.Mutex
	var headers []http.Header
	proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		headers = append(headers, r.Header.Clone())
		mu.Unlock()
		if denied(r) {
			_, _ = io.Copy(io.Discard, r.Body)
			w.Header().Set("Content-Type", "application/xml")
			w.WriteHeader(http.StatusForbidden)
			_, _ = io.WriteString(w, keyDenied)
			return
		}
		forward.ServeHTTP(w, r)
	}))
	t.Cleanup(proxy.Close)
	c := server.AWS()
	c.BaseEndpoint = &proxy.URL
	store, err = objects.New(c, objects.Config{Bucket: "letters", Prefix: "dead", Attempts: 1, KMSKey: kmsKey})
	if err != nil {
		t.Fatal(err)
	}
	return store, func() []http.Header {
		mu.Lock()
		defer mu.Unlock()
		return headers
	}
}

func nobody(*http.Request) bool { return false }

func TestPutsAskForTheKey(t *testing.T) {
	store, seen := answering(t, objectstest.Start(t, "letters"), nobody)
	if err := store.PutOnce(t.Context(), "k", []byte("x"), "text/plain"); err != nil {
		t.Fatal(err)
	}
	h := seen()[0]
	for name, want := range map[string]string{
		"X-Amz-Server-Side-Encryption": "aws:kms", "X-Amz-Server-Side-Encryption-Aws-Kms-Key-Id": kmsKey,
		"X-Amz-Server-Side-Encryption-Bucket-Key-Enabled": "true", "If-None-Match": "*",
	} {
		if got := h.Get(name); got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
}

func TestADeniedKeyIsFatalAndNamed(t *testing.T) {
	store, _ := answering(t, objectstest.Start(t, "letters"), func(r *http.Request) bool { return true })
	_, got := store.Get(t.Context(), "k")
	for action, err := range map[string]error{"kms:GenerateDataKey": store.PutOnce(t.Context(), "k", []byte("x"), "text/plain"), "kms:Decrypt": got} {
		if objects.ClassOf(err) != objects.Fatal || !strings.Contains(err.Error(), "takes "+action+" on "+kmsKey) {
			t.Errorf("got %v, want that %s on the key is told", err, action)
		}
	}
}

// A part that comes is PUT with an uploadId, an upload that begins is POST with uploads.
func TestDiagnoseFindsTheRightsToTheKeyWithoutAnObject(t *testing.T) {
	base := "ok bucket letters, ok right s3:GetObject on s3://letters/dead/*, ok right s3:PutObject on s3://letters/dead/*, "
	for name, c := range map[string]struct {
		denied func(*http.Request) bool
		want   string
	}{
		"allowed":     {nobody, base + "ok right kms:GenerateDataKey on " + kmsKey + ", ok right kms:Decrypt on " + kmsKey},
		"no data key": {func(r *http.Request) bool { return r.URL.Query().Has("uploads") }, base + "denied right kms:GenerateDataKey on " + kmsKey},
		"no decryption": {func(r *http.Request) bool { return r.Method == http.MethodPut && r.URL.Query().Has("uploadId") },
			base + "ok right kms:GenerateDataKey on " + kmsKey + ", denied right kms:Decrypt on " + kmsKey},
		"no abortion": {func(r *http.Request) bool { return r.Method == http.MethodDelete },
			base + "ok right kms:GenerateDataKey on " + kmsKey + ", ok right kms:Decrypt on " + kmsKey + ", warn right s3:AbortMultipartUpload on s3://letters/dead/*"},
	} {
		t.Run(name, func(t *testing.T) {
			server := objectstest.Start(t, "letters")
			store, _ := answering(t, server, c.denied)
			findings := store.Diagnose(t.Context())
			if got := levels(findings); got != c.want {
				t.Errorf("got  %s\nwant %s", got, c.want)
			}
			for _, f := range findings {
				if f.Level == diagnosis.Denied && !strings.Contains(f.Do, kmsKey) {
					t.Errorf("%+v does not say which key", f)
				}
			}
			for object, err := range server.Store("letters", "").List(t.Context(), "") {
				t.Errorf("left %+v, %v", object, err)
			}
		})
	}
}
