package localstack

import "os/exec"

// Children starts processes that end with this one: on Linux the kernel kills them even when this process is itself
// killed. Ending them in order, and waiting for them, is the caller's.
type Children struct{ nursery *nursery }

// NewChildren returns a starter of processes. It must be closed.
func NewChildren() *Children { return &Children{newNursery()} }

// Start starts cmd in a process group of its own, so that Ctrl-C on a terminal does not reach it.
func (c *Children) Start(cmd *exec.Cmd) error { return c.nursery.start(cmd) }

// Close must be called once, when all children have been waited for.
func (c *Children) Close() { c.nursery.close() }
