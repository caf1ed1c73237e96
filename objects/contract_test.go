package objects_test

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"penstock/objects"
	"penstock/objects/objectstest"
)

// backend is a server of S3 that the suite runs on. It has the bucket "contract" and no other.
type backend struct {
	aws aws.Config
	// What gofakes3 does not do and S3 does: to hold a body against its checksum before it is kept. Both return the checksum
	// with the object.
	verifies bool
}

func (b backend) store(t *testing.T, bucket, prefix string, change func(*aws.Config)) *objects.Store {
	t.Helper()
	c := b.aws.Copy()
	if change != nil {
		change(&c)
	}
	store, err := objects.New(c, objects.Config{Bucket: bucket, Prefix: prefix, Attempts: 1})
	if err != nil {
		t.Fatal(err)
	}
	return store
}

// What the store promises holds on every server: one in memory, and one that keeps files and shares no code with it.
func TestTheStoreKeepsItsContractOnAServerInMemory(t *testing.T) {
	contract(t, backend{aws: objectstest.Start(t, "contract").AWS()})
}

func TestTheStoreKeepsItsContractOnVersitysGateway(t *testing.T) {
	contract(t, backend{aws: versitygw(t), verifies: true})
}

func contract(t *testing.T, b backend) {
	t.Run("an object is written once", func(t *testing.T) {
		store := b.store(t, "contract", "once/a", nil)
		if err := store.PutOnce(t.Context(), "v=1/k.json", []byte("first"), "application/json"); err != nil {
			t.Fatal(err)
		}
		for _, body := range []string{"first", "second"} {
			err := store.PutOnce(t.Context(), "v=1/k.json", []byte(body), "application/json")
			if exists, ok := errors.AsType[*objects.ExistsError](err); !ok || exists.Location != "s3://contract/once/a/v=1/k.json" {
				t.Errorf("put again: %v, want that it exists", err)
			}
		}
		if got, err := store.Get(t.Context(), "v=1/k.json"); err != nil || string(got) != "first" {
			t.Errorf("stored %q, %v", got, err)
		}
	})

	// The loser may be told that another is at work (409), and learns with the next attempt who won.
	t.Run("of writers at once one wins and nothing of the others is kept", func(t *testing.T) {
		store := b.store(t, "contract", "race", nil)
		for round := range 20 {
			key := fmt.Sprint(round)
			var writers sync.WaitGroup
			var mu sync.Mutex
			var won [][]byte
			for i := range 4 {
				body := bytes.Repeat([]byte{byte(i)}, 4096)
				writers.Go(func() {
					err := store.PutOnce(t.Context(), key, body, "text/plain")
					for objects.ClassOf(err) == objects.Transient && err != nil && t.Context().Err() == nil {
						err = store.PutOnce(t.Context(), key, body, "text/plain")
					}
					if err == nil {
						mu.Lock()
						won = append(won, body)
						mu.Unlock()
					} else if _, ok := errors.AsType[*objects.ExistsError](err); !ok {
						t.Error(err)
					}
				})
			}
			writers.Wait()
			got, err := store.Get(t.Context(), key)
			if err != nil || len(won) != 1 || !bytes.Equal(got, won[0]) {
				t.Fatalf("round %d: %d winners, %d bytes are stored, %v", round, len(won), len(got), err)
			}
		}
	})

	t.Run("bodies come back byte for byte", func(t *testing.T) {
		store := b.store(t, "contract", "bodies", nil)
		for name, body := range map[string][]byte{"empty": {}, "binary": {0, 255, '\r', '\n', 0}, "1MiB": bytes.Repeat([]byte("penstock"), 1<<17)} {
			if err := store.PutOnce(t.Context(), name, body, "application/octet-stream"); err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			if got, err := store.Get(t.Context(), name); err != nil || !bytes.Equal(got, body) {
				t.Errorf("%s: %d bytes, %v", name, len(got), err)
			}
		}
	})

	// One byte is changed between client and server.
	t.Run("damage on the way is found", func(t *testing.T) {
		direct := b.store(t, "contract", "damage", nil)
		body := bytes.Repeat([]byte("x"), 1000)
		if err := direct.PutOnce(t.Context(), "whole", body, "text/plain"); err != nil {
			t.Fatal(err)
		}
		through := b.store(t, "contract", "damage", func(c *aws.Config) { c.BaseEndpoint = aws.String(damaging(t, *c.BaseEndpoint)) })
		got, getErr := through.Get(t.Context(), "whole")
		putErr := through.PutOnce(t.Context(), "put", body, "text/plain")
		stored, storedErr := direct.Get(t.Context(), "put")
		if objects.ClassOf(getErr) != objects.Transient || getErr == nil {
			t.Errorf("get: %d bytes, %v, want a transient error", len(got), getErr)
		}
		if !b.verifies { // then it is found when the object is read
			if putErr != nil || objects.ClassOf(storedErr) != objects.Transient || storedErr == nil {
				t.Errorf("put: %v, read: %d bytes, %v: has the server come to verify?", putErr, len(stored), storedErr)
			}
			return
		}
		if objects.ClassOf(putErr) != objects.Transient || putErr == nil || stored != nil {
			t.Errorf("put: %v, %d bytes stored, want a transient error and nothing stored", putErr, len(stored))
		}
	})

	t.Run("a listing goes on after a thousand keys, in their order", func(t *testing.T) {
		const n = 1003
		store := b.store(t, "contract", "list", nil)
		var writers sync.WaitGroup
		for part := range 8 {
			writers.Go(func() {
				for i := part; i < n; i += 8 {
					if err := store.PutOnce(t.Context(), fmt.Sprintf("v1/%04d", i), []byte("x"), "text/plain"); err != nil {
						t.Error(err)
						return
					}
				}
			})
		}
		writers.Wait()
		if err := b.store(t, "contract", "list2", nil).PutOnce(t.Context(), "v1/foreign", nil, "text/plain"); err != nil {
			t.Fatal(err)
		}
		i := 0
		for object, err := range store.List(t.Context(), "v1/") {
			if want := fmt.Sprintf("v1/%04d", i); err != nil || object.Key != want || object.Size != 1 || object.Modified.IsZero() {
				t.Fatalf("entry %d is %+v, %v, want key %s", i, object, err, want)
			}
			i++
		}
		if i != n {
			t.Errorf("listed %d objects, want %d", i, n)
		}
		for object, err := range store.List(t.Context(), "none/") {
			t.Errorf("listed %+v, %v of nothing", object, err)
		}
	})

	t.Run("a missing object is not found", func(t *testing.T) {
		_, err := b.store(t, "contract", "missing", nil).Get(t.Context(), "nothing")
		if _, ok := errors.AsType[*objects.NotFoundError](err); !ok {
			t.Errorf("got %v", err)
		}
	})

	t.Run("a present bucket passes the check", func(t *testing.T) {
		if err := b.store(t, "contract", "", nil).CheckBucket(t.Context()); err != nil {
			t.Error(err)
		}
	})

	t.Run("a missing bucket is fatal", func(t *testing.T) {
		everyCallIsFatal(t, b.store(t, "absent", "p", nil))
	})

	t.Run("wrong credentials are fatal", func(t *testing.T) {
		everyCallIsFatal(t, b.store(t, "contract", "p", func(c *aws.Config) {
			c.Credentials = credentials.NewStaticCredentialsProvider("stranger", "secret", "")
		}))
	})
}

