package viewfile

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"penstock/order"
	"penstock/view"
	"penstock/view/viewtest"
)

func exampleFiles(t testing.TB) []string {
	t.Helper()
	files, err := filepath.Glob("examples/*/view.yaml")
	if err != nil || len(files) == 0 {
		t.Fatalf("no examples: %v", err)
	}
	return files
}

func FuzzLoad(f *testing.F) {
	for _, file := range exampleFiles(f) {
		text, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(text)
	}
	f.Add([]byte(sound))
	f.Add([]byte(poisoned))
	f.Add([]byte("view: v\nevent: {}\ntables: {}\non: {}\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		v, _, err := Load("view.yaml", text)
		if err != nil {
			mistakes, ok := errors.AsType[*Mistakes](err)
			if !ok || len(mistakes.List) == 0 || v != nil {
				t.Fatalf("%v: is not what a refusal is", err)
			}
			for _, m := range mistakes.List {
				if m.Line < 1 || m.Column < 1 || m.Rule == "" || m.Do == "" {
					t.Errorf("%+v: lacks a part", m)
				}
			}
			return
		}
		if err := view.Check(v); err != nil {
			t.Errorf("the view is not sound: %v", err)
		}
		again, _, err := Load("definition", v.Definition())
		if err != nil {
			t.Fatalf("the definition is refused: %v\n%s", err, v.Definition())
		}
		if again.Revision() != v.Revision() || v.RevisionWithout(nil) != v.Revision() {
			t.Errorf("the definition is another one:\n%s\n%s", v.Definition(), again.Definition())
		}
		if change, err := Compare(v.Definition(), again); err != nil || change.Kind != Same {
			t.Errorf("compared with itself: %v, %v", change, err)
		}
		result, err := v.Project(view.Record{Data: []byte(soundEvent), Arrival: goldenArrival})
		if _, ok := view.AsPoison(err); err != nil && !ok {
			t.Errorf("%v: is not poison", err)
		}
		for _, m := range result.Mutations {
			if err := viewtest.Conform(v.Tables(), m); err != nil {
				t.Error(err)
			}
		}
	})
}

func FuzzProject(f *testing.F) {
	var views []*View
	for _, file := range exampleFiles(f) {
		views = append(views, loadExample(f, filepath.Base(filepath.Dir(file))))
	}
	views = append(views, mustLoad(f, poisoned), mustLoad(f, sound+"others: ignore\n"))
	events, err := filepath.Glob("examples/*/events/*.json")
	if err != nil || len(events) == 0 {
		f.Fatalf("no events: %v", err)
	}
	for _, file := range events {
		data, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
		f.Add(data[:len(data)/2])
		f.Add([]byte(strings.Replace(string(data), `"`, `"\u0061`, 3)))
	}
	f.Add([]byte(soundEvent))
	f.Fuzz(func(t *testing.T, data []byte) {
		before := string(data)
		for _, v := range views {
			record := view.Record{Data: data, Arrival: goldenArrival}
			result, err := v.Project(record)
			again := decision(v, record)
			if string(data) != before {
				t.Fatal("Project changed the record")
			}
			if again != decision(v, record) {
				t.Fatalf("%s: Project differs on the same record", v.Name())
			}
			if err != nil {
				poison, ok := view.AsPoison(err)
				switch {
				case !ok:
					t.Fatalf("%v: is not poison", err)
				case !slices.Contains(view.Codes(), poison.Code) || len(poison.Err.Error()) > 600:
					t.Errorf("%v: unknown code, or too long a message", err)
				}
				continue
			}
			for _, m := range result.Mutations {
				if err := viewtest.Conform(v.Tables(), m); err != nil {
					t.Errorf("%s: %v", v.Name(), err)
				}
			}
			if v.Name() == "order" && again != decision(order.View{}, record) {
				t.Errorf("the order view in Go decides otherwise:\n%s\n%s", again, decision(order.View{}, record))
			}
		}
	})
}
