package viewfile

import (
	"fmt"
	"time"

	"penstock/view"
)

// stamps holds version and birth against their bounds and derives the event's stamps.
func (v *View) stamps(r *run) view.Stamps {
	version, _ := r.eventNumber(v.event.version) // it was read before
	if b := v.event.version.bounds; b != nil && (version < b.min || version > b.max) {
		return r.refuseVersion(v, version, rangeError(b))
	}
	if version < 0 {
		return r.refuseVersion(v, version, "must not be negative")
	}
	birth := int64(1)
	if v.event.birth != nil {
		t, _ := v.birthOf(r) // it was read before
		birth = t.UnixMicro()
		if b := v.event.birth.bounds; b != nil {
			if ms := t.UnixMilli(); ms < b.min || ms > b.max {
				return r.refuseBirth(v, t, rangeError(b))
			}
			if b.notAfterArrival != nil && t.After(r.arrival.Add(*b.notAfterArrival)) {
				return r.refuseBirth(v, t, r.arrivalRule(*b.notAfterArrival))
			}
		}
		if birth < 1 {
			return r.refuseBirth(v, t, "must be after 1970-01-01T00:00:00Z, from where stamps count")
		}
	}
	stamps, err := view.NewStamps(birth, version)
	if err != nil {
		return r.invalid(view.CodeStampOutOfRange, fmt.Errorf("%s: %w", r.pointer(v.event.version.at.node), err))
	}
	return stamps
}

func (r *run) refuseVersion(v *View, version int64, rule string) view.Stamps {
	return r.invalid(view.CodeVersionOutOfRange, fmt.Errorf("%s: %d: %s", r.pointer(v.event.version.at.node), version, rule))
}

// refuseBirth uses the code of orders, whose birth is the time at which they were placed: codes are never renamed.
func (r *run) refuseBirth(v *View, t time.Time, rule string) view.Stamps {
	return r.invalid(view.CodePlacedAtOutOfRange, fmt.Errorf("%s: %s: %s", r.pointer(v.event.birth.at.node), t.Format(time.RFC3339Nano), rule))
}

func (r *run) invalid(code view.Code, err error) view.Stamps {
	r.fault = fault{stage: view.StageValidate, code: code, err: err}
	return view.Stamps{}
}
