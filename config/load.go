package config

import (
	"errors"
	"fmt"
	"maps"
	"net"
	"os"
	"slices"
	"strings"

	"github.com/knadh/koanf/providers/confmap"
	"github.com/knadh/koanf/v2"
)

// Sources is where the configuration comes from.
type Sources struct {
	File  string            // path of a YAML file; empty for none
	Env   []string          // as os.Environ returns it
	Flags map[string]string // by key, such as "view.generation"; only those that were given
	Views []string          // names that view.name may have; empty for any
	// ReadView reads the text of the file that view.file names: the name and the revision of the view in it. The error is
	// an [*Error] with all that is wrong with the text. Nil: the file is not looked at.
	ReadView func(file string, text []byte) (name, revision string, err error)
}

// Load reads the sources, each going before those named before it, and the defaults below them all. The error is an
// [*Error] with every mistake of every source.
func Load(s Sources) (*Config, error) {
	l := &loader{wrong: map[string]bool{}}
	layers := []given{l.defaults()}
	if s.File != "" {
		layers = append(layers, l.file(s.File))
	}
	layers = append(layers, l.environment(s.Env), l.flags(s.Flags))

	merged := koanf.New(".")
	origins := map[string]Origin{}
	for _, g := range layers {
		l.contradictions(g)
		if err := merged.Load(confmap.Provider(g.values, "."), nil); err != nil {
			return nil, fmt.Errorf("merge configuration: %w", err)
		}
		maps.Copy(origins, g.origins)
	}

	c := &Config{settings: map[string]Setting{}}
	for _, k := range keys {
		l.apply(c, k, merged, origins)
	}
	if c.View.File != "" {
		l.viewFile(c, s)
	} else {
		l.views(c, s.Views)
	}
	l.credentials(c, origins)
	l.tls(c)
	l.listeners(c)
	l.requests(c)
	l.consumer(c)
	if len(l.mistakes) > 0 {
		sortMistakes(l.mistakes)
		return nil, &Error{Mistakes: l.mistakes}
	}
	return c, nil
}

// loader gathers mistakes while the layers are read.
type loader struct {
	mistakes []Mistake
	wrong    map[string]bool // keys and sections with a mistake of their own or meant by one, which need no second one
	unread   bool            // the file could not be read, so what is missing may stand there
}

func (l *loader) mistake(m Mistake) {
	l.mistakes = append(l.mistakes, m)
	l.wrong[m.Key] = true
}

func (l *loader) unknown(name string, origin Origin) {
	if _, ok := find(name); ok { // written with dots in one line
		section, key, _ := strings.Cut(name, ".")
		l.mistake(Mistake{Key: name, Rule: fmt.Sprintf("must be nested: %s below %s", key, section), Origin: origin})
		return
	}
	var candidates []string
	if !strings.Contains(name, ".") {
		candidates = sections()
	}
	for _, k := range keys {
		candidates = append(candidates, k.Name)
	}
	meant := suggest(name, candidates)
	l.wrong[meant] = true
	l.mistake(Mistake{Key: name, Rule: "is no key of ours", Suggestion: meant, Origin: origin})
}

// isMissing tells whether the absence of a key is a mistake of its own, and not the other side of one that was told.
func (l *loader) isMissing(k Key) bool {
	section, _, _ := strings.Cut(k.Name, ".")
	return k.Required && !l.wrong[k.Name] && !l.wrong[section] && !l.unread
}

func (l *loader) apply(c *Config, k Key, merged *koanf.Koanf, origins map[string]Origin) {
	if !merged.Exists(k.Name) {
		if l.isMissing(k) {
			l.mistake(Mistake{Key: k.Name, Rule: "is required: give it in the file or as " + k.Variable()})
		}
		return
	}
	texts := []string{merged.String(k.Name)}
	if k.Type == List {
		texts = merged.Strings(k.Name)
	}
	origin := origins[k.Name]
	if err := k.set(c, texts); err != nil {
		l.mistake(Mistake{Key: k.Name, Value: shown(k, texts), Rule: err.Error(), Origin: origin})
		return
	}
	value := strings.Join(texts, ",")
	if k.Type == Hidden {
		value = redacted
	}
	c.settings[k.Name] = Setting{Key: k, Value: value, Origin: origin}
}

// Keys that are held against others, or against what only the program or its surroundings know. The secret of this
// package has two, the text itself and a file that holds it.
const (
	viewName     = "view.name"
	viewFile     = "view.file"
	streamKey    = "kinesis.stream"
	consumerKey  = "kinesis.consumer"
	listen       = "telemetry.listen"
	minRequests  = "pressure.min_requests_per_host"
	maxRequests  = "pressure.max_requests_per_host"
	admin        = "telemetry.admin"
	password     = "cassandra.password"
	passwordFile = "cassandra.password_file"
	username     = "cassandra.username"
)

// contradictions finds a layer that gives both. Over layers the later one goes before.
func (l *loader) contradictions(g given) {
	if _, ok := g.values[password]; ok && g.values[passwordFile] != nil {
		l.mistake(Mistake{Key: password, Rule: "contradicts " + passwordFile + ": give one of them", Origin: g.origins[password]})
	}
}

// views refuses a view that the program does not have.
func (l *loader) views(c *Config, views []string) {
	if len(views) == 0 || l.wrong[viewName] || slices.Contains(views, c.View.Name) {
		return
	}
	l.mistake(Mistake{Key: viewName, Value: c.View.Name, Rule: "must be a view of this program: " + strings.Join(views, ", "),
		Suggestion: suggest(c.View.Name, views), Origin: c.Origin(viewName)})
}

