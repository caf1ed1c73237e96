//go:build unix && !linux

package localstack

import "syscall"

// childAttributes has no counterpart to Linux's parent-death signal: here children outlive a supervisor that is itself killed by
// SIGKILL, and `devstack down` cannot find them.
func childAttributes() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true}
}
