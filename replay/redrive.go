package replay

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"penstock/sink"
	"penstock/sink/deadletter"
	"penstock/view"
)

// Writer is what letters are applied through: that of live traffic, with its limits.
type Writer interface {
	Submit(ctx context.Context, from *sink.Source, writes []sink.Write)
}

// RedriveConfig says how letters are redriven.
type RedriveConfig struct {
	View    view.View
	Box     *deadletter.Box
	Writer  Writer
	Filter  Filter  // its states are those that are redriven; closed ones never are
	Rate    float64 // letters a second, above 0
	Readers int     // letters read at once; DefaultReaders if 0
	// KeepGoing goes on although the first letters all failed again.
	KeepGoing bool
	By        string // who asks
	Run       string // names this run: no other may have the name
	Release   string // of the program
	// Progress is told about once a second how far it is. Nil for none.
	Progress func(Progress)
	// Failed is told of every letter that failed again or is unreadable. Nil for none.
	Failed func(key string, why error)
}

// FirstFailures is how many letters may fail again before any succeeds. Until one does no more are in hand at once.
const FirstFailures = 50

// interrupted is why a redrive ended whose fetch did.
const interrupted = "interrupted"

const (
	maxTogether = 200              // letters that are submitted at once, so that the writer may group their rows
	maxInHand   = 2000             // letters between their submission and their outcome
	maxHandSize = 32 << 20         // bytes of them as they are stored
	recordEvery = time.Second      // outcomes wait no longer than this
	lastRecord  = 30 * time.Second // what the last outcomes of a run that ends may take
)

// Progress is how far a redrive is.
type Progress struct {
	Redriven, Failed, Unreadable int
	InHand                       int
	Total                        int           // all that are to be redriven; 0 while they are being counted
	Rate                         float64       // letters a second, over the run
	Left                         time.Duration // 0 if unknown
}

// Redriven is what became of a redrive.
type Redriven struct {
	Run        string            `json:"run"`
	Selected   int               `json:"selected"`   // letters that were taken
	Redriven   int               `json:"redriven"`   // acknowledged by the writer and recorded
	Failed     int               `json:"failed"`     // again
	Unreadable int               `json:"unreadable"` // objects that are no letters
	Unsettled  int               `json:"unsettled"`  // given up without an outcome: they are open, and may be in their rows
	Codes      map[view.Code]int `json:"codes"`      // of those that failed again, by the code they fail with now
	Took       float64           `json:"took_seconds"`
	Stopped    string            `json:"stopped,omitempty"` // why it ended before all were taken
	Rate       float64           `json:"letters_per_second"`
}

// ErrFirstFailed says that a redrive stopped because the first letters all failed again.
var ErrFirstFailed = fmt.Errorf("the first %d letters all failed again: their cause is not gone", FirstFailures)

// Redrive applies letters. The end of fetch makes it take no more and wait for those in hand; the end of work gives these
// up. Every letter that the writer acknowledged, or that failed again, has its outcome recorded before it returns, unless
// the error says otherwise. It may be killed at any moment, and run again, or twice at once.
func Redrive(fetch, work context.Context, c RedriveConfig) (Redriven, error) {
	if c.Rate <= 0 {
		return Redriven{}, fmt.Errorf("redrive: rate %g: must be above 0 letters a second", c.Rate)
	}
	if c.Readers == 0 {
		c.Readers = DefaultReaders
	}
	for _, s := range c.Filter.States {
		if !s.IsOpen() {
			return Redriven{}, fmt.Errorf("redrive: state %s: only open letters are redriven", s)
		}
	}
	if len(c.Filter.States) == 0 {
		c.Filter.States = OpenStates
	}
	r := &redriver{
		config: c, began: time.Now(), settled: make(chan settlement, maxInHand), pending: map[string][]deadletter.Outcome{},
		limit:  rate.NewLimiter(rate.Limit(c.Rate), max(1, int(c.Rate/10))),
		source: &sink.Source{Name: "redrive " + c.Run}, report: Redriven{Run: c.Run, Codes: map[view.Code]int{}},
	}
	return r.run(fetch, work)
}

