package viewfile

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
)

// Scaffold reads sample events and proposes a file for them: where an event's own properties stand, one table for the
// entity, a revisable column for every property, and what each type of event sets. What it is unsure of is returned and
// stands in the file as comments, each beginning with "# ?". The file is one that [Load] accepts: it converges, whether or
// not it says what its author wants. The error names the sample that is no event.
func Scaffold(samples [][]byte) (file []byte, unsure []string, err error) {
	if len(samples) == 0 {
		return nil, nil, errors.New("propose a view: there are no sample events")
	}
	s := scaffold{types: map[string]*sampledType{}, columns: map[string]*sampledColumn{}}
	for i, data := range samples {
		doc, err := sampleObject(data)
		if err != nil {
			return nil, nil, fmt.Errorf("read sample %d of %d: %w", i+1, len(samples), err)
		}
		s.samples = append(s.samples, doc)
	}
	s.findEnvelope()
	s.findEvent()
	s.findColumns()
	file = s.write()
	if _, _, err := Load("proposal", file); err != nil {
		return nil, nil, fmt.Errorf("propose a view: the samples lead to a file that is refused: %w", err)
	}
	return file, s.unsure, nil
}

func sampleObject(data []byte) (map[string]any, error) {
	d := json.NewDecoder(bytes.NewReader(data))
	d.UseNumber()
	var value any
	if err := d.Decode(&value); err != nil {
		return nil, err
	}
	doc, ok := value.(map[string]any)
	if !ok {
		return nil, fmt.Errorf("%s: must be a JSON object", shorten(string(bytes.TrimSpace(data))))
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("must be one JSON object, not several values")
	}
	return doc, nil
}

// scaffold is a proposal in the making.
type scaffold struct {
	samples  []map[string]any
	envelope string
	lead     string // where the entity's properties stand: "", /data or /row
	unsure   []string

	id, typ, version, time *property
	entity                 *property
	name                   string
	types                  map[string]*sampledType
	columns                map[string]*sampledColumn // by name
	taken                  map[string]bool           // pointers that say something of the event
}

// property is a place that the proposal uses, with the way it is read.
type property struct {
	pointer string
	as      string // empty for the default
	cql     string
}

func (p property) String() string {
	if p.as == "" {
		return quotePointer(p.pointer)
	}
	return fmt.Sprintf("{path: %s, as: %s}", quotePointer(p.pointer), p.as)
}

// quotePointer quotes a pointer only where YAML would read it as something else.
func quotePointer(p string) string {
	for i := range len(p) {
		c := p[i]
		if c != '/' && c != '_' && c != '-' && (c < '0' || c > '9') && (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') {
			return quote(p)
		}
	}
	return p
}

// sampledType is an event type that samples have.
type sampledType struct {
	count int
	seen  map[string]int // samples that say a column
}

// sampledColumn is a column proposed for a property.
type sampledColumn struct {
	property property
	fields   []string // of the elements of an array of objects: its own type is made of them
	types    map[string]string
	key      string
}

func (s *scaffold) doubt(format string, args ...any) {
	s.unsure = append(s.unsure, fmt.Sprintf(format, args...))
}

func has(doc map[string]any, names ...string) bool {
	for _, n := range names {
		if _, ok := doc[n]; !ok {
			return false
		}
	}
	return true
}

func (s *scaffold) findEnvelope() {
	s.envelope = envelopePlain
	every := func(test func(doc map[string]any) bool) bool {
		return !slices.ContainsFunc(s.samples, func(doc map[string]any) bool { return !test(doc) })
	}
	switch {
	case every(func(doc map[string]any) bool { return has(doc, "specversion", "type", "source", "data") }):
		s.envelope, s.lead = envelopeCloudEvents, "/data"
	case every(func(doc map[string]any) bool {
		return has(change(doc), "op", "source") && (has(change(doc), "after") || has(change(doc), "before"))
	}):
		s.envelope, s.lead = envelopeDebezium, "/row"
		for i, doc := range s.samples {
			s.samples[i] = withRow(change(doc))
		}
	}
	if slices.ContainsFunc(s.samples, func(doc map[string]any) bool { return has(doc, "specversion", "data") }) && s.envelope == envelopePlain {
		s.doubt("some samples are CloudEvents and others are not: give each kind of event a stream and a view of its own")
	}
}

