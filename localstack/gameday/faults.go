package main

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"penstock/localstack/zones"
)

// freeze stops nodes without ending them.
func freeze(nodes ...int) fault {
	return fault{
		begin: func(_ context.Context, r *rig, _ load) error {
			for _, i := range nodes {
				if err := r.stack.Cassandra()[i].Freeze(); err != nil {
					return err
				}
			}
			return nil
		},
		end: func(_ context.Context, r *rig) error {
			for _, i := range nodes {
				if err := r.stack.Cassandra()[i].Thaw(); err != nil {
					return err
				}
			}
			return nil
		},
	}
}

var kill = fault{
	begin: func(_ context.Context, r *rig, _ load) error { return r.stack.Cassandra()[victim].Kill() },
	end:   func(ctx context.Context, r *rig) error { return r.stack.Cassandra()[victim].Restart(ctx) },
}

var cut = fault{
	begin: func(ctx context.Context, r *rig, _ load) error { return r.network.Cut(ctx, victim) },
	end:   func(ctx context.Context, r *rig) error { return r.network.Heal(ctx, victim) },
}

var slow = fault{
	begin: func(ctx context.Context, r *rig, _ load) error {
		return r.network.Delay(ctx, victim, 20*time.Millisecond, 10*time.Millisecond)
	},
	end: func(_ context.Context, r *rig) error { return r.network.Hasten(victim) },
}

// What a node takes when its limit is as good as none, which is Cassandra's default.
const unlimited = 1_000_000

// limited has each node take half of its share of the requests that came before, and refuse the others. Whether a connection is
// refused or only slowed is settled when it is opened, so both switches are turned before the writer starts.
var limited = fault{
	prepare: func(ctx context.Context, r *rig) error { return r.switchLimits(ctx, true) },
	begin: func(ctx context.Context, r *rig, l load) error {
		if l.requests == 0 {
			return errors.New("nothing was written before the fault, so there is no rate to halve")
		}
		return r.setOnAll(ctx, "NativeTransportMaxRequestsPerSecond", strconv.Itoa(max(1, int(l.requests/zones.Count/2))))
	},
	end: func(ctx context.Context, r *rig) error {
		return r.setOnAll(ctx, "NativeTransportMaxRequestsPerSecond", strconv.Itoa(unlimited))
	},
	restore: func(ctx context.Context, r *rig) error { return r.switchLimits(ctx, false) },
}

func (r *rig) switchLimits(ctx context.Context, on bool) error {
	for _, attribute := range []string{"NativeTransportRateLimitingEnabled", "NativeTransportThrowOnOverload"} {
		if err := r.setOnAll(ctx, attribute, strconv.FormatBool(on)); err != nil {
			return err
		}
	}
	return nil
}

const storageService = "org.apache.cassandra.db:type=StorageService"

// setOnAll sets an attribute of every node while it runs.
func (r *rig) setOnAll(ctx context.Context, attribute, value string) error {
	return each(func(i int) error {
		out, err := r.stack.Nodetool(ctx, i, "sjk", "mx", "-b", storageService, "-f", attribute, "-ms", "-v", value)
		// It prints the object that it has set something of, and explains itself when it has not, without a failure.
		if err == nil && strings.TrimSpace(out) != storageService {
			err = fmt.Errorf("set %s to %s on node %d: %s", attribute, value, i+1, out)
		}
		return err
	})
}

// compact merges what there is on one node after another for as long as the fault holds. What is in memory only goes to the disk first, or
// there would be nothing to merge.
var compact = fault{during: func(ctx context.Context, r *rig, l load) {
	for i := 0; ctx.Err() == nil; i = (i + 1) % zones.Count {
		for _, command := range []string{"flush", "compact"} {
			// One that is called off in the middle goes on in the server, as it would for an operator.
			_, _ = r.stack.Nodetool(ctx, i, command, l.keyspace)
		}
	}
}}
