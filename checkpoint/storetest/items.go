package storetest

import (
	"context"
	"maps"
	"sync"
)

// Items is the state table's plain items in memory. The zero value is an empty table that never fails.
type Items struct {
	// Script says what becomes of a call; see [Memory]. The call's Change is nil.
	Script func(Call) Fault

	mu    sync.Mutex
	items map[key]map[string]string
}

type key struct{ kind, name string }

// ItemStore is what the state table offers. Users declare the part of it that they need.
type ItemStore interface {
	// Put writes an item whole, whether it was there or not.
	Put(ctx context.Context, kind, name string, values map[string]string) error
	// PutIfAbsent writes an item unless it is there; put is false if it is.
	PutIfAbsent(ctx context.Context, kind, name string, values map[string]string) (put bool, err error)
	// Delete removes an item, if it is there.
	Delete(ctx context.Context, kind, name string) error
	// Query returns all items of a kind by name.
	Query(ctx context.Context, kind string) (map[string]map[string]string, error)
}

// As returns the table as one caller sees it, so that the script can tell callers apart.
func (s *Items) As(caller string) ItemStore { return itemsOf{s, caller} }

// Put implements [ItemStore].
func (s *Items) Put(ctx context.Context, kind, name string, values map[string]string) error {
	return s.As("").Put(ctx, kind, name, values)
}

// PutIfAbsent implements [ItemStore].
func (s *Items) PutIfAbsent(ctx context.Context, kind, name string, values map[string]string) (bool, error) {
	return s.As("").PutIfAbsent(ctx, kind, name, values)
}

// Delete implements [ItemStore].
func (s *Items) Delete(ctx context.Context, kind, name string) error {
	return s.As("").Delete(ctx, kind, name)
}

// Query implements [ItemStore].
func (s *Items) Query(ctx context.Context, kind string) (map[string]map[string]string, error) {
	return s.As("").Query(ctx, kind)
}

type itemsOf struct {
	*Items
	caller string
}

func (s itemsOf) call(ctx context.Context, do func()) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	var f Fault
	if s.Script != nil {
		f = s.Script(Call{Caller: s.caller})
	}
	return f.carryOut(ctx, func() error {
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.items == nil {
			s.items = map[key]map[string]string{}
		}
		do()
		return nil
	})
}

func (s itemsOf) Put(ctx context.Context, kind, name string, values map[string]string) error {
	return s.call(ctx, func() { s.items[key{kind, name}] = maps.Clone(values) })
}

func (s itemsOf) PutIfAbsent(ctx context.Context, kind, name string, values map[string]string) (put bool, err error) {
	err = s.call(ctx, func() {
		if _, there := s.items[key{kind, name}]; !there {
			s.items[key{kind, name}] = maps.Clone(values)
			put = true
		}
	})
	return put && err == nil, err
}

func (s itemsOf) Delete(ctx context.Context, kind, name string) error {
	return s.call(ctx, func() { delete(s.items, key{kind, name}) })
}

func (s itemsOf) Query(ctx context.Context, kind string) (map[string]map[string]string, error) {
	found := map[string]map[string]string{}
	err := s.call(ctx, func() {
		for k, values := range s.items {
			if k.kind == kind {
				found[k.name] = maps.Clone(values)
			}
		}
	})
	if err != nil {
		return nil, err
	}
	return found, nil
}
