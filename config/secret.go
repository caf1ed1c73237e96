package config

import (
	"fmt"
	"io"
	"log/slog"
)

// Secret is a text that cannot be printed, whatever prints it: every verb of fmt, JSON, YAML, slog and zap show only
// that it is set. The text is kept in a closure, so that a printer which walks unexported fields by reflection, where
// it may not call methods, sees an address. The zero value is not set.
type Secret struct{ reveal func() string }

// NewSecret keeps a text. An empty text gives the zero value.
func NewSecret(text string) Secret {
	if text == "" {
		return Secret{}
	}
	return Secret{reveal: func() string { return text }}
}

// Reveal returns the text, for the one place that needs it.
func (s Secret) Reveal() string {
	if s.reveal == nil {
		return ""
	}
	return s.reveal()
}

// IsSet tells whether there is a text.
func (s Secret) IsSet() bool { return s.reveal != nil }

const redacted = "[secret]"

// String returns "[secret]", or nothing if none is set.
func (s Secret) String() string {
	if s.IsSet() {
		return redacted
	}
	return ""
}

// Format prints what String returns, for every verb and flag.
func (s Secret) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, s.String()) }

// GoString is String.
func (s Secret) GoString() string { return s.String() }

// MarshalText is String, for JSON, YAML and XML.
func (s Secret) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// LogValue is String, for slog.
func (s Secret) LogValue() slog.Value { return slog.StringValue(s.String()) }
