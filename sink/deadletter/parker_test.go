package deadletter

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"penstock/objects"
	"penstock/objects/objectstest"
)

// memory is a store in memory that fails as long as fail returns an error.
type memory struct {
	mu      sync.Mutex
	objects map[string][]byte
	puts    int
	fail    func(puts int) error
	lose    int // so many writes are carried out and answered with a fault
}

func (m *memory) PutOnce(_ context.Context, key string, body []byte, contentType string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.puts++
	if m.fail != nil {
		if err := m.fail(m.puts); err != nil {
			return err
		}
	}
	if _, ok := m.objects[key]; ok {
		return &objects.ExistsError{Location: key}
	}
	if m.objects == nil {
		m.objects = map[string][]byte{}
	}
	m.objects[key] = bytes.Clone(body)
	if contentType != "application/json" {
		return errors.New("content type " + contentType)
	}
	if m.lose > 0 {
		m.lose--
		return transient()
	}
	return nil
}

func (m *memory) Get(_ context.Context, key string) ([]byte, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	body, ok := m.objects[key]
	if !ok {
		return nil, &objects.NotFoundError{Location: key}
	}
	return body, nil
}

func transient() error { return &objects.Error{Class: objects.Transient, Err: errors.New("no answer")} }
func fatal() error     { return &objects.Error{Class: objects.Fatal, Err: errors.New("access denied")} }

func TestParkWaitsUntilStorageAnswers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		store := &memory{fail: func(int) error {
			if time.Since(start) < time.Hour {
				return transient()
			}
			return nil
		}}
		core, logs := observer.New(zap.InfoLevel)
		failures := 0
		p := New(Config{Log: zap.New(core), Failed: func(error) { failures++ }}, store)
		if err := p.Park(t.Context(), sample()); err != nil {
			t.Fatal(err)
		}
		waited := time.Since(start)
		if waited < time.Hour || waited > time.Hour+maxBackoff {
			t.Errorf("parked after %s, want within %s of the hour", waited, maxBackoff)
		}
		if failures != store.puts-1 {
			t.Errorf("%d failures reported, %d writes", failures, store.puts)
		}
		// Half of 20 s on average: an hour has about 360 attempts. Without back-off there would be many more.
		if store.puts < 250 || store.puts > 500 {
			t.Errorf("%d writes in an hour", store.puts)
		}
		warnings := logs.FilterLevelExact(zap.WarnLevel).Len()
		if warnings < 45 || warnings > 60 {
			t.Errorf("%d warnings in an hour, want about one a minute", warnings)
		}
		if logs.FilterMessage("dead letter written after waiting").Len() != 1 {
			t.Error("the end of the outage was not logged")
		}
		for _, entry := range logs.All() {
			for _, f := range entry.ContextMap() {
				if s, ok := f.(string); ok && strings.Contains(s, "<b>") {
					t.Errorf("a payload was logged: %v", entry)
				}
			}
		}
	})
}

func TestParkWaitsForAMissingBucketAndSaysSo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		store := &memory{fail: func(puts int) error {
			if time.Since(start) >= 10*time.Minute {
				return nil
			}
			if puts%2 == 0 {
				return transient()
			}
			return fatal()
		}}
		core, logs := observer.New(zap.InfoLevel)
		if err := New(Config{Log: zap.New(core)}, store).Park(t.Context(), sample()); err != nil {
			t.Fatal(err)
		}
		if n := logs.FilterLevelExact(zap.ErrorLevel).Len(); n < 5 || n > 10 {
			t.Errorf("%d errors in ten minutes, want about one a minute though other failures come between", n)
		}
	})
}

func TestParkEndsWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cause := errors.New("lease lost")
		ctx, cancel := context.WithCancelCause(t.Context())
		store := &memory{fail: func(int) error { return fatal() }}
		time.AfterFunc(time.Minute, func() { cancel(cause) })
		start := time.Now()
		err := New(Config{}, store).Park(ctx, sample())
		if !errors.Is(err, cause) || objects.ClassOf(err) != objects.Fatal {
			t.Errorf("got %v, want the cause and the last failure", err)
		}
		if waited := time.Since(start); waited != time.Minute {
			t.Errorf("ended after %s, want at once", waited)
		}
	})
}

