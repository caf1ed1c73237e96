package leasetable

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
)

// Lock is a lock of short life in the state table, for what one operator at a time may do. It is an item with its owner
// and the end of its life. The holder writes it anew long before that end; the others may take it once its end is past,
// or once they have seen no change in it for a whole life, whatever the clocks say. Every write is conditional on the
// item as it was last seen, so two never take it together.
//
// It is a lock as good as its holder: one that stands still for longer than a life finds out only afterwards.
type Lock struct {
	State *State
	Kind  string
	Name  string
	Owner string        // who holds it, in words for people
	Life  time.Duration // after which a holder that has died is given up
	// Waiting is told, once for each holder, that it is waited for. Nil is fine.
	Waiting func(owner string, until time.Time)
}

// Attributes of a lock's item.
const (
	lockOwner = "Owner"
	lockUntil = "Until" // RFC 3339 with nanoseconds, which makes two writes of one owner differ
)

// ErrLockLost is the cause of the end of the context in [Lock.Do] when the lock could not be kept.
var ErrLockLost = errors.New("lock lost")

// Do waits until the lock is free or ctx ends, holds it while f runs, and releases it. f's context ends with
// [ErrLockLost] should the lock not be kept. The error is f's, or why the lock was not to be had.
func (l Lock) Do(ctx context.Context, f func(context.Context) error) error {
	held, err := l.take(ctx)
	if err != nil {
		return err
	}
	work, stop := context.WithCancelCause(ctx)
	kept := make(chan map[string]string)
	go func() { kept <- l.keep(work, held, stop) }() // ends with work
	err = f(work)
	if lost := context.Cause(work); errors.Is(lost, ErrLockLost) {
		err = errors.Join(err, lost)
	}
	stop(nil)
	held = <-kept
	// Whoever stops us wants the lock free too. An item that cannot be removed ends by itself.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), l.Life/3)
	defer cancel()
	_, _ = l.State.deleteIf(ctx, l.Kind, l.Name, held)
	return err
}

// take returns the item as it was written.
func (l Lock) take(ctx context.Context) (map[string]string, error) {
	var seen map[string]string // the holder's item; nil: none
	var since time.Time        // when it was first seen so
	var told string
	ticker := time.NewTicker(min(l.Life/10, time.Second))
	defer ticker.Stop()
	for {
		ours := l.item()
		put, current, err := l.State.putIf(ctx, l.Kind, l.Name, ours, seen)
		if err != nil {
			return nil, err
		}
		if put || maps.Equal(current, ours) { // or an earlier delivery of the same request was
			return ours, nil
		}
		for { // until it may be tried again
			if !maps.Equal(current, seen) || since.IsZero() {
				seen, since = current, time.Now()
			}
			if seen == nil || l.over(seen, since) {
				break
			}
			if owner := seen[lockOwner]; owner != told && l.Waiting != nil {
				told = owner
				l.Waiting(owner, until(seen))
			}
			select {
			case <-ctx.Done():
				return nil, fmt.Errorf("wait for %s of %s, held by %s: %w", l.Name, l.State.name, seen[lockOwner], context.Cause(ctx))
			case <-ticker.C:
			}
			if current, err = l.State.get(ctx, l.Kind, l.Name); err != nil {
				return nil, err
			}
		}
	}
}

// over reports whether a holder's item may be replaced.
func (l Lock) over(seen map[string]string, since time.Time) bool {
	if time.Since(since) >= l.Life {
		return true
	}
	now := time.Now()
	if clock := l.State.client.Clock(); clock.Known {
		now = now.Add(clock.Ahead)
	} else {
		return false
	}
	end := until(seen)
	return !end.IsZero() && now.After(end.Add(l.Life)) // a life for the holder's own clock
}