func everyCallIsFatal(t *testing.T, store *objects.Store) {
	t.Helper()
	_, getErr := store.Get(t.Context(), "k")
	var listErr error
	for _, err := range store.List(t.Context(), "") {
		listErr = err
	}
	for op, err := range map[string]error{
		"check": store.CheckBucket(t.Context()),
		"put":   store.PutOnce(t.Context(), "k", []byte("x"), "text/plain"),
		"get":   getErr,
		"list":  listErr,
	} {
		if e, ok := errors.AsType[*objects.Error](err); !ok || e.Class != objects.Fatal || e.Op != op {
			t.Errorf("%s: %v, want a fatal error", op, err)
		}
	}
}

// damaging starts a proxy that changes the last byte of every body, and returns its address.
func damaging(t *testing.T, address string) string {
	t.Helper()
	target, err := url.Parse(address)
	if err != nil {
		t.Fatal(err)
	}
	damage := func(body io.ReadCloser) (io.ReadCloser, error) {
		b, err := io.ReadAll(body)
		if len(b) > 0 {
			b[len(b)-1] ^= 1
		}
		return io.NopCloser(bytes.NewReader(b)), err
	}
	forward := &httputil.ReverseProxy{
		// The host stays that of the request, which is signed.
		Rewrite: func(p *httputil.ProxyRequest) { p.SetURL(target); p.Out.Host = p.In.Host },
		ModifyResponse: func(r *http.Response) (err error) {
			if r.StatusCode == http.StatusOK {
				r.Body, err = damage(r.Body)
			}
			return err
		},
	}
	proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPut {
			var err error
			if r.Body, err = damage(r.Body); err != nil {
				http.Error(w, err.Error(), http.StatusBadRequest)
				return
			}
		}
		forward.ServeHTTP(w, r)
	}))
	t.Cleanup(proxy.Close)
	return proxy.URL
}

// versitygw builds and starts Versity's gateway, and makes the bucket.
func versitygw(t *testing.T) aws.Config {
	t.Helper()
	program := filepath.Join(t.TempDir(), "versitygw")
	if said, err := exec.CommandContext(t.Context(), "go", "-C", "../tools/versitygw", "build", "-o", program, ".").CombinedOutput(); err != nil {
		t.Fatalf("build versitygw: %v\n%s", err, said)
	}
	address := free(t)
	ctx, cancel := context.WithCancel(context.Background()) // not the test's, which ends before the bucket is done with
	child := exec.CommandContext(ctx, program, address, t.TempDir())
	input, err := child.StdinPipe() // which it ends with
	if err != nil {
		t.Fatal(err)
	}
	output, err := child.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	var errs bytes.Buffer
	child.Stderr = &errs
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(output)
	listening := false
	for !listening && lines.Scan() {
		listening = lines.Text() == "listening"
	}
	var rest sync.WaitGroup
	rest.Go(func() { _, _ = io.Copy(io.Discard, output) })
	t.Cleanup(func() {
		_ = input.Close()
		cancel()
		rest.Wait()
		_ = child.Wait()
	})
	if !listening {
		t.Fatalf("versitygw does not listen on %s: %s", address, errs.String())
	}
	c := aws.Config{Region: "us-east-1", BaseEndpoint: aws.String("http://" + address),
		Credentials: credentials.NewStaticCredentialsProvider("test", "test-secret", "")}
	client := s3.NewFromConfig(c, func(o *s3.Options) { o.UsePathStyle = true })
	if _, err := client.CreateBucket(t.Context(), &s3.CreateBucketInput{Bucket: aws.String("contract")}); err != nil {
		t.Fatalf("%v\n%s", err, errs.String())
	}
	return c
}

// free returns an address of this host that nobody listens on. Another process may take it before it is used; the gateway
// then says so.
func free(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}
