package cassandra

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/apache/cassandra-gocql-driver/v2"

	"penstock/sink"
	"penstock/view"
)

// The state of a view is changed by lightweight transactions only, so it is read serially.
//
// A definition is written only beside the revision that is computed from it, and an addition only to the revision that it
// was found to add to: each condition names that revision.
const (
	insertStateCQL = `INSERT INTO %s.view_state (name, active_generation, revisions, epoch, effective_at) ` +
		`VALUES (?, ?, ?, 1, toTimestamp(now())) IF NOT EXISTS`
	addRevisionCQL   = `UPDATE %s.view_state SET revisions[?] = ? WHERE name = ? IF revisions[?] = null`
	addDefinitionCQL = `UPDATE %s.view_state SET definitions[?] = ? WHERE name = ? IF revisions[?] = ? AND definitions[?] = null`
	addAdditionCQL   = `UPDATE %s.view_state SET additions[?] = ? WHERE name = ? IF revisions[?] = ? AND additions[?] = null`

	revisionsCQL = `SELECT revisions FROM %s.view_state WHERE name = ?`
	stateCQL     = `SELECT revisions, definitions, additions FROM %s.view_state WHERE name = ?`
)

// CheckRevision refuses a generation that belongs to another revision of the view: the error is then a fatal
// [*sink.Error] around a [*RevisionError]. A view whose columns were added to the generation belongs to it, and so does
// one that lacks them: it writes a part of the cells, and those as the others do.
func (s *Session) CheckRevision(ctx context.Context, v view.View, g view.Generation) error {
	r, err := s.registration(ctx, v, g)
	if err != nil {
		return err
	}
	if refused := r.refuse(v, g); refused != nil {
		return revisionRefused(refused)
	}
	return nil
}

func revisionRefused(e *RevisionError) error {
	return &sink.Error{Disposition: sink.Fatal, Op: "check the revision", Err: e}
}

// Registered returns the revision that generation g of v was registered with, empty if it was not, and the columns that
// were added to it since, in the order of their names.
func (s *Session) Registered(ctx context.Context, v view.View, g view.Generation) (revision string, added []view.ColumnRef, err error) {
	r, err := s.registration(ctx, v, g)
	return r.revision, r.added(g), err
}

// registration is what view_state says of one generation of a view.
type registration struct {
	revision   string // empty: the generation is not registered
	definition string // that the revision was computed from; empty if it was not computed
	// additions are the columns that were added since, by the names they have in the keyspace (stock_g1.colour). The value
	// is the revision of the definition registered with that column alone. It is the same whichever other columns a
	// definition adds, and another one if the column has another type or is set from something else: two writers would then
	// write different values with one stamp.
	additions map[string]string
}

// addition is the name of an added column in view_state.
func addition(c view.ColumnRef, g view.Generation) string {
	return c.Table + g.Suffix() + "." + c.Column
}

// added returns the columns that were added to g.
func (r registration) added(g view.Generation) []view.ColumnRef {
	var out []view.ColumnRef
	for _, name := range slices.Sorted(maps.Keys(r.additions)) {
		table, column, _ := strings.Cut(name, ".")
		if base, ours := strings.CutSuffix(table, g.Suffix()); ours {
			out = append(out, view.ColumnRef{Table: base, Column: column})
		}
	}
	return out
}

// registration reads what view_state says of a generation. A view_state that an earlier release made has no definitions
// and no additions.
func (s *Session) registration(ctx context.Context, v view.View, g view.Generation) (registration, error) {
	var revisions, definitions map[int]string
	var r registration
	var err error
	_, extensible := v.(view.Extensible)
	if extensible {
		err = s.readState(ctx, stateCQL, v, &revisions, &definitions, &r.additions)
	}
	if !extensible || isInvalid(err) {
		err = s.readState(ctx, revisionsCQL, v, &revisions)
	}
	if err != nil && !errors.Is(err, gocql.ErrNotFound) {
		return registration{}, wrap("read the view's state", err)
	}
	r.revision, r.definition = revisions[int(g)], definitions[int(g)]
	return r, nil
}

func (s *Session) readState(ctx context.Context, cql string, v view.View, into ...any) error {
	return s.driver.Query(fmt.Sprintf(cql, s.keyspace), v.Name()).Consistency(gocql.LocalSerial).ScanContext(ctx, into...)
}

// register records that generation g holds v's revision, unless it is recorded already, and v's definition if that is the
// one the revision was computed from. The first generation ever registered becomes the active one.
func (s *Session) register(ctx context.Context, v view.View, g view.Generation) error {
	revisions := map[int]string{int(g): v.Revision()}
	created, err := s.compareAndSet(ctx, insertStateCQL, v.Name(), int(g), revisions)
	if err == nil && !created {
		_, err = s.compareAndSet(ctx, addRevisionCQL, int(g), v.Revision(), v.Name(), int(g))
	}
	e, extensible := v.(view.Extensible)
	if err != nil || !extensible {
		return err
	}
	_, err = s.compareAndSet(ctx, addDefinitionCQL, int(g), string(e.Definition()), v.Name(), int(g), v.Revision(), int(g))
	return err
}

// record writes down that columns were added to what r says. They must be in the tables.
func (s *Session) record(ctx context.Context, r registration, v view.Extensible, g view.Generation, added []view.ColumnRef) error {
	for name, alone := range r.additionsBy(v, g, added) {
		if _, err := s.compareAndSet(ctx, addAdditionCQL, name, alone, v.Name(), int(g), r.revision, name); err != nil {
			return err
		}
	}
	return nil
}

// compareAndSet tells whether the condition held. Whoever asks reads the state afterwards: somebody else may have
// written what was to be written.
func (s *Session) compareAndSet(ctx context.Context, cql string, args ...any) (applied bool, err error) {
	applied, err = s.driver.Query(fmt.Sprintf(cql, s.keyspace), args...).MapScanCASContext(ctx, map[string]any{})
	return applied, wrap("write the view's state", err)
}
