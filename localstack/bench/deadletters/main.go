// Deadletters measures what dead letters cost once there are many of them: how long `replay dlq list` takes over them and
// in how much memory, and how many letters a second `replay dlq redrive` applies.
//
// Letters are put into the bucket of a local stack as a daemon would have parked them, with the payloads of generated
// orders. The commands are the real binaries, one process each; memory is the most that the process ever had, as the
// kernel counts it.
//
// It prints one line "bench: NAME VALUE UNIT" a figure.
package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"golang.org/x/sync/errgroup"

	"penstock/localstack"
	"penstock/localstack/e2e"
	"penstock/localstack/shop"
	"penstock/objects"
	"penstock/order"
	"penstock/sink/deadletter"
	"penstock/view"
)

type options struct {
	letters int
	redrive int
	warmUp  int
}

func main() {
	var o options
	flag.IntVar(&o.letters, "letters", 100_000, "letters that list looks through")
	flag.IntVar(&o.redrive, "redrive", 60_000, "of these, how many are redriven")
	flag.IntVar(&o.warmUp, "warmup", 10_000, "further ones that are redriven before, while Cassandra's compiler is at work")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, o); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, o options) (err error) {
	if o.redrive < 1 || o.warmUp < 1 || o.redrive+o.warmUp > o.letters {
		return fmt.Errorf("-redrive %d and -warmup %d: must be 1 or more, and together at most -letters %d", o.redrive, o.warmUp, o.letters)
	}
	dir, err := os.MkdirTemp("", "penstock-bench-")
	if err != nil {
		return fmt.Errorf("make a folder: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	children := localstack.NewChildren()
	defer children.Close()
	say("building")
	binary, err := e2e.Build(ctx, dir, "-pgo=off") // replay has no profile of its own
	if err != nil {
		return err
	}
	config := localstack.Everything()
	config.Dir = filepath.Join(dir, "stack")
	config.Stream = ""
	config.HeapMiB = 2048
	config.Load = true
	stack, err := localstack.Start(ctx, config)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, stack.Stop()) }()
	site := e2e.NewSite(stack.Env(), binary, dir, "bench", children)
	if err := site.CreateStream(ctx, 1); err != nil {
		return err
	}
	if _, err := site.Projector(ctx, "setup"); err != nil {
		return err
	}
	b := &bench{site: site, replay: filepath.Join(dir, "replay")}
	say("parking %d letters", o.letters)
	if err := b.park(ctx, o); err != nil {
		return err
	}
	if err := b.list(ctx, o); err != nil {
		return err
	}
	return b.redrive(ctx, o)
}

type bench struct {
	site   *e2e.Site
	replay string // binary
}

// The codes that letters are parked for: those to redrive, those to redrive before, and the others.
const (
	gone = view.CodeUnexplained
	warm = view.CodePanic
	kept = view.CodeUnknownType
)

// park puts letters with sound payloads, whose cause is gone.
func (b *bench) park(ctx context.Context, o options) error {
	generator, err := shop.New(shop.Config{Seed: 1, Orders: o.letters, Now: time.Now(), MeanGap: 1000})
	if err != nil {
		return err
	}
	store, err := objects.New(aws.Config{Region: b.site.Setting("AWS_REGION"), BaseEndpoint: aws.String(b.site.Setting("AWS_ENDPOINT_URL_S3")),
		Credentials: credentials.NewStaticCredentialsProvider(b.site.Setting("AWS_ACCESS_KEY_ID"), b.site.Setting("AWS_SECRET_ACCESS_KEY"), "")},
		objects.Config{Bucket: localstack.DefaultBucket, Prefix: b.site.Name})
	if err != nil {
		return err
	}
	parker := deadletter.New(deadletter.Config{}, store)
	putting, ctx := errgroup.WithContext(ctx)
	putting.SetLimit(32)
	now, n := time.Now(), 0
	for e := range generator.Events() {
		if n++; n > o.letters || ctx.Err() != nil {
			break
		}
		code := kept
		switch {
		case n <= o.warmUp:
			code = warm
		case n <= o.warmUp+o.redrive:
			code = gone
		}
		l := deadletter.Letter{
			Target:   deadletter.Target{View: order.View{}.Name(), Revision: order.View{}.Revision(), Generation: 1},
			Source:   deadletter.Source{Stream: b.site.Name, Epoch: "1763700000", Shard: "shardId-000000000000", Sequence: strconv.Itoa(n), Arrival: now, PartitionKey: e.OrderID},
			Event:    deadletter.Event{ID: e.ID, Type: e.Type, Entity: e.OrderID, EntityVersion: e.Version},
			Failure:  deadletter.NewFailure(&view.Poison{Stage: view.StageDecode, Code: code, Err: errors.New("/type: an older release did not know it")}),
			Context:  deadletter.Context{Version: "bench"},
			ParkedAt: now, Payload: e.Payload,
		}
		putting.Go(func() error { return parker.Park(ctx, l) })
	}
	return putting.Wait()
}

