//go:build !linux

package zones

import (
	"errors"
	"io"
)

func openTun(string) (io.ReadCloser, error) { return nil, errors.ErrUnsupported }

func openLink(string) (io.WriteCloser, error) { return nil, errors.ErrUnsupported }
