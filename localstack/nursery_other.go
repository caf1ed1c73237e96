//go:build unix && !linux

package localstack

import "syscall"

// bindToParent has no counterpart to Linux's parent-death signal: here children outlive a supervisor that is itself killed by
// SIGKILL, and `devstack down` cannot find them.
func bindToParent(a *syscall.SysProcAttr) { a.Setpgid = true }
