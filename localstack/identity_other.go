//go:build unix && !linux

package localstack

import (
	"os/exec"
	"strconv"
	"strings"
)

// startTime asks ps, which every Unix has, and which knows the time by the second.
func startTime(pid int) (string, error) {
	output, err := exec.Command("ps", "-o", "stat=,lstart=", "-p", strconv.Itoa(pid)).Output()
	state, started, _ := strings.Cut(strings.TrimSpace(string(output)), " ")
	if err != nil || state == "" || strings.HasPrefix(state, "Z") {
		return "", ErrNoProcess
	}
	return strings.TrimSpace(started), nil
}
