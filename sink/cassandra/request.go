package cassandra

import (
	"context"
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
	open := map[string]*chunk{} // the request of each partition that still has room
	var requests []*request
	for _, w := range writes {
		if len(w.Mutations) == 0 {
			w.Settle(nil)
			continue
		}
		j := &job{write: w}
		for _, m := range w.Mutations {
			t := tables[m.Table]
			key := m.PartitionKey(len(t.Partition))
			size := m.Size()
			c := open[key]
			// A mutation has at most two stamps, so at most two statements.
			if c == nil || c.bytes+size > maxRequestBytes || 2*(len(c.parts)+1) > maxRequestStatements {
				c = &chunk{request: &request{ctx: ctx, table: t, partition: m.Key[:len(t.Partition)]}}
				open[key] = c
				requests = append(requests, c.request)
			}
			if n := len(c.parts); n == 0 || c.parts[n-1].job != j {
				j.left.Add(1)
			}
			c.bytes += size
			c.parts = append(c.parts, part{m, j})
		}
	}
	return requests
}

// statements merges the request's mutations row by row, so that what came twice is sent once.
func (r *request) statements() []statement {
	var out []statement
	cells := map[string][]view.Cell{}
	for _, p := range r.parts {
		key := p.mutation.RowKey()
		cells[key] = append(cells[key], p.mutation.Cells...)
	}
	for _, p := range r.parts {
		key := p.mutation.RowKey()
		if row, ok := cells[key]; ok {
			delete(cells, key)
			out = append(out, statements(p.mutation.Key, view.Merge(row, nil))...)
		}
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
