package objects_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/config"

	"penstock/objects"
	"penstock/objects/objectstest"
)

func TestPutOnceWritesOnceAndNeverReplaces(t *testing.T) {
	store := objectstest.Start(t, "letters").Store("letters", "some/prefix")
	ctx := t.Context()
	if err := store.PutOnce(ctx, "a/b=c/1.json", []byte("first"), "application/json"); err != nil {
		t.Fatal(err)
	}
	err := store.PutOnce(ctx, "a/b=c/1.json", []byte("second"), "application/json")
	exists, ok := errors.AsType[*objects.ExistsError](err)
	if !ok {
		t.Fatalf("second put: %v, want an ExistsError", err)
	}
	if want := "s3://letters/some/prefix/a/b=c/1.json"; exists.Location != want {
		t.Errorf("location %s, want %s", exists.Location, want)
	}
	got, err := store.Get(ctx, "a/b=c/1.json")
	if err != nil {
		t.Fatal(err)
	}
	if string(got) != "first" {
		t.Errorf("stored %q, want what was written first", got)
	}
}

func TestBodiesComeBackByteForByte(t *testing.T) {
	store := objectstest.Start(t, "letters").Store("letters", "")
	for name, body := range map[string][]byte{
		"empty":  {},
		"binary": {0, 255, '\r', '\n', 0},
		"3MiB":   bytes.Repeat([]byte("penstock"), 3<<20/8),
	} {
		if err := store.PutOnce(t.Context(), name, body, "application/octet-stream"); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		got, err := store.Get(t.Context(), name)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if !bytes.Equal(got, body) {
			t.Errorf("%s: got %d bytes, want %d, or other ones", name, len(got), len(body))
		}
	}
}

func TestListPagesInOrderWithinItsPrefix(t *testing.T) {
	server := objectstest.Start(t, "letters")
	store := server.Store("letters", "p")
	const n = 1205 // more than one page
	for i := range n {
		if err := store.PutOnce(t.Context(), fmt.Sprintf("v1/%05d", i), []byte("x"), "text/plain"); err != nil {
			t.Fatal(err)
		}
	}
	other := server.Store("letters", "p2")
	if err := other.PutOnce(t.Context(), "v1/foreign", nil, "text/plain"); err != nil {
		t.Fatal(err)
	}
	i := 0
	for object, err := range store.List(t.Context(), "v1/") {
		if err != nil {
			t.Fatal(err)
		}
		if want := fmt.Sprintf("v1/%05d", i); object.Key != want || object.Size != 1 || object.Modified.IsZero() {
			t.Fatalf("entry %d is %+v, want key %s", i, object, want)
		}
		i++
	}
	if i != n {
		t.Errorf("listed %d objects, want %d", i, n)
	}
	for object, err := range store.List(t.Context(), "") {
		if err != nil || object.Key != "v1/00000" {
			t.Errorf("first entry %+v, %v", object, err)
		}
		break // a listing may be left early
	}
}

func TestMissingObjectIsNotFound(t *testing.T) {
	store := objectstest.Start(t, "letters").Store("letters", "")
	_, err := store.Get(t.Context(), "nothing")
	if _, ok := errors.AsType[*objects.NotFoundError](err); !ok {
		t.Errorf("got %v, want a NotFoundError", err)
	}
}

func TestPresentBucketPassesTheCheck(t *testing.T) {
	if err := objectstest.Start(t, "letters").Store("letters", "p").CheckBucket(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestOutageIsTransientAndEnds(t *testing.T) {
	server := objectstest.Start(t, "letters")
	store := server.Store("letters", "")
	server.Down()
	err := store.PutOnce(t.Context(), "k", []byte("x"), "text/plain")
	if objects.ClassOf(err) != objects.Transient {
		t.Errorf("down: %v, want a transient error", err)
	}
	server.Up()
	if err := store.PutOnce(t.Context(), "k", []byte("x"), "text/plain"); err != nil {
		t.Errorf("up again: %v", err)
	}
}

func TestFrozenServerEndsInATimeout(t *testing.T) {
	release := make(chan struct{})
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { <-release }))
	defer server.Close()
	defer close(release)
	store, err := objects.New(awsConfig(server.URL), objects.Config{Bucket: "b", Timeout: 1})
	if err != nil {
		t.Fatal(err)
	}
	if err := store.PutOnce(t.Context(), "k", nil, "text/plain"); objects.ClassOf(err) != objects.Transient {
		t.Errorf("got %v, want a transient error", err)
	}
}

func TestAnswersAreClassified(t *testing.T) {
	for _, test := range []struct {
		code   string
		status int
		want   objects.Class
	}{
		{"SlowDown", 503, objects.Overload},
		{"ServiceUnavailable", 503, objects.Overload},
		{"TooMany", 429, objects.Overload},
		{"InternalError", 500, objects.Transient},
		{"BadGateway", 502, objects.Transient},
		{"RequestTimeout", 400, objects.Transient},
		{"ConditionalRequestConflict", 409, objects.Transient},
		{"AccessDenied", 403, objects.Fatal},
		{"InvalidAccessKeyId", 403, objects.Fatal},
		{"SignatureDoesNotMatch", 403, objects.Fatal},
		{"NoSuchBucket", 404, objects.Fatal},
		{"PermanentRedirect", 301, objects.Fatal},
		{"KMS.DisabledException", 400, objects.Fatal},
		{"KMS.KMSInvalidStateException", 400, objects.Fatal},
		{"KMS.ThrottlingException", 400, objects.Overload},
		{"KeyTooLongError", 400, objects.Unknown},
		{"NeverHeardOf", 418, objects.Unknown},
	} {
		t.Run(test.code, func(t *testing.T) {
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				_, _ = io.Copy(io.Discard, r.Body)
				w.WriteHeader(test.status)
				fmt.Fprintf(w, "<Error><Code>%s</Code><Message>scripted</Message></Error>", test.code)
			}))
			defer server.Close()
			store, err := objects.New(awsConfig(server.URL), objects.Config{Bucket: "b", Attempts: 1})
			if err != nil {
				t.Fatal(err)
			}
			err = store.PutOnce(t.Context(), "k", []byte("x"), "text/plain")
			e, ok := errors.AsType[*objects.Error](err)
			if !ok || e.Class != test.want || e.Code != test.code {
				t.Errorf("got %v (%+v), want class %s", err, e, test.want)
			}
		})
	}
}

