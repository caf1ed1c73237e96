package deadletter

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"penstock/objects"
	"penstock/view"
)

// Shelf is what a [Box] reads and adds to: [objects.Store], with its errors.
type Shelf interface {
	Store
	GetHead(ctx context.Context, key string, n int) ([]byte, error)
	List(ctx context.Context, prefix string) iter.Seq2[objects.Object, error]
	Folders(ctx context.Context, prefix string) ([]string, error)
}

// Box is the letters of one generation of a view, with their outcomes. It reads letters and adds outcomes beside them:
//
//	v1/view=<view>/gen=<N>/dt=<UTC date of arrival>/_outcomes/<UTC time>-<run>-<n>.json
//
// each put once, with a line of JSON for every outcome in it. What is kept in memory is one day's fates at most, and never
// a day's letters. It is safe for concurrent use.
type Box struct {
	shelf      Shelf
	view       string
	generation view.Generation
	prefix     string // of every key, up to and with the equals sign of the day
}

// outcomeFolder stands among the codes of a day. No code begins with an underscore.
const outcomeFolder = "_outcomes"

// NewBox returns the letters of a generation.
func NewBox(shelf Shelf, viewName string, g view.Generation) *Box {
	return &Box{shelf, viewName, g, fmt.Sprintf("v1/view=%s/gen=%d/dt=", viewName, g)}
}

// Where a letter is, taken apart. A key is that of Letter.Key, with the beginning of its bucket's address or without.
var letterKey = regexp.MustCompile(`v1/view=([a-z0-9_]+)/gen=([1-9][0-9]{0,8})/dt=([0-9]{4}-[0-9]{2}-[0-9]{2})/([a-z0-9][a-z0-9_]*)/([0-9]+\.[A-Za-z0-9_.-]+\.[0-9]+\.[0-9]+)\.json$`)

// OtherBoxError says that a letter belongs to another view or generation than the box.
type OtherBoxError struct {
	Key        string
	View       string
	Generation view.Generation
	Box        *Box
}

func (e *OtherBoxError) Error() string {
	return fmt.Sprintf("letter %s is of view %s, generation %d, and this program is set to view %s, generation %d: give it that configuration, or --generation %d",
		e.Key, e.View, e.Generation, e.Box.view, e.Box.generation, e.Generation)
}

// Find reads a letter's key as people give it: the key, or the address with s3:// that other commands print. An
// [*OtherBoxError] means that the letter is not of this box.
func (b *Box) Find(key string) (Mark, error) {
	m, ok := parseKey(key)
	if !ok {
		return Mark{}, fmt.Errorf("letter %q: must be a key such as v1/view=%s/gen=%d/dt=2026-11-21/bad_json/1763700000.shardId-000000000000.495….0.json",
			key, b.view, b.generation)
	}
	if !strings.HasPrefix(m.Key, b.prefix) {
		parts := letterKey.FindStringSubmatch(m.Key)
		generation, err := strconv.Atoi(parts[2])
		if err != nil {
			return Mark{}, fmt.Errorf("letter %q: generation: %w", key, err)
		}
		return Mark{}, &OtherBoxError{m.Key, parts[1], view.Generation(generation), b}
	}
	return m, nil
}

func parseKey(key string) (Mark, bool) {
	at := letterKey.FindStringSubmatchIndex(key)
	if at == nil {
		return Mark{}, false
	}
	part := func(n int) string { return key[at[2*n]:at[2*n+1]] }
	return Mark{Key: part(0), Day: part(3), Code: view.Code(part(4)), Identity: part(5)}, true
}

// Days returns the UTC dates of arrival that have letters, in order.
func (b *Box) Days(ctx context.Context) ([]string, error) {
	days, err := b.shelf.Folders(ctx, b.prefix)
	if err != nil {
		return nil, err
	}
	return slices.DeleteFunc(days, func(d string) bool {
		_, err := time.Parse(time.DateOnly, d)
		return err != nil
	}), nil
}

// Marks returns the letters of a day in the order of their codes and positions, reading none of them. What is no letter is
// left out. An error is the last thing it yields.
func (b *Box) Marks(ctx context.Context, day string) iter.Seq2[Mark, error] {
	return func(yield func(Mark, error) bool) {
		for o, err := range b.shelf.List(ctx, b.prefix+day+"/") {
			if err != nil {
				yield(Mark{}, err)
				return
			}
			m, ok := b.mark(day, o)
			if ok && !yield(m, nil) {
				return
			}
		}
	}
}

// mark takes the key of a listed object apart, without an expression: there may be a million of them.
func (b *Box) mark(day string, o objects.Object) (Mark, bool) {
	rest, ok := strings.CutPrefix(o.Key, b.prefix+day+"/")
	code, name, ok2 := strings.Cut(rest, "/")
	identity, ok3 := strings.CutSuffix(name, ".json")
	if !ok || !ok2 || !ok3 || code == outcomeFolder || strings.Contains(name, "/") {
		return Mark{}, false
	}
	return Mark{Key: o.Key, Day: day, Code: view.Code(code), Identity: identity, Bytes: o.Size, Written: o.Modified}, true
}

// readers is how many batches of outcomes are read at once.
const readers = 16

// Fates returns what became of a day's letters.
func (b *Box) Fates(ctx context.Context, day string) (*Fates, error) {
	fates := NewFates()
	err := b.outcomes(ctx, day, fates.Add)
	return fates, err
}

