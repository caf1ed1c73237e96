package shop

import (
	"container/heap"
	"math/rand/v2"
)

// traffic merges the lives of all orders into one stream. Places in the stream are measured in orders: order i opens
// at place i, and what happens to it later happens a number of order openings later. One goroutine owns it.
type traffic struct {
	cfg    Config
	random *rand.Rand

	opened  int   // orders opened so far
	pushed  int   // entries queued so far: breaks ties
	queue   queue // events of open orders, the next one first
	emitted int   // distinct events yielded so far

	damaged    int         // events damaged so far
	damageAt   int         // index of the distinct event to be damaged next
	damageUses map[int]int // by index in damages
}

func newTraffic(cfg Config) *traffic {
	t := &traffic{cfg: cfg, random: randomOf(cfg.Seed, 0), damageUses: make(map[int]int)}
	t.drawDamage()
	return t
}

// randomOf returns the random source number n of a seed. Sources of different numbers are independent of each other,
// so an order's life does not depend on how many orders there are.
func randomOf(seed uint64, n int) *rand.Rand {
	const golden = 0x9e3779b97f4a7c15 // spreads neighbouring numbers over the whole state
	return rand.New(rand.NewPCG(seed, uint64(n)*golden))
}

// drawDamage picks the next event to damage: one at random in each stretch of 1/share events.
func (t *traffic) drawDamage() {
	if t.cfg.DamagedShare == 0 {
		t.damageAt = -1
		return
	}
	t.damageAt = int((float64(t.damaged) + t.random.Float64()) / t.cfg.DamagedShare)
}

// next returns the next event to be sent, and false after the last one.
func (t *traffic) next() (Event, bool) {
	for t.opened < t.cfg.Orders && (len(t.queue) == 0 || float64(t.opened) <= t.queue[0].place) {
		for _, s := range live(t.cfg, t.opened) {
			t.push(s)
		}
		t.opened++
	}
	if len(t.queue) == 0 {
		return Event{}, false
	}
	s := heap.Pop(&t.queue).(step)
	event := s.event
	event.Payload = encode(document(event))
	if event.Duplicate {
		return event, true
	}

	index := t.emitted
	t.emitted++
	if t.damageAt >= 0 && index >= t.damageAt {
		t.damage(&event)
		return event, true
	}
	if t.random.Float64() < t.cfg.DuplicateShare {
		again := s
		again.event.Duplicate = true
		again.place = s.place + t.repeatAfter()
		t.push(again)
	}
	return event, true
}

// repeatAfter is the distance from an event to its repetition: often almost none, so that both meet in one fetch or
// one batch, otherwise as much as lies between two events of an order.
func (t *traffic) repeatAfter() float64 {
	if t.random.IntN(3) == 0 {
		return t.random.Float64()
	}
	return 1 + t.random.ExpFloat64()*t.cfg.MeanGap
}

// damage replaces the payload by a damaged one. Of the ways that fit the type of event it takes the one least used so
// far, and of several the one that fits the fewest types: what only a refund can suffer is not left to chance.
func (t *traffic) damage(event *Event) {
	best := -1
	for i, d := range damages {
		if !d.fits(*event) || (d.name == DamageEmpty && t.damageUses[i] > 0) {
			continue
		}
		if best < 0 || t.damageUses[i] < t.damageUses[best] ||
			(t.damageUses[i] == t.damageUses[best] && d.narrowerThan(damages[best])) {
			best = i
		}
	}
	t.damageUses[best]++
	t.damaged++
	t.drawDamage()

	event.Original = event.Payload
	event.Damage = damages[best].name
	event.Payload = damages[best].spoil(*event, t.cfg.Now)
}

func (t *traffic) push(s step) {
	s.tie = t.pushed
	t.pushed++
	heap.Push(&t.queue, s)
}

// queue is a heap of steps by place, and by the order in which they were pushed where places are equal.
type queue []step

func (q queue) Len() int { return len(q) }
func (q queue) Less(i, j int) bool {
	if q[i].place != q[j].place {
		return q[i].place < q[j].place
	}
	return q[i].tie < q[j].tie
}
func (q queue) Swap(i, j int) { q[i], q[j] = q[j], q[i] }
func (q *queue) Push(s any)   { *q = append(*q, s.(step)) }
func (q *queue) Pop() any {
	old := *q
	last := old[len(old)-1]
	old[len(old)-1] = step{}
	*q = old[:len(old)-1]
	return last
}