// redriver is owned by the goroutine that calls Redrive; the writer's reach it by settled.
type redriver struct {
	config  RedriveConfig
	began   time.Time
	limit   *rate.Limiter
	source  *sink.Source
	settled chan settlement // has room for all in hand, so that the writer never waits

	together []sink.Write // taken and not submitted yet, while more can be had without waiting
	inHand   int
	full     bool // as many are in hand as may be: none is taken until half of them are settled
	handSize int64
	pending  map[string][]deadletter.Outcome // by day, not recorded yet
	stuck    []batch                         // could not be recorded
	batches  int
	total    int
	report   Redriven
}

// batch is outcomes under a number, which stay together: repeating it is harmless.
type batch struct {
	day      string
	n        int
	outcomes []deadletter.Outcome
}

// settlement is a letter's outcome from the writer.
type settlement struct {
	Found
	err error
}

// letter waits for its outcome.
type letter struct {
	Found
	settled chan<- settlement
}

// Settle implements [sink.Settler].
func (l *letter) Settle(err error) {
	l.Letter.Payload = nil
	l.settled <- settlement{l.Found, err}
}

func (r *redriver) run(fetch, work context.Context) (Redriven, error) {
	reading, stop := context.WithCancel(fetch)
	found := make(chan walked, maxTogether)
	count := make(chan int, 1)
	var running sync.WaitGroup
	running.Go(func() { r.read(reading, found) })
	running.Go(func() { r.count(reading, count) })
	defer running.Wait()
	defer stop()
	var failed error
	ticks := time.NewTicker(recordEvery)
	defer ticks.Stop()
	done := false // no more are taken
	end := func(err error) {
		done = true
		if failed == nil && err != nil {
			failed = err
			r.report.Stopped = err.Error()
		}
		stop()
	}
	var gate <-chan time.Time // until the rate allows the next one
	stopped := fetch.Done()
	for !done || r.inHand > 0 {
		next := found
		if done || gate != nil || !r.room() {
			next = nil
			r.submit(work)
		}
		select {
		case w, ok := <-next:
			switch {
			case !ok:
				done = true
				if fetch.Err() != nil {
					r.report.Stopped = interrupted
				}
			case w.err != nil:
				end(fmt.Errorf("read letters: %w", w.err))
			default:
				if err := r.take(w.Found); err != nil {
					end(err)
				}
				if wait := r.limit.Reserve().Delay(); wait > 0 {
					gate = time.After(wait)
				}
			}
			if len(found) == 0 || len(r.together) >= maxTogether {
				r.submit(work)
			}
		case <-gate:
			gate = nil
		case s := <-r.settled:
			if err := r.settle(s); err != nil {
				end(err)
			}
		case <-ticks.C:
			if err := r.record(work); err != nil {
				end(err)
			}
			r.tell()
		case r.total = <-count:
			count = nil
		case <-stopped:
			stopped = nil
			if !done {
				done = true
				r.report.Stopped = interrupted
			}
		}
		if !done && !r.config.KeepGoing && r.firstFailed() {
			end(ErrFirstFailed)
		}
		if len(r.pending) > 0 && r.batchFull() {
			if err := r.record(work); err != nil {
				end(err)
			}
		}
	}
	// What was acknowledged is to be known of, also after the end of work.
	last, cancel := context.WithTimeout(context.WithoutCancel(work), lastRecord)
	defer cancel()
	if err := errors.Join(r.recordStuck(last), r.record(last)); err != nil {
		left := 0
		for _, b := range r.stuck {
			left += len(b.outcomes)
		}
		failed = errors.Join(failed, fmt.Errorf("%d letters have outcomes that are not recorded: they stay open, and may be redriven again: %w", left, err))
	}
	took := time.Since(r.began)
	r.report.Took = took.Seconds()
	r.report.Rate = float64(r.report.Redriven+r.report.Failed) / max(took.Seconds(), 1e-9)
	return r.report, failed
}

