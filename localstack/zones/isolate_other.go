//go:build !linux

package zones

import (
	"errors"
	"os/exec"
)

// Isolate does nothing: there are no namespaces, as [Check] says.
func Isolate(*exec.Cmd) {}

func isolated() error { return errors.ErrUnsupported }