func TestDamagedAnswersAreTransient(t *testing.T) {
	for name, header := range map[string]http.Header{
		"cut":   {"Content-Length": {"10"}},
		"wrong": {"X-Amz-Checksum-Crc32c": {"AAAAAA=="}},
	} {
		t.Run(name, func(t *testing.T) {
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				maps.Copy(w.Header(), header)
				_, _ = w.Write([]byte("body"))
			}))
			defer server.Close()
			store, err := objects.New(awsConfig(server.URL), objects.Config{Bucket: "b", Attempts: 1})
			if err != nil {
				t.Fatal(err)
			}
			if body, err := store.Get(t.Context(), "k"); objects.ClassOf(err) != objects.Transient {
				t.Errorf("got %q, %v, want a transient error", body, err)
			}
		})
	}
}

func TestOfWritersAtOnceOneWins(t *testing.T) {
	store := objectstest.Start(t, "letters").Store("letters", "")
	var won atomic.Int32
	var writers sync.WaitGroup
	for i := range 8 {
		writers.Go(func() {
			err := store.PutOnce(t.Context(), "k", []byte{byte(i)}, "text/plain")
			if err == nil {
				won.Add(1)
			} else if _, ok := errors.AsType[*objects.ExistsError](err); !ok {
				t.Error(err)
			}
		})
	}
	writers.Wait()
	if n := won.Load(); n != 1 {
		t.Errorf("%d writers won, want 1", n)
	}
}

func TestRequestsCarryConditionAndChecksum(t *testing.T) {
	var requests atomic.Int32
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/b/p/k" || r.Header.Get("If-None-Match") != "*" || r.Header.Get("X-Amz-Checksum-Crc32c") != "KXvQqg==" ||
			r.Header.Get("X-Amz-Server-Side-Encryption") != "" ||
			r.Header.Get("Content-Type") != "application/json" {
			t.Errorf("path %s, header %v", r.URL.Path, r.Header)
		}
		if requests.Add(1) < 2 {
			w.WriteHeader(http.StatusInternalServerError)
		}
	}))
	defer server.Close()
	store, err := objects.New(awsConfig(server.URL), objects.Config{Bucket: "b", Prefix: "p"})
	if err != nil {
		t.Fatal(err)
	}
	if err := store.PutOnce(t.Context(), "k", []byte("{}"), "application/json"); err != nil {
		t.Errorf("a fault and a success: %v", err)
	}
	if n := requests.Load(); n != 2 {
		t.Errorf("%d requests, want 2", n)
	}
}

func TestEndpointOfTheEnvironmentIsHonouredWithoutASpecialMode(t *testing.T) {
	server := objectstest.Start(t, "letters")
	address, err := url.Parse(server.URL())
	if err != nil {
		t.Fatal(err)
	}
	for _, host := range []string{"127.0.0.1", "localhost"} { // the SDK chooses path style for the first only
		t.Run(host, func(t *testing.T) {
			t.Setenv("AWS_ENDPOINT_URL_S3", "http://"+host+":"+address.Port())
			t.Setenv("AWS_REGION", "us-east-1")
			t.Setenv("AWS_ACCESS_KEY_ID", "test")
			t.Setenv("AWS_SECRET_ACCESS_KEY", "test")
			conf, err := config.LoadDefaultConfig(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			store, err := objects.New(conf, objects.Config{Bucket: "letters"})
			if err != nil {
				t.Fatal(err)
			}
			if err := store.PutOnce(t.Context(), host, []byte("x"), "text/plain"); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestHalfConfiguredStoresAreRefused(t *testing.T) {
	for _, c := range []objects.Config{
		{},
		{Bucket: "b", Prefix: "/p"},
		{Bucket: "b", Prefix: "p/"},
		{Bucket: "b", Attempts: -1},
		{Bucket: "b", Timeout: -1},
	} {
		if store, err := objects.New(awsConfig("http://127.0.0.1:1"), c); err == nil || store != nil {
			t.Errorf("%+v was accepted", c)
		}
	}
}

func TestErrorsSayWhatWasDoneAndWhere(t *testing.T) {
	store := objectstest.Start(t).Store("absent", "p")
	err := store.PutOnce(t.Context(), "k", nil, "text/plain")
	if !strings.HasPrefix(err.Error(), "put s3://absent/p/k: fatal: ") {
		t.Errorf("got %v", err)
	}
}

func awsConfig(endpoint string) aws.Config {
	return aws.Config{
		Region:       "us-east-1",
		BaseEndpoint: &endpoint,
		Credentials: aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) {
			return aws.Credentials{AccessKeyID: "test", SecretAccessKey: "test"}, nil
		}),
	}
}
