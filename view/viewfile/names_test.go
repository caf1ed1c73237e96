package viewfile

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/go-json-experiment/json/jsontext"
	"pgregory.net/rapid"

	"penstock/view"
)

// strict tells whether the decoder itself, which knows of names that stand twice, takes the text for one JSON value.
func strict(data []byte) bool {
	d := jsontext.NewDecoder(bytes.NewReader(data))
	if d.SkipValue() != nil {
		return false
	}
	_, err := d.ReadToken()
	return err != nil && err.Error() == "EOF"
}

func TestNamesThatStandTwiceAreFoundAsTheDecoderWould(t *testing.T) {
	root := newRoot()
	root.descend(mustPointer("/a/b"))
	root.descend(mustPointer("/list")).elements().descend(mustPointer("/a"))
	root.seal()
	accepted, refused := 0, 0
	rapid.Check(t, func(t *rapid.T) {
		names := []string{`"a"`, `"b"`, `"list"`, `"\u0061"`, `"é"`, `"\u00e9"`, `""`}
		for i := range rapid.SampledFrom([]int{0, 0, 30, 100}).Draw(t, "more names") {
			names = append(names, fmt.Sprintf(`"name-%d"`, i))
		}
		var value func(depth int) string
		value = func(depth int) string {
			switch kind := rapid.IntRange(0, 5).Draw(t, "kind"); {
			case kind < 2 && depth < 4:
				var members []string
				for _, name := range rapid.SliceOfN(rapid.SampledFrom(names), 0, 6).Draw(t, "names") {
					members = append(members, name+":"+value(depth+1))
				}
				return "{" + strings.Join(members, ",") + "}"
			case kind == 2 && depth < 4:
				return "[" + value(depth+1) + ", " + value(depth+1) + "]"
			}
			return rapid.SampledFrom([]string{"1", "null", `"x"`}).Draw(t, "scalar")
		}
		var members []string
		for _, name := range names[:rapid.IntRange(0, len(names)).Draw(t, "members")] {
			if name != `"\u0061"` && name != `"\u00e9"` || rapid.IntRange(0, 9).Draw(t, "twice") == 0 {
				members = append(members, name+" : "+value(0))
			}
		}
		data := []byte("{" + strings.Join(members, ",") + "}")
		var r reader
		r.start(data, string(data), root.size)
		r.readEvent(root)
		if want := strict(data); (r.broken == nil) != want {
			t.Fatalf("%s: got %v, the decoder says %t", data, r.broken, want)
		} else if want {
			accepted++
		} else {
			refused++
		}
	})
	if accepted == 0 || refused == 0 {
		t.Errorf("%d accepted and %d refused: both must happen", accepted, refused)
	}
}

func TestAWideObjectIsReadOnce(t *testing.T) {
	doc := map[string]any{}
	for i := range 5000 {
		doc[fmt.Sprintf("member_%d", i)] = map[string]any{"a": i, "b": []any{i}}
	}
	data, err := json.Marshal(doc)
	if err != nil {
		t.Fatal(err)
	}
	sound := append(bytes.TrimSuffix([]byte(soundEvent), []byte("}")), append([]byte(","), data[1:]...)...)
	v := mustLoad(t, poisoned)
	if _, err := v.Project(view.Record{Data: sound, Arrival: goldenArrival}); err != nil {
		t.Fatal(err)
	}
	twice := append(bytes.TrimSuffix(sound, []byte("}")), []byte(`,"member_17":1}`)...)
	_, err = v.Project(view.Record{Data: twice, Arrival: goldenArrival})
	if poison, ok := view.AsPoison(err); !ok || poison.Code != view.CodeBadJSON || !strings.Contains(err.Error(), "/member_17: byte") {
		t.Errorf("got %v", err)
	}
}