func TestOneLetterIsLeftOfTwoWrites(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &memory{lose: 1} // the first write is done, its answer lost
		p := New(Config{}, store)
		if err := p.Park(t.Context(), sample()); err != nil {
			t.Fatal(err)
		}
		again := sample()
		again.ParkedAt, again.Context.Worker = time.Time{}, "w2" // another daemon, after a crash
		if err := p.Park(t.Context(), again); err != nil {
			t.Fatal(err)
		}
		if len(store.objects) != 1 || store.puts != 3 {
			t.Errorf("%d letters by %d writes", len(store.objects), store.puts)
		}
		l, err := Decode(store.objects[sample().Key()])
		if err != nil || l.Context.Worker != "w1" {
			t.Errorf("stored %+v, %v: want the first letter", l, err)
		}
	})
}

func TestLetterThatVanishesIsWrittenAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &memory{fail: func(puts int) error {
			if puts == 1 {
				return &objects.ExistsError{} // and gone when it is read
			}
			return nil
		}}
		if err := New(Config{}, store).Park(t.Context(), sample()); err != nil {
			t.Fatal(err)
		}
		if store.puts != 2 || len(store.objects) != 1 {
			t.Errorf("%d writes, %d letters", store.puts, len(store.objects))
		}
	})
}

func TestAnotherPayloadUnderOneKeyIsAConflict(t *testing.T) {
	store := &memory{}
	told := 0
	p := New(Config{Failed: func(err error) {
		if _, ok := errors.AsType[*ConflictError](err); ok {
			told++
		}
	}}, store)
	if err := p.Park(t.Context(), sample()); err != nil {
		t.Fatal(err)
	}
	other := sample()
	other.Payload = []byte("other")
	conflict, ok := errors.AsType[*ConflictError](p.Park(t.Context(), other))
	if !ok || conflict.Key != other.Key() {
		t.Errorf("got %v, want a conflict", conflict)
	}
	for _, part := range []string{"<b>", "other\""} {
		if strings.Contains(conflict.Error(), part) {
			t.Errorf("%v holds a part of a payload", conflict)
		}
	}
	store.objects[sample().Key()] = []byte("not a letter")
	if _, ok := errors.AsType[*ConflictError](p.Park(t.Context(), sample())); !ok {
		t.Error("a damaged letter passed for this one")
	}
	if told != 2 {
		t.Errorf("%d of 2 conflicts were told", told)
	}
}

// While a fleet is upgraded, or after it was set back, releases find letters of each other.
func TestALetterOfALaterReleaseWithThisPayloadIsThisLetter(t *testing.T) {
	stored, err := sample().Encode()
	if err != nil {
		t.Fatal(err)
	}
	later := bytes.Replace(stored, []byte(`"format": 1`), []byte(`"format": 2, "added": {}`), 1)
	if _, err := Decode(later); err == nil {
		t.Fatal("the format is not another one")
	}
	store := &memory{objects: map[string][]byte{sample().Key(): later}}
	p := New(Config{}, store)
	if err := p.Park(t.Context(), sample()); err != nil {
		t.Error(err)
	}
	other := sample()
	other.Payload = []byte("other")
	if _, ok := errors.AsType[*ConflictError](p.Park(t.Context(), other)); !ok {
		t.Error("another payload passed for the later release's")
	}
}