// keep writes the item anew until ctx ends, and returns it as it stands. It stops the work when another holds the lock,
// or when the last write that succeeded is a life ago.
func (l Lock) keep(ctx context.Context, held map[string]string, stop context.CancelCauseFunc) map[string]string {
	ticker := time.NewTicker(l.Life / 3)
	defer ticker.Stop()
	written := time.Now()
	for {
		select {
		case <-ctx.Done():
			return held
		case <-ticker.C:
		}
		asked, ours := time.Now(), l.item()
		put, current, err := l.State.putIf(ctx, l.Kind, l.Name, ours, held)
		switch {
		case err == nil && (put || maps.Equal(current, ours)):
			held, written = ours, asked
		case err == nil:
			stop(fmt.Errorf("%w: held by %s", ErrLockLost, current[lockOwner]))
			return held
		case time.Since(written) > l.Life*2/3:
			stop(fmt.Errorf("%w: %w", ErrLockLost, err))
			return held
		}
	}
}

func (l Lock) item() map[string]string {
	return map[string]string{lockOwner: l.Owner, lockUntil: time.Now().Add(l.Life).UTC().Format(time.RFC3339Nano)}
}

func until(seen map[string]string) time.Time {
	t, _ := time.Parse(time.RFC3339Nano, seen[lockUntil])
	return t
}

// putIf writes an item if it stands as seen, nil for none. Otherwise it returns the item that stands, nil for none.
func (s *State) putIf(ctx context.Context, kind, name string, values, seen map[string]string) (put bool, current map[string]string, err error) {
	in := &dynamodb.PutItemInput{TableName: &s.name, Item: itemOf(kind, name, values),
		ReturnValuesOnConditionCheckFailure: types.ReturnValuesOnConditionCheckFailureAllOld}
	var condition string
	condition, in.ExpressionAttributeNames, in.ExpressionAttributeValues = asSeen(seen)
	in.ConditionExpression = &condition
	_, err = s.client.api.PutItem(ctx, in)
	if refused, ok := errors.AsType[*types.ConditionalCheckFailedException](err); ok {
		return false, textsOf(refused.Item), nil
	}
	if err != nil {
		return false, nil, failure("PutItem", s.name, err)
	}
	return true, nil, nil
}

// deleteIf removes an item if it stands as seen.
func (s *State) deleteIf(ctx context.Context, kind, name string, seen map[string]string) (deleted bool, err error) {
	condition, names, values := asSeen(seen)
	_, err = s.client.api.DeleteItem(ctx, &dynamodb.DeleteItemInput{TableName: &s.name, Key: itemOf(kind, name, nil),
		ConditionExpression: &condition, ExpressionAttributeNames: names, ExpressionAttributeValues: values})
	if is[*types.ConditionalCheckFailedException](err) {
		return false, nil
	}
	if err != nil {
		return false, failure("DeleteItem", s.name, err)
	}
	return true, nil
}

// get returns the text attributes of an item but its key, nil if there is none.
func (s *State) get(ctx context.Context, kind, name string) (map[string]string, error) {
	out, err := s.client.api.GetItem(ctx, &dynamodb.GetItemInput{TableName: &s.name, Key: itemOf(kind, name, nil), ConsistentRead: aws.Bool(true)})
	if err != nil {
		return nil, failure("GetItem", s.name, err)
	}
	return textsOf(out.Item), nil
}

// asSeen is the condition that an item still has these values, or that there is none.
func asSeen(seen map[string]string) (condition string, names map[string]string, values item) {
	if seen == nil {
		return "attribute_not_exists(#k)", map[string]string{"#k": kindKey}, nil
	}
	condition, names, values = "attribute_exists(#k)", map[string]string{"#k": kindKey}, item{}
	i := 0
	for attribute, v := range seen {
		n, p := fmt.Sprintf("#a%d", i), fmt.Sprintf(":a%d", i)
		condition += " AND " + n + " = " + p
		names[n], values[p] = attribute, text(v)
		i++
	}
	if len(values) == 0 {
		values = nil
	}
	return condition, names, values
}

// textsOf returns the text attributes of an item but its key, nil for no item.
func textsOf(it item) map[string]string {
	if len(it) == 0 {
		return nil
	}
	values := map[string]string{}
	for attribute, v := range it {
		if t, ok := v.(*types.AttributeValueMemberS); ok && attribute != kindKey && attribute != nameKey {
			values[attribute] = t.Value
		}
	}
	return values
}
