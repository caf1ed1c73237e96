package config

import (
	"errors"
	"fmt"
	"maps"
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
	l.credentials(c, origins)
	l.listeners(c)
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

// The secret of this package has two keys, the text itself and a file that holds it.
const (
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

// credentials settles which of text and file holds, reads the file, and asks for a user exactly if there is a password.
func (l *loader) credentials(c *Config, origins map[string]Origin) {
	if l.wrong[password] || l.wrong[passwordFile] || l.wrong[username] {
		return
	}
	if c.Cassandra.Password.IsSet() && origins[password].Layer > origins[passwordFile].Layer {
		c.Cassandra.PasswordFile = ""
		delete(c.settings, passwordFile)
	}
	if path := c.Cassandra.PasswordFile; path != "" {
		s, err := readSecret(path)
		if err != nil {
			l.mistake(Mistake{Key: passwordFile, Value: path, Rule: err.Error(), Origin: origins[passwordFile]})
			return
		}
		c.Cassandra.Password = s
		k, _ := find(password)
		c.settings[password] = Setting{Key: k, Value: redacted, Origin: origins[passwordFile]}
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

// listeners refuses two of them on one address. Port 0 is another port each time.
func (l *loader) listeners(c *Config) {
	if c.Telemetry.Listen != "" && c.Telemetry.Listen == c.Telemetry.Admin && !strings.HasSuffix(c.Telemetry.Listen, ":0") {
		l.mistake(Mistake{Key: "telemetry.admin", Value: c.Telemetry.Admin, Rule: "must differ from telemetry.listen",
			Origin: c.Origin("telemetry.admin")})
	}
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
	for _, k := range keys {
		if section, _, ok := strings.Cut(k.Name, "."); ok && !slices.Contains(out, section) {
			out = append(out, section)
		}
	}
	return out
}

func isSection(path string) bool { return slices.Contains(sections(), path) }