// change unwraps a change event.
func change(doc map[string]any) map[string]any {
	if payload, ok := doc["payload"].(map[string]any); ok {
		return payload
	}
	return doc
}

// withRow adds the row that /row stands for.
func withRow(doc map[string]any) map[string]any {
	out := maps.Clone(doc)
	out["row"] = doc["after"]
	if doc["after"] == nil {
		out["row"] = doc["before"]
	}
	return out
}

// The names under which producers have an event's properties, the likeliest first. Capitals and underscores make no
// difference: aggregateVersion is aggregate_version.
var (
	typeNames    = []string{"type", "event_type", "kind", "event", "event_name", "action", "op", "name"}
	idNames      = []string{"event_id", "id", "uuid", "message_id"}
	versionNames = []string{"version", "aggregate_version", "entity_version", "lsn", "sequence", "seq", "sequence_number", "revision", "offset",
		"event_version"}
	timeNames = []string{"time", "timestamp", "at", "occurred_at", "event_time", "created_at", "updated_at", "ts", "ts_ms", "date"}
)

// isVersionName tells whether a name that is none of versionNames may be that of a version: of what it is one, nobody can
// know. These versions are not the entity's.
func isVersionName(name string) bool {
	return strings.HasSuffix(name, "_version") &&
		!slices.Contains([]string{"schema_version", "spec_version", "api_version", "app_version", "format_version", "data_version", "client_version"}, name)
}

// findEvent finds the event's own properties.
func (s *scaffold) findEvent() {
	s.taken = map[string]bool{}
	switch s.envelope {
	case envelopeCloudEvents:
		s.typ, s.id, s.time = &property{pointer: "/type"}, &property{pointer: "/id"}, &property{pointer: "/time"}
		s.version = s.findVersion("/data", "")
	case envelopeDebezium:
		s.typ, s.time = &property{pointer: "/op"}, &property{pointer: "/ts_ms", as: "epoch_ms"}
		s.version = s.find([]string{"lsn", "scn", "pos", "ts_us", "ts_ms"}, isVersion, "/source")
	default:
		s.typ = s.find(typeNames, isText, "")
		s.id = s.find(idNames, isText, "")
		s.version = s.findVersion("", "/payload", "/data", "/metadata", "/meta")
		s.time = s.find(timeNames, isTime, "", "/payload", "/data", "/metadata", "/meta")
	}
	fallback := func(p **property, what, pointer, as, advice string) {
		if *p == nil {
			*p = &property{pointer: pointer, as: as}
			s.doubt("no sample shows the event's %s; %s stands for it here: %s", what, pointer, advice)
		}
	}
	fallback(&s.typ, "type", "/type", "", "say where it is")
	fallback(&s.version, "version", s.lead+"/version", "",
		"say where an integer is that grows with every event of an entity, such as a count or a log sequence number")
	fallback(&s.time, "time", "/time", "", "say where it is")
	for _, p := range []*property{s.id, s.typ, s.version, s.time} {
		if p != nil {
			s.taken[p.pointer] = true
		}
	}
	s.doubt("version is %s: it must grow with every event of one entity, and no two of its events may share one", s.version.pointer)
	if s.id == nil && s.envelope == envelopePlain {
		s.doubt("no sample shows the event's id: without one an event is known by its version alone")
	}
	s.findEntity()
}

// findVersion finds an integer that is called a version.
func (s *scaffold) findVersion(within ...string) *property {
	if found := s.find(versionNames, isVersion, within...); found != nil {
		return found
	}
	return s.findWhere(isVersionName, isVersion, within...)
}

