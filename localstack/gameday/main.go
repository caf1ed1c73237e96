// Gameday breaks real servers while the real daemon writes to them, and reports what became of it: `make prove P=gameday`.
//
// Three Cassandra nodes run in availability zones of their own (package zones). The daemon drains a backlog and follows a live stream of
// generated orders; ten to twenty seconds later a fault begins, and ends half a minute after that. The daemon is watched as its operators
// would, by its metrics, and every row is held against the generator's oracle when all is applied. Two writers that are not Penstock go
// through some of the same faults as a contrast.
//
// Each run appends a line to docs/gameday/results.jsonl, and the report beside it is made anew from all lines.
package main

import (
	"context"
	"debug/buildinfo"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"penstock/localstack"
	"penstock/localstack/e2e"
	"penstock/localstack/gameday/report"
	"penstock/localstack/zones"
)

type options struct {
	scenarios string
	runs      int
	report    string // folder
	render    bool
	orders    int

	// Of the process in the zones' network, which gameday starts itself.
	inside   string // folder of its own; empty in the first process
	revision string
}

func main() {
	var o options
	flag.StringVar(&o.scenarios, "scenarios", "", "numbers of the scenarios, separated by commas; all if there are none")
	flag.IntVar(&o.runs, "runs", 1, "runs of each scenario")
	flag.StringVar(&o.report, "report", "docs/gameday", "folder of results and report")
	flag.BoolVar(&o.render, "render", false, "only make the report anew from the results that are there")
	flag.IntVar(&o.orders, "orders", 12_000, "orders that the cluster is warmed up with; backlogs are sized by how fast that was")
	flag.StringVar(&o.inside, "inside", "", "used by gameday itself: run here, in the zones' network")
	flag.StringVar(&o.revision, "revision", "", "used by gameday itself: what the projector was built from")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	var err error
	switch {
	case o.render:
		err = report.Render(o.report)
	case o.inside != "":
		err = play(ctx, o)
	default:
		err = start(ctx, o)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "gameday:", err)
		os.Exit(1)
	}
}

// start does what needs the machine's own network, and starts this program again in a network of its own.
func start(ctx context.Context, o options) (err error) {
	if err := zones.Check(); err != nil {
		return err
	}
	if _, err := chosen(o.scenarios); err != nil {
		return err
	}
	if o.report, err = filepath.Abs(o.report); err != nil {
		return err
	}
	if err := sweep(os.TempDir()); err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", folderPrefix)
	if err != nil {
		return fmt.Errorf("make a folder: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	say("building the projector")
	binary, err := e2e.Build(ctx, dir, "-pgo=auto") // as it ships
	if err != nil {
		return err
	}
	commit, err := revision(binary)
	if err != nil {
		return err
	}
	if err := localstack.Fetch(ctx, stackConfig(nil, dir)); err != nil {
		return err
	}
	self, err := os.Executable()
	if err != nil {
		return err
	}
	children := localstack.NewChildren()
	defer children.Close()
	cmd := exec.Command(self, "-inside", dir, "-revision", commit, "-scenarios", o.scenarios, "-runs", strconv.Itoa(o.runs),
		"-report", o.report, "-orders", strconv.Itoa(o.orders))
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	zones.Isolate(cmd)
	if err := children.Start(cmd); err != nil {
		return fmt.Errorf("start in a network of its own: %w", err)
	}
	defer context.AfterFunc(ctx, func() { _ = cmd.Process.Signal(syscall.SIGTERM) })()
	if err := cmd.Wait(); err != nil {
		if exit, ok := errors.AsType[*exec.ExitError](err); ok && exit.Exited() {
			return errors.New("not everything went as it should: see above")
		}
		return err
	}
	return nil
}

// What the folder of a run is called, with a number behind it.
const folderPrefix = "penstock-gameday-"

// sweep removes the folders of runs that were killed. Nothing else is left of them.
func sweep(temporary string) error {
	folders, err := filepath.Glob(filepath.Join(temporary, folderPrefix+"*"))
	if err != nil {
		return err
	}
	for _, folder := range folders {
		supervisor, err := localstack.Supervisor(filepath.Join(folder, stackFolder))
		if err != nil || supervisor.Running() {
			continue // it has no servers yet, or they run
		}
		if err := os.RemoveAll(folder); err != nil {
			return fmt.Errorf("remove what a killed run has left: %w", err)
		}
	}
	return nil
}

// revision is the commit that a binary was built from, with a plus for changes that were not committed.
func revision(binary string) (string, error) {
	info, err := buildinfo.ReadFile(binary)
	if err != nil {
		return "", err
	}
	commit, changed := "", ""
	for _, s := range info.Settings {
		switch {
		case s.Key == "vcs.revision":
			commit = s.Value[:min(len(s.Value), 12)]
		case s.Key == "vcs.modified" && s.Value == "true":
			changed = "+"
		}
	}
	return commit + changed, nil
}

// play runs the chosen scenarios. What one of them finds does not stop the others.
func play(ctx context.Context, o options) (err error) {
	scenarios, err := chosen(o.scenarios)
	if err != nil {
		return err
	}
	r, err := newRig(ctx, o)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, r.close()) }()
	ctx, callOff := context.WithCancelCause(ctx)
	defer callOff(nil)
	go func() { // ends with ctx
		if err := r.stack.Wait(ctx); err != nil {
			callOff(err) // a node that nobody killed is gone, and all that follows would be about that
		}
	}()
	var wrong []error
	for range o.runs {
		for _, s := range scenarios {
			if err := r.stage(ctx, s); err != nil {
				say("scenario %d: %v", s.number, err)
				wrong = append(wrong, fmt.Errorf("scenario %d, %s: %w", s.number, report.Title(s.number), err))
			}
			if ctx.Err() != nil {
				return errors.Join(append(wrong, context.Cause(ctx))...)
			}
			if err := report.Render(o.report); err != nil {
				return err
			}
		}
	}
	return errors.Join(wrong...)
}

// chosen returns the scenarios of a list of numbers, all of them if it is empty.
func chosen(list string) ([]scenario, error) {
	if list == "" {
		return scenarios, nil
	}
	var out []scenario
	for text := range strings.SplitSeq(list, ",") {
		i := slices.IndexFunc(scenarios, func(s scenario) bool { return strconv.Itoa(s.number) == strings.TrimSpace(text) })
		if i < 0 {
			return nil, fmt.Errorf("there is no scenario %q; there are 1 to %d", text, len(scenarios))
		}
		out = append(out, scenarios[i])
	}
	return out, nil
}

func say(format string, args ...any) {
	fmt.Fprintf(os.Stderr, time.Now().Format(time.TimeOnly)+" "+format+"\n", args...)
}
