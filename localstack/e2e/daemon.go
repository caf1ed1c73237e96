package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
)

// Daemon is a running `projector run`.
type Daemon struct {
	Name    string
	LogFile string

	cmd  *exec.Cmd
	log  *logWriter
	done chan struct{} // closed when the process has ended
	err  error         // of its end; read after done

	mu   sync.Mutex
	last Scrape // the newest that could be had
}

// Start starts a daemon, with further arguments if any, and returns once it listens.
func (s *Site) Start(ctx context.Context, name string, args ...string) (*Daemon, error) {
	d := &Daemon{Name: name, LogFile: filepath.Join(s.logs, s.Name+"-"+name+".log"), done: make(chan struct{})}
	file, err := os.OpenFile(d.LogFile, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o644)
	if err != nil {
		return nil, fmt.Errorf("start daemon %s: %w", name, err)
	}
	d.log = &logWriter{file: file, grown: make(chan struct{})}
	d.cmd = exec.Command(s.binary, append([]string{"run"}, args...)...)
	d.cmd.Env = append(s.environ(), "PENSTOCK_LEASES_WORKER="+name)
	d.cmd.Stderr = d.log
	if err := s.children.Start(d.cmd); err != nil {
		return nil, errors.Join(fmt.Errorf("start daemon %s: %w", name, err), file.Close())
	}
	go func() {
		d.err = d.cmd.Wait()
		file.Close()
		close(d.done)
	}()
	if _, err := d.Await(ctx, func(e Entry) bool { return e.Message == "listening" && e.For == "telemetry.admin" }); err != nil {
		return nil, errors.Join(err, d.Kill())
	}
	return d, nil
}

// PID returns the process id.
func (d *Daemon) PID() int { return d.cmd.Process.Pid }

// Done is closed when the process has ended.
func (d *Daemon) Done() <-chan struct{} { return d.done }

// Kill ends the process with SIGKILL and waits for that. A process that has ended already is no error.
func (d *Daemon) Kill() error {
	if err := d.cmd.Process.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("kill daemon %s: %w", d.Name, err)
	}
	<-d.done
	return nil
}

// Signal sends a signal.
func (d *Daemon) Signal(s syscall.Signal) error { return d.cmd.Process.Signal(s) }

// Exit waits until the process has ended and returns its exit code.
func (d *Daemon) Exit(ctx context.Context) (int, error) {
	select {
	case <-d.done:
		return d.cmd.ProcessState.ExitCode(), nil
	case <-ctx.Done():
		return 0, fmt.Errorf("daemon %s has not ended: %w", d.Name, context.Cause(ctx))
	}
}

// Stop drains the daemon by SIGTERM, and kills it if ctx ends first.
func (d *Daemon) Stop(ctx context.Context) error {
	if err := d.Signal(syscall.SIGTERM); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("stop daemon %s: %w", d.Name, err)
	}
	if _, err := d.Exit(ctx); err != nil {
		return errors.Join(err, d.Kill())
	}
	if d.err != nil {
		return fmt.Errorf("daemon %s: %w: see %s", d.Name, d.err, d.LogFile)
	}
	return nil
}

// Entry is a line of the daemon's log, as far as anybody here wants to know it.
type Entry struct {
	Time    time.Time `json:"time"`
	Level   string    `json:"level"`
	Message string    `json:"msg"`
	Error   string    `json:"error"`
	For     string    `json:"for"`
	Address string    `json:"address"`
	Shard   string    `json:"shard"`
	Reason  string    `json:"reason"`
	Raw     string    `json:"-"`
}

// Entries returns the log so far.
func (d *Daemon) Entries() []Entry {
	d.log.mu.Lock()
	defer d.log.mu.Unlock()
	return d.log.entries[:len(d.log.entries):len(d.log.entries)]
}

// Await returns the first entry of the log, old or new, that matches.
func (d *Daemon) Await(ctx context.Context, match func(Entry) bool) (Entry, error) {
	seen := 0
	for {
		d.log.mu.Lock()
		entries, grown := d.log.entries, d.log.grown
		d.log.mu.Unlock()
		for ; seen < len(entries); seen++ {
			if match(entries[seen]) {
				return entries[seen], nil
			}
		}
		select {
		case <-grown:
		case <-d.done:
			if d.log.size() == seen {
				return Entry{}, fmt.Errorf("daemon %s ended without saying what was waited for: %v: %s", d.Name, d.err, d.tail())
			}
		case <-ctx.Done():
			return Entry{}, fmt.Errorf("daemon %s did not say what was waited for: %w: %s", d.Name, context.Cause(ctx), d.tail())
		}
	}
}

func (d *Daemon) tail() string {
	entries := d.Entries()
	var b bytes.Buffer
	for _, e := range entries[max(0, len(entries)-5):] {
		b.WriteString("\n  " + e.Raw)
	}
	return b.String()
}

// logWriter keeps a daemon's log in a file and line by line.
type logWriter struct {
	file *os.File

	mu      sync.Mutex
	partial []byte
	entries []Entry
	grown   chan struct{} // closed and replaced with every new entry
}

func (w *logWriter) size() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.entries)
}

