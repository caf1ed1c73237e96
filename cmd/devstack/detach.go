package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"syscall"
)

// ready is the line that says that everything answers.
const ready = "ready"

// The descriptor on which a process finds the first of exec.Cmd's ExtraFiles.
const firstExtraFD = 3

// startDetached runs this program again in a session of its own, passes its progress on, and returns once it is ready or has ended.
func (u *upFlags) startDetached(ctx context.Context, stdout, stderr io.Writer) error {
	self, err := os.Executable()
	if err != nil {
		return fmt.Errorf("start in the background: %w", err)
	}
	read, write, err := os.Pipe()
	if err != nil {
		return fmt.Errorf("start in the background: %w", err)
	}
	defer read.Close()
	args := append(slices.DeleteFunc(slices.Clone(os.Args[1:]), isDetachFlag), "--status-fd="+strconv.Itoa(firstExtraFD))
	// Not CommandContext: on a signal the supervisor is asked to end, and ends its children.
	cmd := exec.Command(self, args...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	cmd.ExtraFiles = []*os.File{write}
	err = cmd.Start()
	write.Close()
	if err != nil {
		return fmt.Errorf("start in the background: %w", err)
	}
	interrupted := context.AfterFunc(ctx, func() { _ = cmd.Process.Signal(syscall.SIGTERM) })

	isReady := false
	progress := bufio.NewScanner(read)
	progress.Buffer(nil, 1<<20)
	for progress.Scan() {
		if progress.Text() == ready {
			isReady = true
			continue
		}
		fmt.Fprintln(stderr, progress.Text())
	}
	if isReady && interrupted() {
		fmt.Fprintln(stdout, ready)
		return cmd.Process.Release()
	}
	// It has ended or is ending: it closes the pipe only when it is ready or done.
	err = cmd.Wait()
	if exited, ok := errors.AsType[*exec.ExitError](err); ok && exited.Exited() {
		return exitError{exited.ExitCode()}
	}
	if err == nil {
		err = context.Cause(ctx)
	}
	return fmt.Errorf("the supervisor ended before it was ready: %w", err)
}

func isDetachFlag(arg string) bool {
	return arg == "--detach" || strings.HasPrefix(arg, "--detach=")
}

// openStatus returns the pipe to the command that started this supervisor in the background, or in the foreground a writer to nowhere.
func (u *upFlags) openStatus() (io.WriteCloser, error) {
	if u.statusFD == 0 {
		return nowhere{}, nil
	}
	// Inherited by the children it would stay open until their end.
	syscall.CloseOnExec(u.statusFD)
	pipe := os.NewFile(uintptr(u.statusFD), "status")
	if _, err := pipe.Stat(); err != nil {
		return nil, usageError{fmt.Errorf("--status-fd: %w", err)}
	}
	return pipe, nil
}

type nowhere struct{}

func (nowhere) Write(p []byte) (int, error) { return len(p), nil }
func (nowhere) Close() error                { return nil }
