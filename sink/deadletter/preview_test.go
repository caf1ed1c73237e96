package deadletter

import (
	"encoding/json"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func TestPreviewsShowNamesAndTypes(t *testing.T) {
	for payload, want := range map[string]string{
		`{"id":"e-1","data":{"version":7,"gift":true,"note":null,"lines":[{"sku":"TEA"},{"sku":"CUPS"},{"sku":"X"},7]}}`: `{id: text(3), data: {version: number, gift: boolean, note: null, ` +
			`lines: [{sku: text(3)}, {sku: text(4)}, and 2 more]}}`,
		`{"c-81723":1,"Jane Doe":{"jane@example.org":"x"},"":2}`: `{name(7): number, name(8): {name(16): text(1)}, name(0): number}`,
		``:                       `empty`,
		`order placed`:           `no JSON, 12 bytes`,
		"\x00\xff":               `no JSON, 2 bytes`,
		`"Zoë"`:                  `text(3)`,
		`[]`:                     `[]`,
		`{}`:                     `{}`,
		`{} {}`:                  `{} and more behind it`,
		`{"a":{"b":"Jane Do`:     `{a: {b:  damaged at byte 9 of 18`,
		`{"name":"Jane","na`:     `{name: text(4) damaged at byte 14 of 18`,
		"{\"name\":\"J\xffne\"}": `{name: text(4)}`,
		`{"a":1,"a":"x"}`:        `{a: number, a: text(1)}`,
		strings.Repeat("[", 11) + "7" + strings.Repeat("]", 11): strings.Repeat("[", 10) + "…" + strings.Repeat("]", 10),
	} {
		if got := (Letter{Payload: []byte(payload)}).Preview(); got != want {
			t.Errorf("%.60q:\ngot  %s\nwant %s", payload, got, want)
		}
	}
}

func TestPreviewsAreBounded(t *testing.T) {
	for name, payload := range map[string]string{
		"many members": "{" + strings.Repeat(`"member":"value",`, 50_000) + `"last":1}`,
		"deep":         strings.Repeat(`{"a":`, 200_000),
		"long array":   "[" + strings.Repeat(`{"name":"x"},`, 50_000) + "1]",
		"long text":    `"` + strings.Repeat("x", 1<<20) + `"`,
	} {
		if got := (Letter{Payload: []byte(payload)}).Preview(); len(got) > maxPreview+200 {
			t.Errorf("%s: %d bytes", name, len(got))
		}
	}
}

// Whatever a value holds, and wherever the payload is cut off or spoilt, nothing of it shows.
func TestPreviewsShowNoValue(t *testing.T) {
	const mark = "Zqx"
	text := rapid.Custom(func(t *rapid.T) string {
		return mark + rapid.StringN(0, 20, -1).Draw(t, "text") + mark
	})
	id := rapid.Custom(func(t *rapid.T) string { return mark + rapid.StringMatching(`[0-9@ .]{1,9}`).Draw(t, "id") })
	var value func(depth int) *rapid.Generator[any]
	value = func(depth int) *rapid.Generator[any] {
		return rapid.Custom(func(t *rapid.T) any {
			kinds := 3
			if depth > 0 {
				kinds = 5
			}
			switch rapid.IntRange(0, kinds-1).Draw(t, "kind") {
			case 0:
				return text.Draw(t, "value")
			case 1:
				return 97531
			case 2:
				return nil
			case 3:
				return rapid.SliceOfN(value(depth-1), 0, 4).Draw(t, "array")
			default:
				return rapid.MapOfN(rapid.OneOf(rapid.SampledFrom([]string{"id", "data", "customer_id"}), id), value(depth-1), 0, 4).Draw(t, "object")
			}
		})
	}
	rapid.Check(t, func(t *rapid.T) {
		payload, err := json.Marshal(value(4).Draw(t, "payload"))
		if err != nil {
			t.Fatal(err)
		}
		payload = payload[:rapid.IntRange(0, len(payload)).Draw(t, "cut")]
		if len(payload) > 0 && rapid.Bool().Draw(t, "spoil") {
			payload[rapid.IntRange(0, len(payload)-1).Draw(t, "at")] = rapid.Byte().Draw(t, "byte")
		}
		got := Letter{Payload: payload}.Preview()
		if strings.Contains(got, mark) || strings.Contains(got, "97531") {
			t.Fatalf("%s\nshows of\n%s", got, payload)
		}
	})
}
