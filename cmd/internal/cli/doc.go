// Package cli is what the commands share: flags, exit codes, the configuration and the view it names, and how it reaches
// AWS and Cassandra.
package cli
