package emulator

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"
)

// effects are those that ParseFault knows by name; delay has a duration of its own.
var effects = map[string]Hook{
	"throttle":    Throttle,
	"500":         Fail,
	"deny":        Deny,
	"end":         End,
	"hang":        Hang,
	"cut":         Cut,
	"lose-answer": LoseAnswer,
}

// ParseFault reads a fault as a command line gives it: an action, or * for every action, a colon, an effect, and after commas what
// narrows it, for example
//
//	GetRecords:throttle,share=0.1,seed=7
//	PutRecords:delay=200ms,after=10,count=5
//	*:cut,count=1
//	SubscribeToShardEvent:end,after=3
//
// The effects are throttle, 500, deny, delay=DURATION, hang, cut, lose-answer and, of events, end; after, count, share and seed are
// the fields of [Fault]. An error names the part that is wrong.
func ParseFault(text string) (Fault, error) {
	action, rest, ok := strings.Cut(text, ":")
	if !ok || action == "" {
		return Fault{}, fmt.Errorf("fault %q: want ACTION:EFFECT, with * for every action", text)
	}
	effect, narrower, narrowed := strings.Cut(rest, ",")
	f := Fault{Action: strings.TrimPrefix(action, "*")}
	if err := f.setEffect(effect); err != nil {
		return Fault{}, fmt.Errorf("fault %q: %w", text, err)
	}
	if narrowed {
		for part := range strings.SplitSeq(narrower, ",") {
			if err := f.narrow(part); err != nil {
				return Fault{}, fmt.Errorf("fault %q: %w", text, err)
			}
		}
	}
	if err := f.check(); err != nil {
		return Fault{}, fmt.Errorf("fault %q: %w", text, err)
	}
	return f, nil
}

func (f *Fault) setEffect(text string) error {
	if value, ok := strings.CutPrefix(text, "delay="); ok {
		d, err := time.ParseDuration(value)
		if err != nil {
			return fmt.Errorf("delay: %w", err)
		}
		if d < 0 {
			return fmt.Errorf("delay %s is negative", d)
		}
		f.Effect = Delay(d)
		return nil
	}
	if f.Effect = effects[text]; f.Effect == nil {
		return fmt.Errorf("effect %q is not delay=DURATION or one of %s", text, strings.Join(slices.Sorted(maps.Keys(effects)), ", "))
	}
	return nil
}

func (f *Fault) narrow(part string) (err error) {
	key, value, _ := strings.Cut(part, "=")
	switch key {
	case "after":
		f.After, err = strconv.Atoi(value)
	case "count":
		f.Count, err = strconv.Atoi(value)
	case "share":
		if f.Share, err = strconv.ParseFloat(value, 64); err == nil && f.Share == 0 {
			return fmt.Errorf("share %s hits nothing", value) // and 0 in the field would hit all
		}
	case "seed":
		f.Seed, err = strconv.ParseUint(value, 10, 64)
	default:
		return fmt.Errorf("%q is not after=N, count=N, share=S or seed=N", part)
	}
	if err != nil {
		return fmt.Errorf("%s: %w", key, err)
	}
	return nil
}
