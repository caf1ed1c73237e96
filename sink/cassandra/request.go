package cassandra

import (
	"context"
	"hash/maphash"
	"math/bits"
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
		failure := err // a copy, so that success allocates nothing
		j.err.CompareAndSwap(nil, &failure)
	}
	if j.left.Add(-1) > 0 {
		return
	}
	// Others of its page may have long to go, and jobs are allocated by the page.
	j.write.Mutations = nil
	if failed := j.err.Load(); failed != nil {
		j.write.Record.Settle(*failed)
		return
	}
	j.write.Record.Settle(nil)
}

// part is a mutation and the record it belongs to.
type part struct {
	mutation *view.Mutation
	job      *job
}

// request is what is sent at once: mutations of one partition, of one or more records.
type request struct {
	ctx       context.Context // the shard's work context: once it ends, nothing of the request is sent any more
	table     *table
	partition []view.Value
	parts     []part
	size      int // of the mutations, in bytes
}

// plan turns the writes of a page of records into requests. Mutations of one partition stand together and keep their
// order, which matters to nobody but a reader of a trace. What a page needs is allocated at once.
func plan(ctx context.Context, tables map[string]*table, writes []sink.Write) []request {
	total := 0
	for i := range writes {
		total += len(writes[i].Mutations)
	}
	requests := make([]request, 0, total)
	chosen := make([]int32, 0, total)     // each mutation's request
	count := make([]int32, 0, total)      // each request's mutations
	open := make(map[uint64]int32, total) // the last request of each partition, by the partition's hash
	for i := range writes {
		for k := range writes[i].Mutations {
			m := &writes[i].Mutations[k]
			t := tables[m.Table]
			partition := m.Key[:len(t.Partition)]
			size, hash := m.Size(), hashOf(t, partition)
			n, ok := open[hash]
			if !ok || !requests[n].takes(t, partition, size, count[n]) {
				n = int32(len(requests))
				open[hash] = n
				requests = append(requests, request{ctx: ctx, table: t, partition: partition})
				count = append(count, 0)
			}
			requests[n].size += size
			count[n]++
			chosen = append(chosen, n)
		}
	}
	parts := make([]part, total)
	for n := range requests {
		requests[n].parts, parts = parts[:0:count[n]], parts[count[n]:]
	}
	jobs := make([]job, len(writes))
	for i := range writes {
		j := &jobs[i]
		j.write = &writes[i]
		for k := range j.write.Mutations {
			r := &requests[chosen[0]]
			chosen = chosen[1:]
			if n := len(r.parts); n == 0 || r.parts[n-1].job != j {
				j.left.Add(1)
			}
			r.parts = append(r.parts, part{&j.write.Mutations[k], j})
		}
		if len(j.write.Mutations) == 0 {
			j.write.Record.Settle(nil)
		}
	}
	return requests
}

// takes reports whether a request with n mutations has room for one more of a partition. Two partitions may have the
// same hash.
func (r *request) takes(t *table, partition []view.Value, size int, n int32) bool {
	// A mutation has at most two stamps, so at most two statements.
	return r.table == t && r.size+size <= maxRequestBytes && 2*(n+1) <= maxRequestStatements && slices.Equal(r.partition, partition)
}

var hashSeed = maphash.MakeSeed()

// hashOf tells partitions apart, nearly always.
func hashOf(t *table, partition []view.Value) uint64 {
	hash := t.seed
	for _, v := range partition {
		hash = bits.RotateLeft64(hash, 23)*31 ^ maphash.Bytes(hashSeed, v.Shared())
	}
	return hash
}

// statements merges the request's mutations row by row, so that what came twice is sent once, and appends the rows'
// UPDATEs to out.
func (r *request) statements(out []statement) []statement {
	if len(r.parts) == 1 {
		return statements(out, r.parts[0].mutation.Key, r.parts[0].mutation.Cells)
	}
	merged := make([]bool, len(r.parts))
	for i, p := range r.parts {
		if merged[i] {
			continue
		}
		cells := p.mutation.Cells
		for j := i + 1; j < len(r.parts); j++ {
			if other := r.parts[j].mutation; slices.Equal(other.Key, p.mutation.Key) {
				merged[j] = true
				cells = view.Merge(cells, other.Cells)
			}
		}
		out = statements(out, p.mutation.Key, cells)
	}
	return out
}

// settle gives every record in the request the same outcome. The request is not used after that.
func (r *request) settle(err error) {
	var last *job
	for _, p := range r.parts {
		if p.job != last {
			p.job.done(err)
		}
		last = p.job
	}
	clear(r.parts) // the page's others keep the array, and should not keep the mutations
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
		last.size += p.mutation.Size()
	}
	return out
}
