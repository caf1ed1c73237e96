package viewfile

import (
	"fmt"
	"runtime"
	"strings"
	"testing"

	"penstock/view"
)

// largeEvent is an order of about a mebibyte with 10,000 lines.
func largeEvent() []byte {
	var lines []string
	for i := range 10_000 {
		lines = append(lines, fmt.Sprintf(`{"line_id":"line-%d","sku":"SKU-%d","name":"A good with a name","quantity":%d,"unit_price_minor":%d}`, i, i*7, 1+i%9, i))
	}
	return fmt.Appendf(nil, `{"specversion":"1.0","id":"e","source":"/s","type":"order.placed.v1","time":"2026-11-21T10:00:00Z","data":{"order_id":`+
		`"0f9a5d1e-6c1b-4a7e-8f3d-2b9c4e5d6a70","customer_id":"c","placed_at":"2026-11-21T10:00:00Z","version":1,"currency":"EUR","lines":[%s]}}`, strings.Join(lines, ","))
}

func BenchmarkLargeEvent(b *testing.B) {
	v := loadExample(b, "order")
	record := view.Record{Data: largeEvent(), Arrival: goldenArrival}
	b.SetBytes(int64(len(record.Data)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := v.Project(record); err != nil {
			b.Fatal(err)
		}
	}
}

// unusedFields is an event with n members that no path leads to.
func unusedFields(n int) []byte {
	var b strings.Builder
	b.WriteString(soundEvent[:len(soundEvent)-1])
	for i := range n {
		fmt.Fprintf(&b, `,"unused_%d":{"a":[1,2,{"b":"text"}],"c":null}`, i)
	}
	b.WriteString("}")
	return []byte(b.String())
}

func BenchmarkUnusedFields(b *testing.B) {
	v := mustLoad(b, poisoned)
	for _, n := range []int{0, 10, 100} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			record := view.Record{Data: unusedFields(n), Arrival: goldenArrival}
			b.ReportAllocs()
			for b.Loop() {
				if _, err := v.Project(record); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// TestUnusedFieldsAllocateNothing counts bytes of one run, event after event: the pool that keeps runs may lose one.
func TestUnusedFieldsAllocateNothing(t *testing.T) {
	v := mustLoad(t, poisoned)
	wideObjects := func(n int) []byte {
		var b strings.Builder
		b.WriteString(soundEvent[:len(soundEvent)-1])
		for i := range n {
			fmt.Fprintf(&b, `,"wide_%d":{"m0":0`, i)
			for j := range 40 {
				fmt.Fprintf(&b, `,"m%d":null`, j+1)
			}
			b.WriteString("}")
		}
		return []byte(b.String() + "}")
	}
	allocated := func(data []byte) uint64 {
		record, r := view.Record{Data: data, Arrival: goldenArrival}, v.runs.New().(*run)
		project := func() {
			r.begin(v, record)
			if _, err := v.project(r); err != nil {
				t.Fatal(err)
			}
			r.end()
		}
		project() // its stacks grow once
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		for range 20 {
			project()
		}
		runtime.ReadMemStats(&after)
		return (after.TotalAlloc - before.TotalAlloc) / 20
	}
	none := allocated([]byte(soundEvent))
	for name, data := range map[string][]byte{"1000 members": unusedFields(1000), "2500 wide objects": wideObjects(2500)} {
		if most := none + uint64(len(data))/10; allocated(data) > most {
			t.Errorf("%s: more than %d bytes are allocated, %d without them", name, most, none)
		}
	}
}

// longFile is a file of 500 lines.
func longFile() []byte {
	var b strings.Builder
	b.WriteString(sound)
	for i := 0; strings.Count(b.String(), "\n") < 500; i++ {
		fmt.Fprintf(&b, "  type%d:\n    stock:\n      set:\n        on_hand: {path: /other/on_hand_%d, require: {min: 0, max: 1000000}, optional: true}\n", i, i)
	}
	return []byte(b.String())
}

func BenchmarkLoad500Lines(b *testing.B) {
	text := longFile()
	for b.Loop() {
		if _, _, err := Load("view.yaml", text); err != nil {
			b.Fatal(err)
		}
	}
}

func TestALongFileLoads(t *testing.T) {
	text := longFile()
	if lines := strings.Count(string(text), "\n"); lines < 500 {
		t.Fatalf("%d lines", lines)
	}
	if _, _, err := Load("view.yaml", text); err != nil {
		t.Error(err)
	}
	if data := largeEvent(); len(data) < 1<<20 {
		t.Errorf("the large event has %d bytes", len(data))
	}
}