// viewFile reads the view in a file. A name that is given besides can only be its name.
func (l *loader) viewFile(c *Config, s Sources) {
	refuse := func(key, value, rule string) {
		l.mistake(Mistake{Key: key, Value: value, Rule: rule, Origin: c.Origin(key)})
	}
	path := c.View.File
	if l.wrong[viewFile] || s.ReadView == nil {
		return
	}
	text, err := os.ReadFile(path)
	if err != nil {
		refuse(viewFile, path, fmt.Sprintf("must be a readable file: %v", errors.Unwrap(err)))
		return
	}
	name, revision, err := s.ReadView(path, text)
	if invalid, ok := errors.AsType[*Error](err); ok {
		l.mistakes = append(l.mistakes, invalid.Mistakes...)
		return
	}
	if err != nil {
		refuse(viewFile, path, err.Error())
		return
	}
	if given := c.View.Name; c.Origin(viewName).Layer != Default && !l.wrong[viewName] && given != name {
		refuse(viewName, given, fmt.Sprintf("contradicts %s: the view in %s is %s", viewFile, path, name))
		return
	}
	k, _ := find(viewName)
	if err := k.set(c, []string{name}); err != nil {
		refuse(viewFile, path, fmt.Sprintf("the name of the view in it, %s, %v", name, err))
		return
	}
	c.View.Revision = revision
	c.settings[viewName] = Setting{Key: k, Value: name, Origin: c.Origin(viewFile)}
}

// credentials settles which of text and file holds, reads the file, and asks for a user exactly if there is a password.
func (l *loader) credentials(c *Config, origins map[string]Origin) {
	if c.Cassandra.Password.IsSet() && origins[password].Layer > origins[passwordFile].Layer {
		c.Cassandra.PasswordFile = ""
		delete(c.settings, passwordFile)
	}
	if path := c.Cassandra.PasswordFile; path != "" && !l.wrong[passwordFile] {
		s, err := readSecret(path)
		if err != nil {
			l.mistake(Mistake{Key: passwordFile, Value: path, Rule: err.Error(), Origin: origins[passwordFile]})
			return
		}
		c.Cassandra.Password = s
		k, _ := find(password)
		c.settings[password] = Setting{Key: k, Value: redacted, Origin: origins[passwordFile]}
	}
	if l.wrong[password] || l.wrong[passwordFile] || l.wrong[username] {
		return
	}
	switch {
	case c.Cassandra.Username != "" && !c.Cassandra.Password.IsSet():
		l.mistake(Mistake{Key: username, Value: c.Cassandra.Username,
			Rule: "needs a password: give " + passwordFile + " or PENSTOCK_CASSANDRA_PASSWORD", Origin: origins[username]})
	case c.Cassandra.Username == "" && c.Cassandra.Password.IsSet():
		l.mistake(Mistake{Key: password, Rule: "needs " + username, Origin: c.settings[password].Origin})
	}
}

func readSecret(path string) (Secret, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return Secret{}, fmt.Errorf("must be a readable file: %w", errors.Unwrap(err))
	}
	text := strings.TrimSuffix(strings.TrimSuffix(string(b), "\n"), "\r")
	if text == "" {
		return Secret{}, errors.New("must be a file that is not empty")
	}
	return NewSecret(text), nil
}

// listeners refuses two of them on one port, of one host or of all. The mistake is told of the one that was given.
func (l *loader) listeners(c *Config) {
	if l.wrong[listen] || l.wrong[admin] || !overlap(c.Telemetry.Listen, c.Telemetry.Admin) {
		return
	}
	told, other := c.settings[admin], c.settings[listen]
	if told.Origin.Layer == Default {
		told, other = other, told
	}
	l.mistake(Mistake{Key: told.Key.Name, Value: told.Value, Origin: told.Origin,
		Rule: fmt.Sprintf("contradicts %s, which is %s: they cannot share a port", other.Key.Name, other.Value)})
}

// requests refuses a lowest limit above the highest. The mistake is told of the one that was given.
func (l *loader) requests(c *Config) {
	if l.wrong[minRequests] || l.wrong[maxRequests] || c.Pressure.MinRequestsPerHost <= c.Pressure.MaxRequestsPerHost {
		return
	}
	told, other, rule := c.settings[minRequests], c.settings[maxRequests], "at most"
	if told.Origin.Layer == Default {
		told, other, rule = other, told, "at least"
	}
	l.mistake(Mistake{Key: told.Key.Name, Value: told.Value, Origin: told.Origin,
		Rule: fmt.Sprintf("contradicts %s, which is %s: must be %s that", other.Key.Name, other.Value, rule)})
}

// overlap tells whether two listeners would meet. Port 0 is another port each time.
func overlap(a, b string) bool {
	hostA, portA, _ := net.SplitHostPort(a)
	hostB, portB, _ := net.SplitHostPort(b)
	everywhere := func(host string) bool { return host == "" || net.ParseIP(host).IsUnspecified() }
	return portA == portB && portA != "0" && (hostA == hostB || everywhere(hostA) || everywhere(hostB))
}

func find(name string) (Key, bool) {
	i := slices.IndexFunc(keys, func(k Key) bool { return k.Name == name })
	if i < 0 {
		return Key{}, false
	}
	return keys[i], true
}

func sections() []string {
	var out []string
	for _, s := range Sections() {
		if s.Name != "" {
			out = append(out, s.Name)
		}
	}
	return out
}

func isSection(path string) bool { return slices.Contains(sections(), path) }