// walked is an element of a walk.
type walked struct {
	Found
	err error
}

// read hands out the letters to redrive, until ctx ends or there are no more.
func (r *redriver) read(ctx context.Context, found chan<- walked) {
	defer close(found)
	for f, err := range Walk(ctx, r.config.Box, r.config.Filter, Whole, r.config.Readers) {
		if err != nil && ctx.Err() != nil {
			return
		}
		select {
		case found <- walked{f, err}:
		case <-ctx.Done():
			return
		}
	}
}

// count finds out how many letters there are to redrive. Nothing depends on it.
func (r *redriver) count(ctx context.Context, total chan<- int) {
	n := 0
	for _, err := range Walk(ctx, r.config.Box, r.config.Filter, Marks, max(1, r.config.Readers/4)) {
		if err != nil {
			return
		}
		n++
	}
	total <- n
}

// room tells whether another letter may be taken.
func (r *redriver) room() bool {
	if r.report.Redriven == 0 && !r.config.KeepGoing {
		return r.inHand < FirstFailures-r.report.Failed && r.handSize < maxHandSize
	}
	if r.inHand >= maxInHand || r.handSize >= maxHandSize {
		r.full = true
	} else if r.inHand <= maxInHand/2 && r.handSize <= maxHandSize/2 {
		r.full = false
	}
	return !r.full
}

func (r *redriver) firstFailed() bool {
	return r.report.Redriven == 0 && r.report.Failed >= FirstFailures
}

// take projects a letter; what it becomes is submitted next. The error is a fault of the view.
func (r *redriver) take(f Found) error {
	r.report.Selected++
	if f.Unreadable != nil {
		r.report.Unreadable++
		r.failed(f.Key, f.Unreadable)
		return nil
	}
	result, err := Project(r.config.View, f.Letter)
	if p, poison := view.AsPoison(err); poison {
		r.fail(f, p)
		return nil
	}
	if err != nil {
		r.report.Unsettled++
		return err
	}
	if len(result.Mutations) == 0 { // an event that changes nothing is applied
		r.outcome(f, deadletter.Outcome{State: deadletter.Redriven})
		r.report.Redriven++
		return nil
	}
	r.inHand++
	r.handSize += f.Bytes
	r.together = append(r.together, sink.Write{Mutations: result.Mutations, Record: &letter{f, r.settled}})
	return nil
}

// submit hands over what was taken, the slice with it.
func (r *redriver) submit(work context.Context) {
	if len(r.together) > 0 {
		r.config.Writer.Submit(work, r.source, r.together)
		r.together = nil
	}
}

// settle takes the writer's answer. The error is one after which nothing more can be written.
func (r *redriver) settle(s settlement) error {
	r.inHand--
	r.handSize -= s.Bytes
	if s.err == nil {
		r.report.Redriven++
		r.outcome(s.Found, deadletter.Outcome{State: deadletter.Redriven})
		return nil
	}
	if p, poison := view.AsPoison(s.err); poison {
		r.fail(s.Found, p)
		return nil
	}
	r.report.Unsettled++
	return fmt.Errorf("write letters: %w", s.err)
}

// fail keeps a letter where it is, with its new failure.
func (r *redriver) fail(f Found, p *view.Poison) {
	failure := failureOf(p)
	r.report.Failed++
	r.report.Codes[failure.Code]++
	r.outcome(f, deadletter.Outcome{State: deadletter.Failed, Failure: &failure})
	r.failed(f.Key, errors.New(string(failure.Code)+": "+failure.Message))
}

func (r *redriver) failed(key string, why error) {
	if r.config.Failed != nil {
		r.config.Failed(key, why)
	}
}

func (r *redriver) outcome(f Found, o deadletter.Outcome) {
	o.Letter, o.Key, o.At = f.Identity, f.Key, time.Now().UTC()
	o.By, o.Run, o.Release, o.Revision = r.config.By, r.config.Run, r.config.Release, r.config.View.Revision()
	r.pending[f.Day] = append(r.pending[f.Day], o)
}