// Write implements io.Writer.
func (w *logWriter) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.partial = append(w.partial, p...)
	for {
		line, rest, ok := bytes.Cut(w.partial, []byte("\n"))
		if !ok {
			break
		}
		e := Entry{Raw: string(line)}
		_ = json.Unmarshal(line, &e) // a line that is no entry is kept as it is
		w.entries = append(w.entries, e)
		w.partial = rest
		close(w.grown)
		w.grown = make(chan struct{})
	}
	return w.file.Write(p)
}

// Scrape is what a daemon's metrics said at one moment.
type Scrape struct {
	Read, Applied, Parked, InFlight, Abandoned int64
	Lag                                        map[string]time.Duration // by shard
	Budget                                     int64                    // bytes in use
	RSS                                        int64                    // bytes
	Mallocs                                    int64                    // objects allocated since the start
}

// Conserved tells whether every record read is accounted for.
func (s Scrape) Conserved() bool { return s.Read == s.Applied+s.Parked+s.InFlight+s.Abandoned }

// Behind returns the largest lag of the shards the daemon follows.
func (s Scrape) Behind() time.Duration {
	var most time.Duration
	for _, lag := range s.Lag {
		most = max(most, lag)
	}
	return most
}

// Scrape reads the daemon's metrics. When that fails it returns the newest that could be had before.
func (d *Daemon) Scrape(ctx context.Context) (Scrape, error) {
	s, err := d.scrape(ctx)
	d.mu.Lock()
	defer d.mu.Unlock()
	if err != nil {
		return d.last, fmt.Errorf("scrape daemon %s: %w", d.Name, err)
	}
	d.last = s
	return s, nil
}

// PublicAddress returns where the daemon serves health and metrics.
func (d *Daemon) PublicAddress(ctx context.Context) (string, error) {
	listening, err := d.Await(ctx, func(e Entry) bool { return e.Message == "listening" && e.For == "telemetry.listen" })
	return listening.Address, err
}

// AdminAddress returns where the daemon serves operators.
func (d *Daemon) AdminAddress(ctx context.Context) (string, error) {
	listening, err := d.Await(ctx, func(e Entry) bool { return e.Message == "listening" && e.For == "telemetry.admin" })
	return listening.Address, err
}

// Pressure is what the daemon says of its writer, as far as tests look at it.
type Pressure struct {
	Sentence string
	Writer   struct {
		Hosts []struct {
			State  string
			Limit  int
			Target float64 `json:"target_seconds"`
		}
	}
}

// Pressure asks the daemon what its view waits for. While there is no writer yet, it says nothing, without an error.
func (d *Daemon) Pressure(ctx context.Context) (Pressure, error) {
	var page Pressure
	address, err := d.AdminAddress(ctx)
	if err != nil {
		return page, err
	}
	status, body, err := get(ctx, "http://"+address+"/debug/pressure?format=json")
	if err != nil || status == http.StatusServiceUnavailable {
		return page, err
	}
	return page, json.Unmarshal(body, &page)
}

// Get returns the status and the body that the daemon's public listener answers with.
func (d *Daemon) Get(ctx context.Context, path string) (status int, body []byte, err error) {
	address, err := d.PublicAddress(ctx)
	if err != nil {
		return 0, nil, err
	}
	return get(ctx, "http://"+address+path)
}

func get(ctx context.Context, url string) (status int, body []byte, err error) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return 0, nil, err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return 0, nil, err
	}
	defer response.Body.Close()
	body, err = io.ReadAll(response.Body)
	return response.StatusCode, body, err
}

func (d *Daemon) scrape(ctx context.Context) (Scrape, error) {
	status, body, err := d.Get(ctx, "/metrics")
	if err != nil {
		return Scrape{}, err
	}
	if status != http.StatusOK {
		return Scrape{}, fmt.Errorf("status %d: %s", status, body)
	}
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(bytes.NewReader(body))
	if err != nil {
		return Scrape{}, err
	}
	value := func(name string) int64 {
		for _, m := range families[name].GetMetric() {
			return number(m)
		}
		return 0
	}
	s := Scrape{
		Read:      value("penstock_records_read_total"),
		Applied:   value("penstock_records_applied_total"),
		Parked:    value("penstock_records_parked_total"),
		InFlight:  value("penstock_records_in_flight"),
		Abandoned: value("penstock_records_abandoned_total"),
		Budget:    value("penstock_budget_in_use_bytes"),
		RSS:       value("process_resident_memory_bytes"),
		Mallocs:   value("go_memstats_mallocs_total"),
		Lag:       map[string]time.Duration{},
	}
	for _, m := range families["aws_kinesis_client_consumer_lag_duration_milliseconds"].GetMetric() {
		for _, label := range m.GetLabel() {
			if label.GetName() == "aws_kinesis_shard_id" {
				s.Lag[label.GetValue()] = time.Duration(number(m)) * time.Millisecond
			}
		}
	}
	return s, nil
}

func number(m *dto.Metric) int64 {
	if c := m.GetCounter(); c != nil {
		return int64(c.GetValue())
	}
	return int64(m.GetGauge().GetValue())
}
