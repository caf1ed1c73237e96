package cassandra

import (
	"context"
	"slices"
	"sync/atomic"

	"penstock/sink"
	"penstock/view"
)

// A request holds mutations of one partition of one table. More than this goes into a request of its own: Cassandra
// warns from 5 KiB on (batch_size_warn_threshold), and a batch is applied as one.
const (
	maxRequestBytes      = 5 << 10
	maxRequestStatements = 20
)

// job is one record's write on its way. It is settled when the last of its requests has an outcome.
type job struct {
	write *sink.Write
	left  atomic.Int32
	err   atomic.Pointer[error] // the first failure
}

// done gives one of the job's requests its outcome.
func (j *job) done(err error) {
	if err != nil {
		j.err.CompareAndSwap(nil, &err)
	}
	if j.left.Add(-1) > 0 {
		return
	}
	if failed := j.err.Load(); failed != nil {
		j.write.Settle(*failed)
		return
	}
	j.write.Settle(nil)
}

// part is a mutation and the record it belongs to.
type part struct {
	mutation view.Mutation
	job      *job
}

// request is what is sent at once: mutations of one partition, of one or more records.
type request struct {
	ctx       context.Context // the shard's work context: once it ends, nothing of the request is sent any more
	table     *table
	partition []view.Value
	parts     []part
}

// plan turns the writes of a page of records into requests. Mutations of one partition stand together and keep their
// order, which matters to nobody but a reader of a trace.
func plan(ctx context.Context, tables map[string]*table, writes []*sink.Write) []*request {
	type chunk struct {
		*request
		bytes int
	}
	open := make(map[partition]chunk, 2*len(writes)) // the request of each partition that still has room
	requests := make([]*request, 0, 2*len(writes))
	jobs := make([]job, len(writes))
	for i, w := range writes {
		if len(w.Mutations) == 0 {
			w.Settle(nil)
			continue
		}
		j := &jobs[i]
		j.write = w
		for _, m := range w.Mutations {
			t := tables[m.Table]
			key := partitionOf(t, m)
			size := m.Size()
			c := open[key]
			// A mutation has at most two stamps, so at most two statements.
			if c.request == nil || c.bytes+size > maxRequestBytes || 2*(len(c.parts)+1) > maxRequestStatements {
				c = chunk{request: &request{ctx: ctx, table: t, partition: m.Key[:len(t.Partition)]}}
				requests = append(requests, c.request)
			}
			if n := len(c.parts); n == 0 || c.parts[n-1].job != j {
				j.left.Add(1)
			}
			c.bytes += size
			c.parts = append(c.parts, part{m, j})
			open[key] = c
		}
	}
	return requests
}

// partition names a partition of a table, as a key of maps. Keys of up to three columns are compared as they are.
type partition struct {
	table *table
	first [3]view.Value
	rest  string
}

func partitionOf(t *table, m view.Mutation) partition {
	p := partition{table: t}
	n := len(t.Partition)
	copy(p.first[:], m.Key[:n])
	if n > len(p.first) {
		p.rest = m.PartitionKey(n)
	}
	return p
}

// statements merges the request's mutations row by row, so that what came twice is sent once.
func (r *request) statements() []statement {
	if len(r.parts) == 1 {
		m := r.parts[0].mutation
		return statements(make([]statement, 0, 2), m.Key, m.Cells)
	}
	out := make([]statement, 0, 2*len(r.parts))
	merged := make([]bool, len(r.parts))
	for i, p := range r.parts {
		if merged[i] {
			continue
		}
		var cells []view.Cell
		for j := i; j < len(r.parts); j++ {
			if other := r.parts[j].mutation; slices.Equal(other.Key, p.mutation.Key) {
				merged[j] = true
				cells = append(cells, other.Cells...)
			}
		}
		out = statements(out, p.mutation.Key, view.Merge(cells, nil))
	}
	return out
}

// settle gives every record in the request the same outcome.
func (r *request) settle(err error) {
	var last *job
	for _, p := range r.parts {
		if p.job != last {
			p.job.done(err)
		}
		last = p.job
	}
}

// split returns a request for each record in r, so that one that Cassandra refuses is found out.
func (r *request) split() []*request {
	var out []*request
	for i, p := range r.parts {
		if i == 0 || p.job != r.parts[i-1].job {
			out = append(out, &request{ctx: r.ctx, table: r.table, partition: r.partition})
		}
		last := out[len(out)-1]
		last.parts = append(last.parts, p)
	}
	return out
}