// History returns the outcomes of one letter, the oldest first.
func (b *Box) History(ctx context.Context, m Mark) ([]Outcome, error) {
	var history []Outcome
	err := b.outcomes(ctx, m.Day, func(o Outcome) {
		if o.Letter == m.Identity {
			history = append(history, o)
		}
	})
	sortHistory(history)
	return history, err
}

// outcomes hands out all outcomes of a day, in no order, from one goroutine at a time.
func (b *Box) outcomes(ctx context.Context, day string, each func(Outcome)) error {
	reading, ctx := errgroup.WithContext(ctx)
	reading.SetLimit(readers)
	one := make(chan struct{}, 1) // whoever holds it calls each
	for o, err := range b.shelf.List(ctx, b.prefix+day+"/"+outcomeFolder+"/") {
		if err != nil {
			return errors.Join(err, ignoreCancelled(reading.Wait()))
		}
		reading.Go(func() error {
			text, err := b.shelf.Get(ctx, o.Key)
			if err != nil {
				return err
			}
			one <- struct{}{}
			defer func() { <-one }()
			if err := decodeOutcomes(text, each); err != nil {
				return fmt.Errorf("read outcomes %s: %w", o.Key, err)
			}
			return nil
		})
	}
	return reading.Wait()
}

func ignoreCancelled(err error) error {
	if errors.Is(err, context.Canceled) {
		return nil
	}
	return err
}

// headBytes is how much of a letter is read to know all but its payload. A letter that is not much larger is read whole,
// for then its checksum is verified.
const headBytes = 16 << 10

// Head reads a letter without its payload.
func (b *Box) Head(ctx context.Context, m Mark) (Letter, error) {
	if m.Bytes > 2*headBytes {
		head, err := b.shelf.GetHead(ctx, m.Key, headBytes)
		if err != nil {
			return Letter{}, err
		}
		if l, err := decodeHead(head); err == nil {
			return l, nil
		} // a long stack, or a failure that the whole will tell
	}
	text, err := b.shelf.Get(ctx, m.Key)
	if err != nil {
		return Letter{}, err
	}
	l, err := decodeHead(text)
	if err != nil {
		return Letter{}, fmt.Errorf("read letter %s: %w", m.Key, err)
	}
	return l, nil
}

// Letter reads a whole letter.
func (b *Box) Letter(ctx context.Context, m Mark) (Letter, error) {
	_, l, err := b.Raw(ctx, m)
	return l, err
}

// Raw reads a whole letter, and returns its object's bytes, too.
func (b *Box) Raw(ctx context.Context, m Mark) ([]byte, Letter, error) {
	text, err := b.shelf.Get(ctx, m.Key)
	if err != nil {
		return nil, Letter{}, err
	}
	l, err := Decode(text)
	if err != nil {
		return nil, Letter{}, fmt.Errorf("read letter %s: %w", m.Key, err)
	}
	if l.Key() != m.Key {
		return nil, Letter{}, fmt.Errorf("read letter %s: it says that its key is %s", m.Key, l.Key())
	}
	return text, l, nil
}

// decodeHead reads what stands before a letter's payload. The payload of what it returns is nil.
func decodeHead(text []byte) (Letter, error) {
	d := json.NewDecoder(bytes.NewReader(text))
	if _, err := d.Token(); err != nil { // the brace
		return Letter{}, fmt.Errorf("decode letter: %w", err)
	}
	for d.More() {
		name, err := d.Token()
		if err != nil {
			return Letter{}, fmt.Errorf("decode letter: %w", err)
		}
		if name != "penstock" {
			var skipped json.RawMessage
			if err := d.Decode(&skipped); err != nil {
				return Letter{}, fmt.Errorf("decode letter: %w", err)
			}
			continue
		}
		var g group
		if err := d.Decode(&g); err != nil {
			return Letter{}, fmt.Errorf("decode letter: %w", err)
		}
		if g.Format < 1 || g.Format > format {
			return Letter{}, fmt.Errorf("decode letter: format %d, this release reads 1 to %d", g.Format, format)
		}
		return Letter{Target: g.Target, Source: g.Source, Event: g.Event, Failure: g.Failure, Attempts: g.Attempts,
			Context: g.Context, ParkedAt: g.ParkedAt}, nil
	}
	return Letter{}, errors.New("decode letter: it has no member penstock")
}

// MaxBatch is how many outcomes one object holds at most.
const MaxBatch = 1000

// Record makes outcomes of one day durable, at most [MaxBatch] of them. The same run and n must mean the same outcomes:
// then repeating a call that seemed to fail is harmless.
func (b *Box) Record(ctx context.Context, day, run string, began time.Time, n int, outcomes []Outcome) error {
	if len(outcomes) > MaxBatch {
		return fmt.Errorf("record outcomes: %d in one batch, at most %d", len(outcomes), MaxBatch)
	}
	body, err := encodeOutcomes(outcomes)
	if err != nil {
		return err
	}
	key := fmt.Sprintf("%s%s/%s/%s-%s-%d.json", b.prefix, day, outcomeFolder, began.UTC().Format("20060102T150405Z"), run, n)
	err = b.shelf.PutOnce(ctx, key, body, "application/x-ndjson")
	if _, exists := errors.AsType[*objects.ExistsError](err); exists {
		stored, err := b.shelf.Get(ctx, key)
		if err != nil {
			return err
		}
		if !bytes.Equal(stored, body) {
			return fmt.Errorf("record outcomes: %s holds others: two runs have the name %s", key, run)
		}
		return nil
	}
	return err
}