// list measures the default list, which reads every letter.
func (b *bench) list(ctx context.Context, o options) error {
	for name, args := range map[string][]string{
		"list":         {"dlq", "list", "-o", "json"},
		"list_by_code": {"dlq", "list", "-o", "json", "--by", "code"},
	} {
		began := time.Now()
		out, peak, err := b.command(ctx, args...)
		if err != nil {
			return err
		}
		var report struct{ Count int }
		if err := json.Unmarshal(out, &report); err != nil || report.Count != o.letters {
			return fmt.Errorf("list counts %d letters, want %d: %w", report.Count, o.letters, err)
		}
		fmt.Printf("bench: %s_seconds %.1f s\n", name, time.Since(began).Seconds())
		fmt.Printf("bench: %s_peak_memory %.0f MiB\n", name, float64(peak)/(1<<20))
	}
	return nil
}

func (b *bench) redrive(ctx context.Context, o options) error {
	redrive := func(code view.Code) ([]byte, int64, error) {
		return b.command(ctx, "dlq", "redrive", "--since", "24h", "--code", string(code), "--rate", "100000", "--run", "-o", "json")
	}
	if _, _, err := redrive(warm); err != nil {
		return err
	}
	out, peak, err := redrive(gone)
	if err != nil {
		return err
	}
	var report struct {
		Redriven int
		Rate     float64 `json:"letters_per_second"`
	}
	if err := json.Unmarshal(out, &report); err != nil || report.Redriven != o.redrive {
		return fmt.Errorf("%d letters were redriven, want %d: %w", report.Redriven, o.redrive, err)
	}
	fmt.Printf("bench: redrive %.0f letters/s\n", report.Rate)
	fmt.Printf("bench: redrive_peak_memory %.0f MiB\n", float64(peak)/(1<<20))
	return nil
}

// command runs replay and returns what it printed and the most memory it had, in bytes. The kernel's account of a child
// that has ended will not do: it begins with the memory of the process that started it, which holds all letters.
func (b *bench) command(ctx context.Context, args ...string) (out []byte, peak int64, err error) {
	cmd := exec.CommandContext(ctx, b.replay, args...)
	cmd.Env = b.site.Environ()
	cmd.Stderr = os.Stderr
	var text bytes.Buffer
	cmd.Stdout = &text
	if err := cmd.Start(); err != nil {
		return nil, 0, fmt.Errorf("replay %v: %w", args, err)
	}
	ended := make(chan struct{})
	var watching sync.WaitGroup
	watching.Go(func() {
		for {
			if high := highWater(cmd.Process.Pid); high > 0 {
				peak = high
			}
			select {
			case <-time.After(20 * time.Millisecond):
			case <-ended:
				return
			}
		}
	})
	err = cmd.Wait()
	close(ended)
	watching.Wait()
	if err != nil {
		return nil, 0, fmt.Errorf("replay %v: %w", args, err)
	}
	return text.Bytes(), peak, nil
}

// highWater returns the most memory that a process has had since its program began, in bytes; 0 if it has ended.
func highWater(pid int) int64 {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(status)) {
		if value, ok := strings.CutPrefix(line, "VmHWM:"); ok {
			kib, err := strconv.ParseInt(strings.TrimSuffix(strings.TrimSpace(value), " kB"), 10, 64)
			if err != nil {
				return 0
			}
			return kib << 10
		}
	}
	return 0
}

func say(format string, args ...any) { fmt.Fprintf(os.Stderr, "— "+format+"\n", args...) }