// find returns the first property of one of the names that every sample has in a fitting form.
func (s *scaffold) find(names []string, fits func(values []any) (as string, ok bool), within ...string) *property {
	for _, name := range names {
		plain := strings.ReplaceAll(name, "_", "")
		if found := s.findWhere(func(member string) bool { return member == name || member == plain }, fits, within...); found != nil {
			return found
		}
	}
	return nil
}

// findWhere returns the first property with a name, in snake_case, that will do, and that every sample has in a fitting
// form.
func (s *scaffold) findWhere(will func(name string) bool, fits func(values []any) (as string, ok bool), within ...string) *property {
	for _, outer := range within {
		for _, member := range s.members(outer) {
			if !will(strings.ToLower(snake(member))) {
				continue
			}
			pointer := outer + "/" + escapeToken(member)
			if as, ok := fits(s.values(pointer)); ok {
				return &property{pointer: pointer, as: as}
			}
		}
	}
	return nil
}

// members returns the names of members that an object has in any sample, in their order.
func (s *scaffold) members(pointer string) []string {
	names := map[string]bool{}
	for _, doc := range s.samples {
		if object, ok := lookUp(doc, pointer).(map[string]any); ok {
			for name := range object {
				names[name] = true
			}
		}
	}
	return slices.Sorted(maps.Keys(names))
}

// values returns the value at a pointer in each sample, nil where it is not there.
func (s *scaffold) values(pointer string) []any {
	var out []any
	for _, doc := range s.samples {
		out = append(out, lookUp(doc, pointer))
	}
	return out
}

func lookUp(doc any, text string) any {
	p, err := parsePointer(text)
	if err != nil {
		return nil
	}
	for _, token := range p.tokens {
		object, ok := doc.(map[string]any)
		if !ok {
			return nil
		}
		doc = object[token]
	}
	return doc
}

// findEntity finds what the version orders: an id that every sample has.
func (s *scaffold) findEntity() {
	prefix := ""
	if first, ok := lookUp(s.samples[0], s.typ.pointer).(string); ok && s.envelope != envelopeDebezium {
		prefix, _, _ = strings.Cut(strings.ToLower(first), ".")
	}
	var best *property
	score := 0
	for _, outer := range []string{s.lead, s.lead + "/payload", "/payload", "/data", ""} {
		for _, member := range s.members(outer) {
			pointer := outer + "/" + escapeToken(member)
			lower := strings.ToLower(snake(member))
			points := 0
			switch {
			case s.taken[pointer]:
			case prefix != "" && lower == prefix+"_id":
				points = 5
			case lower == "aggregate_id" || lower == "entity_id":
				points = 4
			case lower == "id":
				points = 3
			case strings.HasSuffix(lower, "_id"):
				points = 2
			case lower == "key" || lower == "sku" || lower == "code" || lower == "number":
				points = 1
			}
			cql, as, ok := inferScalar(s.values(pointer))
			if points > score && ok && !slices.Contains(s.values(pointer), nil) && (cql == "text" || cql == "bigint" || cql == "uuid") {
				best, score = &property{pointer, as, cql}, points
			}
		}
	}
	if best == nil {
		best = &property{pointer: s.lead + "/id", cql: "text"}
		s.doubt("no sample shows an id of the entity; %s stands for it here: say what the version orders", best.pointer)
	} else {
		s.doubt("the entity is %s: say so if the version orders something else, or if several places name it together", best.pointer)
	}
	s.entity = best
	s.taken[best.pointer] = true
	last := best.pointer[strings.LastIndexByte(best.pointer, '/')+1:]
	s.name = identifierOf(strings.TrimSuffix(snake(last), "_id"))
	switch {
	case s.envelope == envelopeDebezium:
		if table, ok := lookUp(s.samples[0], "/source/table").(string); ok {
			s.name = identifierOf(snake(table))
		}
	case prefix != "" && strings.Contains(fmt.Sprint(lookUp(s.samples[0], s.typ.pointer)), "."):
		s.name = identifierOf(prefix)
	}
}
