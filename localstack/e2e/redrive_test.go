package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"iter"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kinesis"

	"penstock/localstack"
	"penstock/localstack/shop"
	"penstock/objects"
	"penstock/order"
	"penstock/sink/deadletter"
	"penstock/view"
)

// Letters go back where they belong: those whose cause is gone by a redrive that is killed, and then asked for by two
// operators at once; those that were damaged by corrected events, which is refused before these are in the rows. Then
// every row is as if nothing had ever been parked.
func TestLettersGoBackWhereTheyBelong(t *testing.T) {
	s := site(t, 2, nil)
	setup(t, s)
	generator := orders(t, 60, 81, 0.03)
	withheld := func(e shop.Event) bool { return e.Damage == "" && e.Version%3 == 2 }
	seeded, err := shop.Seed(t.Context(), s.Kinesis(), s.Name, func(yield func(shop.Event) bool) {
		for e := range generator.Events() {
			if !withheld(e) && !yield(e) {
				return
			}
		}
	}, shop.Options{})
	if err != nil {
		t.Fatal(err)
	}
	originals := map[string]shop.Event{} // of damaged events, by the payload sent
	store := s.letters(t)
	parker := deadletter.New(deadletter.Config{}, store)
	parked := 0
	for e := range generator.Events() {
		if e.Damage != "" {
			originals[string(e.Payload)] = e
		}
		if !withheld(e) || e.Duplicate {
			continue
		}
		parked++ // as by an older release that did not know what to make of it
		if err := parker.Park(t.Context(), deadletter.Letter{
			Target:  deadletter.Target{View: order.View{}.Name(), Revision: order.View{}.Revision(), Generation: 1},
			Source:  deadletter.Source{Stream: s.Name, Epoch: "1763700000", Shard: shardName(0), Sequence: strconv.Itoa(parked), Arrival: time.Now()},
			Failure: deadletter.NewFailure(&view.Poison{Stage: view.StageProject, Code: view.CodePanic, Err: errors.New("the view panicked")}),
			Context: deadletter.Context{Version: "old"}, Payload: e.Payload,
		}); err != nil {
			t.Fatal(err)
		}
	}
	oracle := shop.NewOracle(generator.Events(), nil)
	if seeded.Records == 0 || parked < 40 || len(originals) < 5 {
		t.Fatalf("%d records, %d parked, %d damaged: too few to show anything", seeded.Records, parked, len(originals))
	}
	ctx := within(t, 4*time.Minute, "letters that go back")
	fleet := &Fleet{Site: s, Shards: 2}
	defer fleet.Kill()
	if _, err := fleet.Start(ctx, "first"); err != nil {
		t.Fatal(err)
	}
	settled := func(parked int) {
		t.Helper()
		if err := fleet.Watch(ctx, fleet.Idle()); err != nil {
			t.Fatal(err)
		}
		if total, got := fleet.Done(scrapes(t, ctx, fleet)); got != parked {
			t.Fatalf("%d records settled, %d parked, want %d", total, got, parked)
		}
	}
	settled(len(originals))
	if open := s.open(t, ctx); open != parked+len(originals) {
		t.Fatalf("%d open letters, want %d and %d", open, parked, len(originals))
	}

	// Another revision is refused, and a dry run writes nothing.
	session, err := s.Cassandra()
	if err != nil {
		t.Fatal(err)
	}
	defer session.Close()
	hold := func(revision string) {
		t.Helper()
		if err := session.Query("UPDATE "+s.Name+".view_state SET revisions[1] = ? WHERE name = 'order'", revision).Exec(); err != nil {
			t.Fatal(err)
		}
	}
	hold("order/0")
	if _, err := s.Replay(ctx, "dlq", "redrive", "--since", "1h", "--run"); codeOf(err) != 6 ||
		!strings.Contains(err.Error(), "order/0") || !strings.Contains(err.Error(), order.View{}.Revision()) {
		t.Errorf("a generation of another revision: %v", err)
	}
	hold(order.View{}.Revision())
	dry, err := s.Replay(ctx, "dlq", "redrive", "--since", "1h", "-o", "json")
	var preview struct{ Selected, Applies int }
	if err := errors.Join(err, json.Unmarshal([]byte(dry), &preview)); err != nil || preview.Applies != parked || preview.Selected != parked+len(originals) {
		t.Errorf("%+v, %v: %s", preview, err, dry)
	}
	redrive := []string{"dlq", "redrive", "--since", "1h", "--code", "panic", "--run", "-o", "json"}
	s.killRedrive(t, ctx, append(redrive, "--rate", "20"))
	left := s.open(t, ctx)
	if left == parked+len(originals) || left == len(originals) {
		t.Errorf("%d letters open after the kill: it was not in the middle", left)
	}
	twice := make(chan error, 2)
	for range 2 {
		go func() {
			_, err := s.Replay(ctx, redrive...)
			twice <- err
		}()
	}
	if err := errors.Join(<-twice, <-twice); err != nil {
		t.Error(err)
	}
	if open := s.open(t, ctx); open != len(originals) {
		t.Errorf("%d open letters, want those that are damaged, %d", open, len(originals))
	}

	// The producer corrects what was damaged.
	keys := map[string]string{} // by payload
	for letter, err := range s.Letters(ctx) {
		if err != nil {
			t.Fatal(err)
		}
		keys[string(letter.Payload)] = strings.TrimPrefix(letter.Key, s.Name+"/")
	}
	files := map[string]string{}
	folder := t.TempDir()
	for payload, e := range originals {
		files[payload] = filepath.Join(folder, e.ID+".json")
		if err := os.WriteFile(files[payload], e.Corrected().Payload, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	corrected := func(payload string) error {
		_, err := s.Replay(ctx, "dlq", "discard", keys[payload], "--corrected-by", files[payload])
		return err
	}
	for payload := range originals {
		if err := corrected(payload); codeOf(err) != 6 {
			t.Errorf("before the event is in the rows: %v", err)
		}
		break
	}
	for _, e := range originals {
		if _, err := s.Kinesis().PutRecord(ctx, &kinesis.PutRecordInput{StreamName: &s.Name, PartitionKey: aws.String(e.OrderID), Data: e.Corrected().Payload}); err != nil {
			t.Fatal(err)
		}
	}
	settled(len(originals))
	for payload := range originals {
		if err := corrected(payload); err != nil {
			t.Error(err)
		}
	}
	if open := s.open(t, ctx); open != 0 {
		t.Errorf("%d letters are open in the end", open)
	}
	if err := fleet.Stop(ctx); err != nil {
		t.Fatal(err)
	}
	for _, table := range []shop.Table{shop.OrderByID, shop.OrdersByCustomer} {
		report, err := oracle.Check(table, shop.AfterRedrive, s.rows(ctx, session, table))
		if err != nil || len(report.Differences) > 0 {
			t.Errorf("%s: %v\n%s", table, err, strings.Join(report.Differences, "\n"))
		}
	}

	// A redriven letter would change nothing any more, and says by whom it was redriven.
	for letter, err := range s.Letters(ctx) {
		if err != nil {
			t.Fatal(err)
		}
		if letter.Code != "panic" {
			continue
		}
		shown, err := s.Replay(ctx, "dlq", "show", strings.TrimPrefix(letter.Key, s.Name+"/"), "-o", "json")
		var report struct {
			State    string
			Outcomes []struct{ State, By, Run string }
			Redrive  struct {
				Rows []struct{ Cells []struct{ Effect string } }
			}
		}
		if err := errors.Join(err, json.Unmarshal([]byte(shown), &report)); err != nil {
			t.Fatal(err)
		}
		if report.State != "redriven" || len(report.Outcomes) == 0 || report.Outcomes[0].By == "" || len(report.Redrive.Rows) != 2 {
			t.Errorf("%s", shown)
		}
		for _, row := range report.Redrive.Rows {
			for _, cell := range row.Cells {
				if cell.Effect != "same" && cell.Effect != "keeps" {
					t.Errorf("a redriven letter %s a cell: %s", cell.Effect, shown)
				}
			}
		}
		break
	}
}

// letters is the site's store of letters.
func (s *Site) letters(t *testing.T) *objects.Store {
	t.Helper()
	store, err := objects.New(aws.Config{Region: s.env["AWS_REGION"], BaseEndpoint: aws.String(s.env["AWS_ENDPOINT_URL_S3"]), Credentials: s.credentials()},
		objects.Config{Bucket: localstack.DefaultBucket, Prefix: s.Name})
	if err != nil {
		t.Fatal(err)
	}
	return store
}

// open is how many letters list calls open.
func (s *Site) open(t *testing.T, ctx context.Context) int {
	t.Helper()
	out, err := s.Replay(ctx, "dlq", "list", "-o", "json")
	var report struct{ Open int }
	if err := errors.Join(err, json.Unmarshal([]byte(out), &report)); err != nil {
		t.Fatal(err)
	}
	return report.Open
}

// killRedrive kills a redrive once it has told of letters that are redriven and of others that are not.
func (s *Site) killRedrive(t *testing.T, ctx context.Context, args []string) {
	t.Helper()
	cmd := exec.CommandContext(ctx, s.replay(), args...)
	cmd.Env = s.environ()
	read, write := io.Pipe()
	cmd.Stderr = write
	if err := s.children.Start(cmd); err != nil {
		t.Fatal(err)
	}
	defer cmd.Wait()
	defer read.Close()
	defer cmd.Process.Kill()
	var said bytes.Buffer
	for line, err := range lines(read) {
		if err != nil {
			t.Fatalf("a redrive that was to be killed: %v: %s", err, said.String())
		}
		said.WriteString(line + "\n")
		if strings.Contains(line, "redriven") && !strings.HasPrefix(line, "0 ") {
			return
		}
	}
}

// lines reads lines; an error, also that there are no more, is the last thing it yields.
func lines(r io.Reader) iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		var line []byte
		one := make([]byte, 1)
		for {
			if _, err := r.Read(one); err != nil {
				yield("", err)
				return
			}
			if one[0] != '\n' {
				line = append(line, one[0])
				continue
			}
			if !yield(string(line), nil) {
				return
			}
			line = line[:0]
		}
	}
}

func scrapes(t *testing.T, ctx context.Context, f *Fleet) []Scrape {
	t.Helper()
	found, err := f.Scrape(ctx)
	if err != nil {
		t.Fatal(err)
	}
	return found
}
