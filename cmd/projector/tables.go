package main

import (
	"strconv"

	"penstock/checkpoint/leasetable"
	"penstock/config"
)

// tables returns the lease table of the generation and the state table of the application.
func tables(client *leasetable.Client, c *config.Config) (*leasetable.Table, *leasetable.State) {
	return client.Leases(leaseTable(c.Application, c.View.Generation)), client.State(c.Application + "-state")
}

// leaseTable returns the name of a generation's lease table.
func leaseTable(application string, generation int) string {
	if generation == 1 {
		return application
	}
	return application + "-g" + strconv.Itoa(generation)
}
