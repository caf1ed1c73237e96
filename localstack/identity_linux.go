package localstack

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"strings"
	"syscall"
)

// startTime reads when a process started, in clock ticks since boot, with the boot's own id before it: a folder for temporary files may
// outlive the boot.
func startTime(pid int) (string, error) {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if errors.Is(err, os.ErrNotExist) || errors.Is(err, syscall.ESRCH) {
		return "", ErrNoProcess
	}
	if err != nil {
		return "", err
	}
	state, ticks, err := parseStat(stat)
	if err != nil {
		return "", err
	}
	// A zombie or dead: nothing of it runs, whether or not its parent has waited for it.
	if state == "Z" || state == "X" {
		return "", ErrNoProcess
	}
	boot, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return "", err
	}
	return strings.TrimSpace(string(boot)) + "/" + ticks, nil
}

// parseStat reads the state and the start time of /proc/PID/stat: see proc_pid_stat(5), fields 3 and 22. The second field is the command's name
// in parentheses and may itself hold spaces and parentheses.
func parseStat(stat []byte) (state, ticks string, err error) {
	const stateField, startField = 0, 19 // counted from field 3
	name := bytes.LastIndexByte(stat, ')')
	if name < 0 {
		return "", "", fmt.Errorf("malformed process status %q", stat)
	}
	fields := strings.Fields(string(stat[name+1:]))
	if len(fields) <= startField {
		return "", "", fmt.Errorf("malformed process status %q", stat)
	}
	return fields[stateField], fields[startField], nil
}
