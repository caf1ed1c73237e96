package cassandra

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/apache/cassandra-gocql-driver/v2"

	"penstock/diagnosis"
)

const replicationCQL = `SELECT replication FROM system_schema.keyspaces WHERE keyspace_name = ?`

const runSetup = "run projector setup"

// inspectKeyspace looks at the keyspace and how it is replicated. Without a keyspace it says that everything in it is
// missing and returns false.
func (i *inspection) inspectKeyspace(ctx context.Context, hosts, datacenters int) bool {
	var replication map[string]string
	err := i.driver.Query(replicationCQL, i.keyspace).ScanContext(ctx, &replication)
	if errors.Is(err, gocql.ErrNotFound) {
		i.found("keyspace", i.keyspace, diagnosis.Missing, "does not exist", runSetup)
		for _, t := range userTypes(i.view) {
			i.found("type", i.keyspace+"."+t.UserName(i.generation), diagnosis.Missing, "does not exist", runSetup)
		}
		for _, t := range i.view.Tables() {
			i.found("table", i.keyspace+"."+t.Name+i.generation.Suffix(), diagnosis.Missing, "does not exist", runSetup)
		}
		for _, name := range i.ownTables() {
			i.found("table", i.keyspace+"."+name, diagnosis.Missing, "does not exist", runSetup)
		}
		i.revisionMissing()
		return false
	}
	if err != nil {
		i.failed("keyspace", i.keyspace, wrap("read the keyspace", err))
		return false
	}
	i.found("keyspace", i.keyspace, diagnosis.OK, "is there", "")
	r := replicationOf(replication, i.config.Datacenter)
	level, found, do := r.judge(i.keyspace, i.config.Datacenter, hosts)
	i.found("replication", i.keyspace, level, found, do)
	if r.factor > 0 {
		level, found, do = judgeConsistency(i.config.Consistency, datacenters)
		i.found("consistency", i.config.Consistency, level, found, do)
	}
	return true
}

// simpleStrategy places replicas without regard to racks and datacenters.
const simpleStrategy = "SimpleStrategy"

// replication is how a keyspace is replicated, seen from one datacenter.
type replication struct {
	strategy string            // the class without its package
	factor   int               // replicas in the datacenter; of SimpleStrategy in the cluster
	others   map[string]string // replicas in other datacenters
}

// replicationOf reads system_schema's map. A factor may be written 3/1, one of the three then being transient.
func replicationOf(options map[string]string, datacenter string) replication {
	class := options["class"]
	r := replication{strategy: class[strings.LastIndexByte(class, '.')+1:]}
	key := datacenter
	if r.strategy == simpleStrategy {
		key = "replication_factor"
	} else {
		r.others = maps.Clone(options)
		delete(r.others, "class")
		delete(r.others, datacenter)
	}
	full, _, _ := strings.Cut(options[key], "/")
	r.factor, _ = strconv.Atoi(full)
	return r
}

func (r replication) judge(keyspace, datacenter string, hosts int) (level diagnosis.Level, found, do string) {
	alter := func(factor int) string {
		options := []string{"'class': 'NetworkTopologyStrategy'", fmt.Sprintf("'%s': %d", datacenter, factor)}
		for _, other := range slices.Sorted(maps.Keys(r.others)) {
			options = append(options, fmt.Sprintf("'%s': %s", other, r.others[other]))
		}
		return fmt.Sprintf("ALTER KEYSPACE %s WITH replication = {%s}, then nodetool repair --full %s", keyspace, strings.Join(options, ", "), keyspace)
	}
	found = fmt.Sprintf("%s, %s in %s", r.strategy, count(r.factor, "replica"), datacenter)
	switch {
	case r.factor == 0:
		return diagnosis.Different, fmt.Sprintf("%s, no replica in %s: no write would find a replica", r.strategy, datacenter), alter(min(hosts, 3))
	case r.factor/2+1 > hosts:
		return diagnosis.Different, fmt.Sprintf("%s, but it has %s: no quorum can be had", found, count(hosts, "host")), "add hosts, or " + alter(hosts)
	case r.strategy != "NetworkTopologyStrategy":
		return diagnosis.Warn, found + ": replicas are placed without regard to racks and datacenters", alter(3)
	case r.factor == 1:
		return diagnosis.Warn, found + ": a host that is down or lost takes its orders with it", alter(3)
	case r.factor == 2:
		return diagnosis.Warn, found + ": a quorum of 2 is both, so one host that is down stops its writes", alter(3)
	case r.factor > hosts:
		return diagnosis.Warn, fmt.Sprintf("%s, but it has %s", found, count(hosts, "host")), "add hosts, or " + alter(hosts)
	}
	return diagnosis.OK, found, ""
}

// judgeConsistency says what a level costs. Lower ones than LOCAL_QUORUM are refused by the configuration.
func judgeConsistency(consistency string, datacenters int) (level diagnosis.Level, found, do string) {
	do = "set cassandra.consistency to LOCAL_QUORUM unless that is what you want"
	switch {
	case consistency == "ALL":
		return diagnosis.Warn, "one host that is down anywhere stops its writes", do
	case consistency == "EACH_QUORUM" && datacenters > 1:
		return diagnosis.Warn, "a datacenter that is out of reach stops all writes", do
	case consistency == "QUORUM" && datacenters > 1:
		return diagnosis.Warn, "every write waits for hosts of other datacenters", do
	}
	return diagnosis.OK, "a majority of the replicas acknowledges every write", ""
}
