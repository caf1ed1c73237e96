package cli

import (
	"os"
	"os/user"
	"strconv"
)

// UserAtHost is who asks, as far as this machine knows.
func UserAtHost() string {
	name := strconv.Itoa(os.Getuid()) // in an image without users it is all there is
	if u, err := user.Current(); err == nil && u.Username != "" {
		name = u.Username
	}
	host, err := os.Hostname()
	if err != nil {
		host = "unknown"
	}
	return name + "@" + host
}
