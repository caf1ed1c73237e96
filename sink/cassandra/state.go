package cassandra

import (
	"context"
	"errors"
	"fmt"

	"github.com/apache/cassandra-gocql-driver/v2"

	"penstock/sink"
	"penstock/view"
)

// The state of a view is changed by lightweight transactions only, so it is read serially.
const (
	insertStateCQL = `INSERT INTO %s.view_state (name, active_generation, revisions, epoch, effective_at) ` +
		`VALUES (?, ?, ?, 1, toTimestamp(now())) IF NOT EXISTS`
	addRevisionCQL = `UPDATE %s.view_state SET revisions[?] = ? WHERE name = ? IF revisions[?] = null`
	revisionsCQL   = `SELECT revisions FROM %s.view_state WHERE name = ?`
)

// RevisionError says that a generation holds another revision of the view than this program writes.
type RevisionError struct {
	View       string
	Generation view.Generation
	Stored     string // empty: the generation is not registered
	Ours       string
}

func (e *RevisionError) Error() string {
	if e.Stored == "" {
		return fmt.Sprintf("view %s, generation %d: not registered in view_state: run projector setup", e.View, e.Generation)
	}
	return fmt.Sprintf("view %s, generation %d: holds revision %s, this program writes %s: two revisions in one table would mix with equal stamps; run the release that has %s, or build a new generation",
		e.View, e.Generation, e.Stored, e.Ours, e.Stored)
}

// CheckRevision refuses a generation that belongs to another revision of the view: the error is then a fatal
// [*sink.Error] around a [*RevisionError].
func (s *Session) CheckRevision(ctx context.Context, v view.View, g view.Generation) error {
	stored, err := s.revisions(ctx, v)
	if err != nil {
		return err
	}
	if stored[int(g)] != v.Revision() {
		return &sink.Error{Disposition: sink.Fatal, Op: "check the revision", Err: &RevisionError{
			View: v.Name(), Generation: g, Stored: stored[int(g)], Ours: v.Revision()}}
	}
	return nil
}

func (s *Session) revisions(ctx context.Context, v view.View) (map[int]string, error) {
	var stored map[int]string
	err := s.driver.Query(fmt.Sprintf(revisionsCQL, s.keyspace), v.Name()).
		Consistency(gocql.LocalSerial).ScanContext(ctx, &stored)
	if err != nil && !errors.Is(err, gocql.ErrNotFound) {
		return nil, wrap("read the view's state", err)
	}
	return stored, nil
}

// registerRevision records that generation g holds v's revision, unless it is recorded already. The first generation
// ever registered becomes the active one.
func (s *Session) registerRevision(ctx context.Context, v view.View, g view.Generation) error {
	revisions := map[int]string{int(g): v.Revision()}
	created, err := s.compareAndSet(ctx, fmt.Sprintf(insertStateCQL, s.keyspace), v.Name(), int(g), revisions)
	if err != nil || created {
		return err
	}
	if _, err := s.compareAndSet(ctx, fmt.Sprintf(addRevisionCQL, s.keyspace), int(g), v.Revision(), v.Name(), int(g)); err != nil {
		return err
	}
	return s.CheckRevision(ctx, v, g)
}

func (s *Session) compareAndSet(ctx context.Context, cql string, args ...any) (applied bool, err error) {
	applied, err = s.driver.Query(cql, args...).MapScanCASContext(ctx, map[string]any{})
	return applied, wrap("write the view's state", err)
}
