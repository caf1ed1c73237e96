package shop

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"time"
)

// step is one event of an order's life with its place in the stream.
type step struct {
	event Event
	place float64 // when it is sent, in order openings
	tie   int     // which of two at one place comes first
}

// The bounds of a life: they give a run its horizon, the place after which nothing is sent.
const (
	maxLife        = 13 // events: placed, 2 × paid, 2 × address changed, 3 × shipped, 3 × delivered, 2 × refunded
	maxGapMeans    = 3  // the longest gap between two events of an order, in mean gaps
	maxDisplacedBy = 3  // later events of its own order that may overtake an event
)

// The bounds of [Config.MeanGap].
const (
	minGap = 2.0
	maxGap = 1e6
)

// live returns the life of order n of a run, with the place at which each event is sent.
func live(cfg Config, n int) []step {
	r := randomOf(cfg.Seed, n+1)
	facts := story(r)
	customer := fmt.Sprintf("c-%d", 10_000+rand.NewZipf(r, 1.2, 4, uint64(cfg.Customers-1)).Uint64())
	order := newUUID(r)

	gap := cfg.MeanGap
	horizon := float64(cfg.Orders) + maxLife*(1+maxGapMeans*gap)
	begin := cfg.Now.Add(-cfg.Span)
	if r.IntN(25) == 0 {
		begin = begin.Add(-time.Duration(30+r.IntN(700)) * 24 * time.Hour)
	}
	at := func(place float64) time.Time {
		return begin.Add(time.Duration(place / horizon * float64(cfg.Span))).Truncate(time.Microsecond)
	}

	place := float64(n)
	placedAt := at(place)
	steps := make([]step, 0, len(facts))
	for i, fact := range facts {
		if i > 0 {
			place += 1 + min(r.ExpFloat64(), maxGapMeans)*gap
		}
		// The write side says when it happened a moment after it happened.
		happened := at(place).Add(time.Duration(r.IntN(900)) * time.Microsecond)
		event := Event{
			ID: newUUID(r), Type: typeOf(fact), Schema: 1, OrderID: order, CustomerID: customer, PlacedAt: placedAt,
			Version: int64(i + 1), Time: happened, fact: fact, look: r.Uint64(),
		}
		if event.inSecondVersion(cfg.PlacedV2Share) {
			event.Schema = 2
		}
		steps = append(steps, step{event: event, place: place})
	}
	displace(steps, cfg.DisplacedShare, r)
	return steps
}

// displace delays a share of the events until just after one of the next three events of their order that is not
// itself delayed. The last event has none after it, so the others carry its share.
func displace(steps []step, share float64, r *rand.Rand) {
	n := len(steps)
	if n < 2 {
		return
	}
	odds := share * float64(n) / float64(n-1)
	late := make([]bool, n)
	for i := n - 2; i >= 0; i-- {
		if r.Float64() >= odds {
			continue
		}
		var overtakers []int
		for j := i + 1; j < min(i+1+maxDisplacedBy, n); j++ {
			if !late[j] {
				overtakers = append(overtakers, j)
			}
		}
		if len(overtakers) == 0 {
			continue
		}
		late[i] = true
		steps[i].place = steps[overtakers[r.IntN(len(overtakers))]].place + r.Float64()/2
	}
}

// story returns what happens to one order, in the order in which it happens.
func story(r *rand.Rand) []any {
	first := newPlaced(r)
	total := first.totalMinor()
	facts := []any{first}

	switch fate := r.IntN(100); {
	case fate < 5:
		facts = append(facts, newCancelled(r))
	case fate < 10:
		facts = append(facts, newPayments(total, r)...)
		facts = append(facts, newCancelled(r))
		if r.IntN(5) > 0 {
			facts = append(facts, newRefunds(total, r)...)
		}
	default:
		facts = append(facts, newPayments(total, r)...)
		facts = append(facts, newParcels(first.lines, r)...)
		if r.IntN(12) == 0 {
			facts = append(facts, newRefunds(total, r)...)
		}
		if fate < 30 { // still under way when the run ends
			facts = facts[:1+r.IntN(len(facts)-1)]
		}
	}
	return withAddressChanges(facts, r)
}

