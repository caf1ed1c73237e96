package adaptive

// flights are the attempts in flight, a list in the order they were sent. Both ends of an attempt cost the same however
// many there are, and the slots of those that ended are used again, so that nothing is allocated once the list has been as
// long as it gets. Slot 0 is the ring's joint: the oldest follows it and the newest precedes it.
type flights struct {
	slots []flight
	free  int32 // the first of the free slots, linked by next; 0 is none
	n     int
}

type flight struct {
	next, prev int32
	turn       uint32 // how often the slot was used, odd while it is
	sent       int64
}

func newFlights(room int) flights {
	return flights{slots: make([]flight, 1, room+1)}
}

// add puts the newest attempt in.
func (f *flights) add(sent int64) (slot int32, turn uint32) {
	slot = f.free
	if slot == 0 {
		slot = int32(len(f.slots))
		f.slots = append(f.slots, flight{})
	} else {
		f.free = f.slots[slot].next
	}
	newest := f.slots[0].prev
	s := &f.slots[slot]
	s.next, s.prev, s.sent = 0, newest, sent
	s.turn++
	f.slots[newest].next = slot
	f.slots[0].prev = slot
	f.n++
	return slot, s.turn
}

// remove takes an attempt out. One that is not in is a broken invariant of the caller's.
func (f *flights) remove(slot int32, turn uint32) {
	if slot <= 0 || int(slot) >= len(f.slots) || f.slots[slot].turn != turn || turn&1 == 0 {
		panic("adaptive: a permit was given back twice, or never taken")
	}
	s := &f.slots[slot]
	f.slots[s.prev].next = s.next
	f.slots[s.next].prev = s.prev
	s.turn++
	s.next = f.free
	f.free = slot
	f.n--
}
