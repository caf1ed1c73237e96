package zones

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"syscall"
)

// Where ip keeps the names of network namespaces, and programs of old look for them.
const namesDir = "/run/netns"

// Isolate has cmd start in a network namespace and a mount namespace of its own.
func Isolate(cmd *exec.Cmd) {
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = new(syscall.SysProcAttr)
	}
	cmd.SysProcAttr.Cloneflags |= syscall.CLONE_NEWNET | syscall.CLONE_NEWNS
}

// isolated makes sure that links and names made from now on are in namespaces that the parent process does not share.
func isolated() error {
	for _, kind := range []string{"net", "mnt"} {
		mine, err := os.Readlink("/proc/self/ns/" + kind)
		if err != nil {
			return err
		}
		parents, err := os.Readlink(fmt.Sprintf("/proc/%d/ns/%s", os.Getppid(), kind))
		if err != nil {
			return err
		}
		if mine == parents {
			return fmt.Errorf("this process shares its namespace %s with the one that started it", mine)
		}
	}
	if err := os.MkdirAll(namesDir, 0o755); err != nil {
		return err
	}
	// Names are mounts. None of them is to reach the machine's own tree, whatever that shares.
	return errors.Join(
		mount("", "/", "", syscall.MS_REC|syscall.MS_PRIVATE),
		mount("tmpfs", namesDir, "tmpfs", 0),
		// Answers of a node to what came to it by another way are welcome, and a new namespace may forbid them.
		os.WriteFile("/proc/sys/net/ipv4/conf/all/rp_filter", []byte("0"), 0),
		os.WriteFile("/proc/sys/net/ipv4/conf/default/rp_filter", []byte("0"), 0),
	)
}

func mount(source, target, kind string, flags uintptr) error {
	if err := syscall.Mount(source, target, kind, flags, ""); err != nil {
		return fmt.Errorf("mount %s: %w", target, err)
	}
	return nil
}