// withAddressChanges lets one order in ten change its address once or twice, after it was placed and before the last
// thing that happens to it.
func withAddressChanges(facts []any, r *rand.Rand) []any {
	if r.IntN(10) > 0 {
		return facts
	}
	for range 1 + r.IntN(2) {
		facts = slices.Insert(facts, 1+r.IntN(max(1, len(facts)-1)), any(addressChanged{newAddress(r)}))
	}
	return facts
}

func newPlaced(r *rand.Rand) placed {
	p := placed{currency: pick(currencies, r)}
	for i := range 1 + r.IntN(4) {
		article := pick(articles, r)
		p.lines = append(p.lines, line{
			id: fmt.Sprint(i + 1), sku: article.sku, name: article.name,
			quantity: 1 + int64(r.IntN(4)), priceMinor: 1 + int64(r.IntN(20_000)),
		})
	}
	if len(p.lines) > 1 && r.IntN(10) == 0 {
		p.lines[1].priceMinor = 0 // something for nothing
	}
	if r.IntN(5) > 0 {
		p.address = new(newAddress(r))
	}
	return p
}

// newPayments is mostly one payment of the whole total, sometimes a voucher and the rest.
func newPayments(total int64, r *rand.Rand) []any {
	whole := paid{id: newID("pay", r), method: pick(methods, r), amountMinor: total}
	if r.IntN(25) > 0 {
		return []any{whole}
	}
	voucher := paid{id: newID("pay", r), method: "voucher", amountMinor: r.Int64N(total + 1)}
	whole.amountMinor -= voucher.amountMinor
	return []any{voucher, whole}
}

// newParcels spreads the units of an order over one to three parcels, each shipped and then delivered. A parcel may be
// delivered before the next one is shipped.
func newParcels(lines []line, r *rand.Rand) []any {
	var units []string // the line id of each unit
	for _, l := range lines {
		for range l.quantity {
			units = append(units, l.id)
		}
	}
	count := 1
	switch n := r.IntN(100); {
	case n < 5:
		count = 3
	case n < 20:
		count = 2
	}
	count = min(count, len(units))

	r.Shuffle(len(units), func(i, j int) { units[i], units[j] = units[j], units[i] })
	packed := make([]map[string]int64, count)
	for i, id := range units {
		parcel := i
		if i >= count { // each parcel has one unit by now
			parcel = r.IntN(count)
		}
		if packed[parcel] == nil {
			packed[parcel] = make(map[string]int64)
		}
		packed[parcel][id]++
	}

	var facts, onTheWay []any
	for _, content := range packed {
		parcel := shipped{parcel: newID("parcel", r), carrier: pick(carriers, r), tracking: fmt.Sprintf("%016X", r.Uint64())}
		for _, l := range lines { // in the order's own sequence: a map has none
			if content[l.id] > 0 {
				parcel.lines = append(parcel.lines, parcelLine{l.id, content[l.id]})
			}
		}
		facts = append(facts, parcel)
		onTheWay = append(onTheWay, delivered{parcel.parcel})
		if r.IntN(2) == 0 {
			facts = append(facts, onTheWay...)
			onTheWay = nil
		}
	}
	r.Shuffle(len(onTheWay), func(i, j int) { onTheWay[i], onTheWay[j] = onTheWay[j], onTheWay[i] })
	return append(facts, onTheWay...)
}

// newRefunds is the whole total in one or two refunds, or a part of it.
func newRefunds(total int64, r *rand.Rand) []any {
	first := refunded{id: newID("refund", r), reason: pick(reasons, r), amountMinor: total}
	switch r.IntN(3) {
	case 0:
		return []any{first}
	case 1:
		first.amountMinor = 1 + r.Int64N(total)
		return []any{first}
	default:
		first.amountMinor = r.Int64N(total + 1)
		second := refunded{id: newID("refund", r), reason: pick(reasons, r), amountMinor: total - first.amountMinor}
		return []any{first, second}
	}
}

func newCancelled(r *rand.Rand) cancelled {
	return cancelled{id: newID("cancellation", r), reason: pick(reasons, r)}
}
