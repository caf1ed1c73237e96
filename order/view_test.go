package order

import (
	"sync"
	"testing"

	"penstock/view"
	"penstock/view/viewtest"
)

func TestTablesAreSound(t *testing.T) {
	if err := view.Check(View{}); err != nil {
		t.Error(err)
	}
}

func TestGoldenMutationsFitTheirTables(t *testing.T) {
	for name, data := range goldenEvents(t) {
		result, err := project(data)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range result.Mutations {
			if err := viewtest.Conform(View{}.Tables(), m); err != nil {
				t.Errorf("%s: %v", name, err)
			}
		}
	}
}

func TestProjectIsSafeForConcurrentUse(t *testing.T) {
	events := goldenEvents(t)
	events["broken"] = []byte(sound[:len(sound)/2])
	outcome := func(data []byte) string {
		result, err := project(data)
		if err != nil {
			return err.Error()
		}
		return describe(result)
	}
	want := map[string]string{}
	for name, data := range events {
		want[name] = outcome(data)
	}
	var workers sync.WaitGroup
	for range 4 {
		workers.Go(func() {
			for range 20 {
				for name, data := range events {
					if got := outcome(data); got != want[name] {
						t.Errorf("%s: got\n%s\nwant\n%s", name, got, want[name])
					}
				}
			}
		})
	}
	workers.Wait()
}
