package cli

import (
	"errors"
	"fmt"

	"go.uber.org/zap"

	"penstock/config"
	"penstock/sink/cassandra"
	"penstock/view"
	"penstock/view/viewfile"
)

// FileView is a view from a file.
type FileView struct {
	*viewfile.View
	warnings []viewfile.Warning // what its author should know
}

var _ cassandra.Comparer = FileView{}

// ReadView reads a view from the text of a file. The error is a [*config.Error] with every mistake in it.
func ReadView(file string, text []byte) (FileView, error) {
	v, warnings, err := viewfile.Load(file, text)
	refused, ok := errors.AsType[*viewfile.Mistakes](err)
	if !ok {
		return FileView{v, warnings}, err
	}
	invalid := &config.Error{}
	for _, m := range refused.List {
		rule := m.Rule
		if m.Do != "" {
			rule += ": " + m.Do
		}
		invalid.Mistakes = append(invalid.Mistakes, config.Mistake{Key: m.Where, Rule: rule,
			Origin: config.Origin{Layer: config.File, Name: m.File, Line: m.Line, Column: m.Column}})
	}
	return FileView{}, invalid
}

// Warn tells the log what the file's author should know.
func (v FileView) Warn(log *zap.Logger) {
	for _, w := range v.warnings {
		log.Warn("the view's file may not be as it was meant", zap.String("file", w.File), zap.Int("line", w.Line), zap.String("reason", w.Text))
	}
}

// Compare implements [cassandra.Comparer].
func (v FileView) Compare(definition []byte) (added []view.ColumnRef, differs []string, err error) {
	change, err := viewfile.Compare(definition, v.View)
	if err != nil {
		return nil, nil, fmt.Errorf("compare the view's definitions: %w", err)
	}
	return change.Added, change.Why, nil
}
