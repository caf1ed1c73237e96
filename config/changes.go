package config

import "slices"

// Changes returns the settings of new that differ from old, in the order of [Keys]: those that a running daemon takes
// over, and those that hold from its next start. A value in another notation (1m for 60s) is no change, nor is other
// content of the password's file, which is read for every connection anyway. Another definition in the view's file is a
// change of the key that names it, and other comments in it are none. A setting that new lacks is there without a value.
func Changes(old, new *Config) (safe, restart []Setting) {
	for _, k := range keys {
		if k.unchanged(old, new) {
			continue
		}
		s, ok := new.settings[k.Name]
		if !ok {
			s = Setting{Key: k}
		}
		if k.Reload == OnSignal {
			safe = append(safe, s)
		} else {
			restart = append(restart, s)
		}
	}
	return safe, restart
}

func (k Key) unchanged(old, new *Config) bool {
	if !same(k.get(old), k.get(new)) {
		return k.Name == password && sameFile(old, new)
	}
	return k.Name != viewFile || old.View.Revision == new.View.Revision
}

// same compares two values of one key.
func same(a, b any) bool {
	switch a := a.(type) {
	case []string:
		return slices.Equal(a, b.([]string))
	case Secret:
		return a.Reveal() == b.(Secret).Reveal()
	case Start:
		return a.At.Equal(b.(Start).At)
	}
	return a == b
}

func sameFile(old, new *Config) bool {
	return old.Cassandra.PasswordFile != "" && old.Cassandra.PasswordFile == new.Cassandra.PasswordFile
}
