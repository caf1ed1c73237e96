package cassandra

import (
	"context"
	"fmt"
	"slices"
	"strings"
)

// A host knows its own datacenter from system.local and the others' from system.peers.
const (
	ownDatacenterCQL   = `SELECT data_center, release_version FROM system.local`
	peerDatacentersCQL = `SELECT data_center FROM system.peers`
)

// DatacenterError says that a cluster has no datacenter of the configured name.
type DatacenterError struct {
	Named string
	There []string // sorted
}

func (e *DatacenterError) Error() string {
	return fmt.Sprintf("datacenter %q does not exist; there are: %s: set cassandra.datacenter to one of them", e.Named, strings.Join(e.There, ", "))
}

// absentDatacenter tells a datacenter that does not exist from a cluster that does not answer, by connecting to
// whatever hosts there are. Nil: it exists, or nobody can say.
func absentDatacenter(c Config) *DatacenterError {
	named := c.Datacenter
	if named == "" {
		return nil
	}
	c.Datacenter = ""
	s, err := Connect(c)
	if err != nil {
		return nil
	}
	defer s.Close()
	var there []string
	for _, h := range s.driver.GetHosts() {
		there = append(there, h.DataCenter())
	}
	slices.Sort(there)
	there = slices.Compact(there)
	if slices.Contains(there, named) {
		return nil
	}
	return &DatacenterError{Named: named, There: there}
}

// datacenters returns the names of all datacenters, sorted, and the release of the host that was asked.
func (s *Session) datacenters(ctx context.Context) (names []string, release string, err error) {
	var own string
	if err := s.driver.Query(ownDatacenterCQL).ScanContext(ctx, &own, &release); err != nil {
		return nil, "", wrap("ask for the datacenter", err)
	}
	names = append(names, own)
	var name string
	iter := s.driver.Query(peerDatacentersCQL).IterContext(ctx)
	for iter.Scan(&name) {
		names = append(names, name)
	}
	slices.Sort(names)
	return slices.Compact(names), release, wrap("ask for the other datacenters", iter.Close())
}
