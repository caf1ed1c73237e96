package cassandra

import (
	"context"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"penstock/sink"
	"penstock/sink/adaptive"
	"penstock/view"
)

// A request holds mutations whose rows have the same replicas, of whatever partition and table: sent as one batch they
// cost the coordinator one request, and no replica more than it would have had to do for each of them alone. More than
// this goes into a request of its own: Cassandra warns of batches above 5 KiB (batch_size_warn_threshold), of which each
// row is a few bytes more than we count, and of more than ten partitions
// (unlogged_batch_across_partitions_warn_threshold). A mutation has at most two stamps, so at most two statements.
//
// While a request waits for a permit, later mutations of its partitions join it: they are merged into its rows where they
// can be, and add no partition in any case.
const (
	maxRequestBytes     = 4 << 10
	maxRequestMutations = 10
	maxRequestParts     = 2 * maxRequestMutations
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

// part is a mutation, its table, the record it belongs to, and a hash of its partition.
type part struct {
	mutation  *view.Mutation
	table     *table
	job       *job
	partition uint64
}

// request is what is sent at once, for one or more records.
type request struct {
	ctx   context.Context // the shard's work context: once it ends, nothing of the request is sent any more
	token int64           // of one of its rows: all have the same replicas
	parts []part
	size  int // of the mutations, in bytes

	// The worker's that has the request, or the gate's while it waits.
	from       *sink.Source
	attempts   int      // made so far
	failures   int      // of these, since the last that ended with an answer about the request itself
	refusals   int      // in a row, for reasons that may be a record's
	suspicion  error    // such a refusal: what is sent now is the row without its values, which decides whose fault it was
	retrial    bool     // the row without its values got through: a further refusal is the record's fault
	history    *history // nil before the first failure
	failedAt   *host    // nil for none
	repetition adaptive.Kind
	due        time.Time // when the back-off is over
}

// history is what a letter tells of attempts that failed.
type history struct {
	first  time.Time
	causes []error // refusals that may be a record's fault, the first maxCauses
}

// maxCauses is enough for each of unknownTries and what decides whose fault it was.
const maxCauses = 2 * unknownTries

// note keeps a failed attempt for the letter that may come of it.
func (r *request) note(now time.Time, disposition sink.Disposition, err error) {
	if r.history == nil {
		r.history = &history{first: now}
	}
	refused := disposition == sink.Poison || disposition == sink.Unknown
	if refused && len(r.history.causes) < maxCauses {
		r.history.causes = append(r.history.causes, err)
	}
}

// copied is the history of a request that was taken out of another.
func (h *history) copied() *history {
	if h == nil {
		return nil
	}
	return &history{first: h.first, causes: slices.Clone(h.causes)}
}

// partition is the mutations of a partition in a plan, or as many of them as fit in a request.
type partition struct {
	table   *table
	key     []view.Value
	token   int64
	size    int // in bytes
	count   int
	request int32
}

// plan turns the writes of a page of records into requests. Mutations of one partition stand together, as those of one
// row are merged only within a request, and keep their order, which matters to nobody but a reader of a trace. What a
// page needs is allocated at once.
func plan(ctx context.Context, tables map[string]*table, ring *ring, writes []sink.Write) []request {
	total := 0
	for i := range writes {
		total += len(writes[i].Mutations)
	}
	partitions := make([]partition, 0, total)
	chosen := make([]int32, 0, total)     // each mutation's partition
	last := make(map[uint64]int32, total) // partition of a table and token
	var routing []byte
	for i := range writes {
		for k := range writes[i].Mutations {
			m := &writes[i].Mutations[k]
			t := tables[m.Table]
			key, size := m.Key[:len(t.Partition)], m.Size()
			routing = appendRoutingKey(routing[:0], key)
			token := tokenOf(routing)
			n, ok := last[uint64(token)^t.seed]
			if !ok || !partitions[n].takes(t, key, size) {
				n = int32(len(partitions))
				last[uint64(token)^t.seed] = n
				partitions = append(partitions, partition{table: t, key: key, token: token})
			}
			partitions[n].size += size
			partitions[n].count++
			chosen = append(chosen, n)
		}
	}
	requests, count := pack(ctx, ring, partitions)
	parts := make([]part, total)
	for n := range requests {
		requests[n].parts, parts = parts[:0:count[n]], parts[count[n]:]
	}
	jobs := make([]job, len(writes))
	for i := range writes {
		j := &jobs[i]
		j.write = &writes[i]
		for k := range j.write.Mutations {
			p := &partitions[chosen[0]]
			r := &requests[p.request]
			chosen = chosen[1:]
			if n := len(r.parts); n == 0 || r.parts[n-1].job != j {
				j.left.Add(1)
			}
			r.parts = append(r.parts, part{&j.write.Mutations[k], p.table, j, uint64(p.token) ^ p.table.seed})
		}
		if len(j.write.Mutations) == 0 {
			j.write.Record.Settle(nil)
		}
	}
	return requests
}

// takes reports whether a mutation belongs to p and has room there. Two partitions may have the same token.
func (p *partition) takes(t *table, key []view.Value, size int) bool {
	return p.table == t && p.size+size <= maxRequestBytes && p.count < maxRequestMutations && slices.Equal(p.key, key)
}

// pack distributes partitions over requests, each to the last one for its replicas if there is room. It also returns
// how many mutations each request gets.
func pack(ctx context.Context, ring *ring, partitions []partition) (requests []request, count []int) {
	filling := slices.Repeat([]int32{-1}, len(ring.sets)) // each replica set's last request
	for i := range partitions {
		p := &partitions[i]
		last := &filling[ring.set(p.token)]
		if *last < 0 || requests[*last].size+p.size > maxRequestBytes || count[*last]+p.count > maxRequestMutations {
			*last = int32(len(requests))
			requests = append(requests, request{ctx: ctx, token: p.token})
			count = append(count, 0)
		}
		p.request = *last
		requests[p.request].size += p.size
		count[p.request] += p.count
	}
	return requests, count
}

// statements merges the request's mutations row by row, so that what came twice is sent once, and appends the rows'
// UPDATEs to out.
func (r *request) statements(out []statement) []statement {
	var merged [maxRequestParts]bool
	for i, p := range r.parts {
		if merged[i] {
			continue
		}
		cells := p.mutation.Cells
		for j := i + 1; j < len(r.parts); j++ {
			if other := r.parts[j]; other.table == p.table && slices.Equal(other.mutation.Key, p.mutation.Key) {
				merged[j] = true
				cells = view.Merge(cells, other.mutation.Cells)
			}
		}
		out = statements(out, p.table, p.mutation.Key, cells)
	}
	return out
}

// takes reports whether there is room for another mutation of a partition that the request writes to already. One that was
// sent before may be on its way to being blamed, and nobody else is to stand beside it.
func (r *request) takes(p part) bool {
	return r.attempts == 0 && len(r.parts) < maxRequestParts && r.size+p.mutation.Size() <= maxRequestBytes
}

// moveTo moves the mutation at i to another request. Neither may be on its way.
func (r *request) moveTo(to *request, i int) {
	p := r.parts[i]
	// Each request counts once for a record whose mutations stand together in it. What is added comes first: the count
	// is not to reach zero in between.
	if n := len(to.parts); n == 0 || to.parts[n-1].job != p.job {
		p.job.left.Add(1)
	}
	size := p.mutation.Size()
	to.parts = append(to.parts, p)
	to.size += size
	alone := (i == 0 || r.parts[i-1].job != p.job) && (i == len(r.parts)-1 || r.parts[i+1].job != p.job)
	r.parts = slices.Delete(r.parts, i, i+1)
	r.size -= size
	if alone {
		p.job.left.Add(-1)
	}
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

// split returns a request for each mutation in r, so that one that Cassandra refuses is found out.
func (r *request) split() []*request {
	out := make([]*request, len(r.parts))
	for i, p := range r.parts {
		if i > 0 && p.job == r.parts[i-1].job {
			p.job.left.Add(1) // it counted on one request for all of them
		}
		key := p.mutation.Key[:len(p.table.Partition)]
		out[i] = &request{
			ctx: r.ctx, from: r.from, token: tokenOf(appendRoutingKey(nil, key)), parts: r.parts[i : i+1 : i+1],
			size: p.mutation.Size(), attempts: r.attempts, refusals: r.refusals, history: r.history.copied(),
		}
	}
	return out
}

// String names the tables that are written to.
func (r *request) String() string {
	var names []string
	for _, p := range r.parts {
		if !slices.Contains(names, p.table.name) {
			names = append(names, p.table.name)
		}
	}
	return strings.Join(names, ", ")
}