// batchFull tells whether a batch of outcomes is.
func (r *redriver) batchFull() bool {
	for _, outcomes := range r.pending {
		if len(outcomes) >= deadletter.MaxBatch {
			return true
		}
	}
	return false
}

// record makes the outcomes durable that wait for it. Those that cannot be are kept, and tried once more at the end.
func (r *redriver) record(ctx context.Context) error {
	var errs []error
	for day, outcomes := range r.pending {
		for chunk := range slices.Chunk(outcomes, deadletter.MaxBatch) {
			b := batch{day, r.batches, chunk}
			r.batches++
			if err := r.config.Box.Record(ctx, b.day, r.config.Run, r.began, b.n, b.outcomes); err != nil {
				r.stuck = append(r.stuck, b)
				errs = append(errs, fmt.Errorf("record outcomes: %w", err))
			}
		}
	}
	clear(r.pending)
	return errors.Join(errs...)
}

func (r *redriver) recordStuck(ctx context.Context) error {
	var errs []error
	stuck := r.stuck
	r.stuck = nil
	for _, b := range stuck {
		if err := r.config.Box.Record(ctx, b.day, r.config.Run, r.began, b.n, b.outcomes); err != nil {
			r.stuck = append(r.stuck, b)
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

func (r *redriver) tell() {
	if r.config.Progress == nil {
		return
	}
	p := Progress{Redriven: r.report.Redriven, Failed: r.report.Failed, Unreadable: r.report.Unreadable, InHand: r.inHand, Total: r.total}
	settled := p.Redriven + p.Failed + p.Unreadable
	p.Rate = float64(settled) / max(time.Since(r.began).Seconds(), 1e-9)
	if left := p.Total - settled; left > 0 && p.Rate > 0 {
		p.Left = time.Duration(float64(left) / p.Rate * float64(time.Second))
	}
	r.config.Progress(p)
}

// Preview is what a redrive would do.
type Preview struct {
	Selected   int           `json:"selected"`
	Applies    int           `json:"applies"`
	Fails      int           `json:"fails"`
	Unreadable int           `json:"unreadable"`
	Codes      []PreviewCode `json:"codes"`
	Seconds    float64       `json:"seconds"` // at the rate
}

// PreviewCode is the letters of one code.
type PreviewCode struct {
	Code    view.Code         `json:"code"`
	Letters int               `json:"letters"`
	Applies int               `json:"applies"`
	Fails   map[view.Code]int `json:"fails,omitempty"` // by the code they would fail with now
}

// PreviewRedrive projects the letters that a redrive would take, and writes nothing.
func PreviewRedrive(ctx context.Context, c RedriveConfig) (Preview, error) {
	if len(c.Filter.States) == 0 {
		c.Filter.States = OpenStates
	}
	if c.Readers == 0 {
		c.Readers = DefaultReaders
	}
	p := Preview{Codes: []PreviewCode{}}
	for f, err := range Walk(ctx, c.Box, c.Filter, Whole, c.Readers) {
		if err != nil {
			return p, fmt.Errorf("read letters: %w", err)
		}
		i := slices.IndexFunc(p.Codes, func(of PreviewCode) bool { return of.Code == f.Code })
		if i < 0 {
			i = len(p.Codes)
			p.Codes = append(p.Codes, PreviewCode{Code: f.Code, Fails: map[view.Code]int{}})
		}
		of := &p.Codes[i]
		p.Selected++
		of.Letters++
		if f.Unreadable != nil {
			p.Unreadable++
			continue
		}
		_, failure, err := Try(c.View, f.Letter)
		if err != nil {
			return p, err
		}
		if failure != nil {
			p.Fails++
			of.Fails[failure.Code]++
			continue
		}
		p.Applies++
		of.Applies++
	}
	p.Seconds = float64(p.Selected) / c.Rate
	return p, nil
}