// A key that may not be used is waited for and told, with what is to be allowed; when it is, the letter is written.
func TestParkWaitsForADeniedKeyAndSaysWhichRightIsMissing(t *testing.T) {
	const key = "arn:aws:kms:eu-central-1:123456789012:key/1234abcd-12ab-34cd-56ef-1234567890ab"
	var allowed atomic.Bool
	var puts atomic.Int32
	s3 := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		puts.Add(1)
		if r.Header.Get("X-Amz-Server-Side-Encryption-Aws-Kms-Key-Id") != key {
			t.Errorf("header %v", r.Header)
		}
		if !allowed.Load() {
			w.WriteHeader(http.StatusForbidden)
			_, _ = io.WriteString(w, `<Error><Code>AccessDenied</Code><Message>not authorized to perform: kms:GenerateDataKey</Message></Error>`)
		}
	}))
	defer s3.Close()
	store, err := objects.New(aws.Config{Region: "us-east-1", BaseEndpoint: &s3.URL,
		Credentials: credentials.NewStaticCredentialsProvider("test", "test", "")}, objects.Config{Bucket: "letters", KMSKey: key, Attempts: 1})
	if err != nil {
		t.Fatal(err)
	}
	core, logs := observer.New(zap.InfoLevel)
	p := New(Config{Log: zap.New(core), Failed: func(err error) {
		if objects.ClassOf(err) != objects.Fatal {
			t.Errorf("failed with %v", err)
		}
		allowed.Store(true) // from the second attempt on
	}}, store)
	if err := p.Park(t.Context(), sample()); err != nil {
		t.Fatal(err)
	}
	if puts.Load() != 2 {
		t.Errorf("%d puts", puts.Load())
	}
	said := logs.FilterMessage("dead letters cannot be written: the shard waits until this is put right").All()
	if len(said) != 1 || said[0].Level != zap.ErrorLevel || !strings.Contains(fmt.Sprint(said[0].ContextMap()["error"]), "kms:GenerateDataKey on "+key) {
		t.Errorf("logged %v", logs.All())
	}
}

func TestLetterWithoutIdentityIsNotParked(t *testing.T) {
	store := &memory{}
	if err := New(Config{}, store).Park(t.Context(), Letter{Payload: []byte("x")}); err == nil || store.puts != 0 {
		t.Errorf("got %v, %d writes", err, store.puts)
	}
}

func TestParkOnAServerWithAnOutageInTheMiddle(t *testing.T) {
	server := objectstest.Start(t, "letters")
	store := server.Store("letters", "dead-letters")
	failed := make(chan error, 1)
	p := New(Config{Failed: func(err error) {
		select {
		case failed <- err:
		default:
		}
	}}, store)
	first, second := sample(), sample()
	second.Source.Sequence = "2"
	second.Payload = bytes.Repeat([]byte{0, 'x', '"', 0xff}, 1<<18) // 1 MiB
	if err := p.Park(t.Context(), first); err != nil {
		t.Fatal(err)
	}

	server.Down()
	parked := make(chan error, 1)
	go func() { parked <- p.Park(t.Context(), second) }() // ends when the letter is written
	if err := <-failed; objects.ClassOf(err) != objects.Transient {
		t.Errorf("while down: %v", err)
	}
	server.Up()
	if err := <-parked; err != nil {
		t.Fatal(err)
	}

	for _, l := range []Letter{first, second} {
		if err := p.Park(t.Context(), l); err != nil {
			t.Errorf("again: %v", err)
		}
		b, err := store.Get(t.Context(), l.Key())
		if err != nil {
			t.Fatal(err)
		}
		got, err := Decode(b)
		if err != nil || !bytes.Equal(got.Payload, l.Payload) {
			t.Errorf("%s: %d bytes, %v", l.Key(), len(got.Payload), err)
		}
	}
	changed := second
	changed.Payload = []byte("x")
	if _, ok := errors.AsType[*ConflictError](p.Park(t.Context(), changed)); !ok {
		t.Error("another payload under the same key is no conflict")
	}
	keys := 0
	for object, err := range store.List(t.Context(), "v1/view=order/gen=1/dt=2026-11-20/") {
		if err != nil {
			t.Fatal(err)
		}
		if object.Key != first.Key() && object.Key != second.Key() {
			t.Errorf("unexpected key %s", object.Key)
		}
		keys++
	}
	if keys != 2 {
		t.Errorf("%d letters, want 2", keys)
	}
}
