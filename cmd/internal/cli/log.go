package cli

import (
	"fmt"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
)

// NewLogger writes JSON lines to standard error. The level can be changed while it is in use.
func NewLogger(level string) (*zap.Logger, zap.AtomicLevel, error) {
	atomic, err := zap.ParseAtomicLevel(level)
	if err != nil {
		return nil, atomic, fmt.Errorf("create the logger: %w", err)
	}
	c := zap.NewProductionConfig()
	c.Level = atomic
	c.Sampling = nil // a lease event that is sampled away is one nobody can explain later
	c.DisableStacktrace = true
	c.EncoderConfig.TimeKey, c.EncoderConfig.EncodeTime = "time", zapcore.RFC3339NanoTimeEncoder
	c.EncoderConfig.EncodeDuration = zapcore.StringDurationEncoder
	log, err := c.Build()
	return log, atomic, err
}
