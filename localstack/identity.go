package localstack

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
)

// Names below the stack's folder.
const (
	supervisorFile = "supervisor.json"
	logsDir        = "logs"
)

// ErrNoProcess means that a process has ended, or that its id now belongs to another.
var ErrNoProcess = errors.New("no such process")

// Identity names one process for good: ids are used again, an id with its start time is not.
type Identity struct {
	PID int `json:"pid"`
	// Started is when the process started, in the system's own words; only equality means something.
	Started string `json:"started"`
}

// Identify returns the identity of a running process. One that has ended and is not yet waited for does not run: it is ErrNoProcess.
func Identify(pid int) (Identity, error) {
	started, err := startTime(pid)
	if err != nil {
		return Identity{}, fmt.Errorf("identify process %d: %w", pid, err)
	}
	return Identity{PID: pid, Started: started}, nil
}

// Running says whether this very process still runs.
func (id Identity) Running() bool {
	now, err := Identify(id.PID)
	return err == nil && now == id
}

// Signal sends sig to this very process and never to another that has got its id; it returns ErrNoProcess when it has ended.
func (id Identity) Signal(sig syscall.Signal) error {
	// On Linux the handle is taken first (a pidfd), so the process that is checked is the one that is signalled.
	process, err := os.FindProcess(id.PID)
	if err != nil {
		return fmt.Errorf("signal process %d: %w", id.PID, err)
	}
	defer process.Release()
	if !id.Running() {
		return fmt.Errorf("signal process %d: %w", id.PID, ErrNoProcess)
	}
	if err := process.Signal(sig); err != nil {
		if errors.Is(err, os.ErrProcessDone) {
			err = ErrNoProcess
		}
		return fmt.Errorf("signal process %d: %w", id.PID, err)
	}
	return nil
}

// claimDir writes into dir whose it is.
func claimDir(dir string) error {
	id, err := Identify(os.Getpid())
	if err != nil {
		return fmt.Errorf("claim %s: %w", dir, err)
	}
	content, err := json.Marshal(id)
	if err != nil {
		return fmt.Errorf("claim %s: %w", dir, err)
	}
	if err := os.WriteFile(filepath.Join(dir, supervisorFile), append(content, '\n'), 0o644); err != nil {
		return fmt.Errorf("claim %s: %w", dir, err)
	}
	return nil
}

// Supervisor returns the process that runs, or ran, the stack in dir. A folder that is no stack's, or none at all, is os.ErrNotExist.
func Supervisor(dir string) (Identity, error) {
	content, err := os.ReadFile(filepath.Join(dir, supervisorFile))
	if err != nil {
		return Identity{}, fmt.Errorf("find the supervisor of %s: %w", dir, err)
	}
	var id Identity
	if err := json.Unmarshal(content, &id); err != nil {
		return Identity{}, fmt.Errorf("find the supervisor of %s: %w", dir, err)
	}
	if id.PID <= 0 || id.Started == "" {
		return Identity{}, fmt.Errorf("find the supervisor of %s: %s names no process", dir, supervisorFile)
	}
	return id, nil
}

// RemoveRemains removes the folder of a stack whose supervisor was killed. It refuses a folder that is no stack's and one whose supervisor
// still runs.
func RemoveRemains(dir string) error {
	id, err := Supervisor(dir)
	if err != nil {
		return err
	}
	if id.Running() {
		return fmt.Errorf("remove %s: its supervisor, process %d, still runs", dir, id.PID)
	}
	return os.RemoveAll(dir)
}

// emptyDir removes all that is in dir but the entry keep.
func emptyDir(dir, keep string) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	var failed []error
	for _, entry := range entries {
		if entry.Name() != keep {
			failed = append(failed, os.RemoveAll(filepath.Join(dir, entry.Name())))
		}
	}
	return errors.Join(failed...)
}
