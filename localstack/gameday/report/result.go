// Package report is what a game day comes to: its results, each a line of JSON in a file that grows over several calls, what is computed
// from them, and the page and the pictures that show them. It is pure but for the file.
package report

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"time"
)

// Writers whose results are compared.
const (
	Daemon = "daemon" // the projector itself
	Naive  = "naive"  // the driver's own routing, one fixed limit for the cluster, three retries
	Fixed  = "fixed"  // a fixed limit for each host, the best that a search found
)

// ResultsFile is the file of all results in the report's folder.
const ResultsFile = "results.jsonl"

// Result is one run of one writer through one scenario.
type Result struct {
	Scenario int       `json:"scenario"`
	Writer   string    `json:"writer"`
	At       time.Time `json:"at"`
	Revision string    `json:"revision,omitzero"` // of the projector

	// The fault, in whole seconds since the run began.
	From int `json:"from"`
	To   int `json:"to"`
	// Drained is when the backlog was read to its end, 0 if it never was: from then on the rate is that of the live stream.
	Drained int `json:"drained,omitzero"`

	// By second of the run.
	Rows  []float64 `json:"rows,omitzero"`   // acknowledged
	P99   []float64 `json:"p99_ms,omitzero"` // of the attempts that ended in it; 0 for none
	Hints []int64   `json:"hints,omitzero"`  // bytes in the hints folders of all nodes
	Debt  []float64 `json:"debt,omitzero"`   // bytes owed to replicas, as the daemon counts them

	// Over the fault and the time that belongs to it.
	Attempts  float64            `json:"attempts"`
	Successes float64            `json:"successes"`
	Errors    map[string]float64 `json:"errors,omitzero"` // attempts by class

	HintsWritten float64 `json:"hints_written"` // mutations, as the servers count them
	Lost         int     `json:"lost"`
	Mismatched   int     `json:"mismatched"`
	Parked       int     `json:"parked"`
	GivenUp      float64 `json:"given_up,omitzero"` // rows that the naive writer has dropped
	Events       int     `json:"events,omitzero"`   // held against the oracle

	// Limits is what each fixed limit that was tried came to.
	Limits map[int]Tried `json:"limits,omitzero"`
}

// Tried is what a fixed limit came to.
type Tried struct {
	Rows float64 `json:"rows"`   // acknowledged a second
	P99  float64 `json:"p99_ms"` // median by second
}

// Right tells whether every row is as it has to be and nothing was parked.
func (r Result) Right() bool { return r.Lost == 0 && r.Mismatched == 0 && r.Parked == 0 }

// AttemptsPerSuccess is 0 where nothing was attempted, and infinite where nothing succeeded.
func (r Result) AttemptsPerSuccess() float64 {
	if r.Attempts == 0 {
		return 0
	}
	return r.Attempts / r.Successes
}

// Before is the mean of rows/s in the last half of the time before the fault, when the writer is up to speed.
func (r Result) Before() float64 { return mean(window(r.Rows, r.From/2, r.From)) }

// Goodput is the mean of rows/s over the fault.
func (r Result) Goodput() float64 { return mean(window(r.Rows, r.From, r.To)) }

// MostP99 is what the daemon keeps the 99th percentile under, by default, in milliseconds. A fixed limit that does not is no choice.
const MostP99 = 100.0

// Best is the fixed limit with the most goodput of those that keep p99 under [MostP99]; 0 if none does.
func (r Result) Best() (limit int, goodput float64) {
	return r.best(func(t Tried) bool { return t.P99 <= MostP99 })
}

// Fastest is the one with the most goodput, whatever its p99.
func (r Result) Fastest() (limit int, goodput float64) {
	return r.best(func(Tried) bool { return true })
}

func (r Result) best(allowed func(Tried) bool) (limit int, goodput float64) {
	for l, t := range r.Limits {
		if allowed(t) && (t.Rows > goodput || t.Rows == goodput && l < limit) {
			limit, goodput = l, t.Rows
		}
	}
	return limit, goodput
}

// FaultP99 is the median by second over the fault, in milliseconds.
func (r Result) FaultP99() float64 { return Median(window(r.P99, r.From, r.To)) }

// PeakDebt is the most the daemon counted as owed; it is not there for a daemon that does not count.
func (r Result) PeakDebt() (float64, bool) {
	if len(r.Debt) == 0 {
		return 0, false
	}
	most := 0.0
	for _, d := range r.Debt {
		most = max(most, d)
	}
	return most, true
}

// HintBytes is by how much the hints folders grew at most.
func (r Result) HintBytes() int64 {
	var most int64
	for _, h := range r.Hints {
		most = max(most, h-r.Hints[0])
	}
	return most
}

// SteadyInFault is how many seconds after the fault's beginning the rate was steady.
func (r Result) SteadyInFault() (int, bool) { return Steady(window(r.Rows, r.From, r.To)) }

// SteadyAfter is the same after the fault's end, as long as there is a backlog.
func (r Result) SteadyAfter() (int, bool) {
	end := len(r.Rows)
	if r.Drained > 0 {
		end = min(end, r.Drained)
	}
	return Steady(window(r.Rows, r.To, end))
}

// Append adds a result to the file of all results.
func Append(name string, r Result) error {
	line, err := json.Marshal(r.rounded())
	if err != nil {
		return fmt.Errorf("append result: %w", err)
	}
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		return fmt.Errorf("append result: %w", err)
	}
	file, err := os.OpenFile(name, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o644)
	if err != nil {
		return fmt.Errorf("append result: %w", err)
	}
	_, err = file.Write(append(line, '\n'))
	return errors.Join(err, file.Close())
}

// rounded leaves what a figure by second is good for, so that the file stays small.
func (r Result) rounded() Result {
	for _, series := range []*[]float64{&r.Rows, &r.P99, &r.Debt} {
		var out []float64
		for _, v := range *series {
			out = append(out, math.Round(v*10)/10)
		}
		*series = out
	}
	limits := map[int]Tried{}
	for l, t := range r.Limits {
		limits[l] = Tried{math.Round(t.Rows), math.Round(t.P99)}
	}
	r.Limits = limits
	return r
}

// Read returns all results of a file, none if there is no file.
func Read(name string) ([]Result, error) {
	content, err := os.ReadFile(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read results: %w", err)
	}
	var out []Result
	lines := bufio.NewScanner(bytes.NewReader(content))
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var r Result
		if err := json.Unmarshal(lines.Bytes(), &r); err != nil {
			return nil, fmt.Errorf("read results: line %d of %s: %w", len(out)+1, name, err)
		}
		out = append(out, r)
	}
	return out, lines.Err()
}

// String says in a line what the run came to.
func (r Result) String() string {
	if r.Writer == Fixed {
		limit, goodput := r.Best()
		fastest, most := r.Fastest()
		return fmt.Sprintf("the best fixed limit is %d a host, with %.0f rows/s; whatever its p99, %d with %.0f", limit, goodput, fastest, most)
	}
	text := fmt.Sprintf("%s: %.0f rows/s in the fault, %.0f before; %.3f attempts a success; errors %v; hints %.0f in %.1f MiB",
		r.Writer, r.Goodput(), r.Before(), r.AttemptsPerSuccess(), r.Errors, r.HintsWritten, float64(r.HintBytes())/(1<<20))
	if r.Writer == Naive {
		return fmt.Sprintf("%s; %.0f rows given up", text, r.GivenUp)
	}
	return fmt.Sprintf("%s; of %d events %d lost, %d parked; %d rows mismatched", text, r.Events, r.Lost, r.Parked, r.Mismatched)
}
