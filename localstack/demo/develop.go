package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"time"
)

// drainTimeout bounds the stop of the projector.
const drainTimeout = 30 * time.Second

// develop keeps the stack and one projector running until Ctrl-C.
func develop(ctx context.Context, s *stage) error {
	env := filepath.Join(s.dir, "env")
	if err := s.site.WriteEnv(env); err != nil {
		return err
	}
	d, err := s.site.Start(ctx, "dev")
	if err != nil {
		return err
	}
	metrics, err := d.PublicAddress(ctx)
	if err != nil {
		return err
	}
	admin, err := d.AdminAddress(ctx)
	if err != nil {
		return err
	}
	cql := s.stack.Cassandra()[0].Addr()
	fmt.Printf(`
A projector (pid %d) follows the stream. Its log: %s

Type in another terminal:
  . %s
  go run ./cmd/devstack seed --orders 1000     # events into the stream
  curl -s http://%s/metrics | grep penstock_records
  curl -s http://%s/debug/pressure             # what is slow, and why
  cqlsh %s %d -e 'SELECT JSON * FROM orders.order_by_id_g1 LIMIT 1'     # if you have cqlsh
  kill %d                                      # drains and ends the projector
  go run ./cmd/projector run                   # runs your working tree in its place

Ctrl-C here stops everything.
`, d.PID(), d.LogFile, env, metrics, admin, cql.Addr(), cql.Port(), d.PID())
	stopped := make(chan error, 1)
	go func() { stopped <- s.stack.Wait(ctx) }()
	err = <-stopped
	stop, cancel := context.WithTimeout(context.WithoutCancel(ctx), drainTimeout)
	defer cancel()
	select {
	case <-d.Done(): // the developer's own doing
	default:
		if stopErr := d.Stop(stop); stopErr != nil {
			fmt.Fprintln(os.Stderr, "demo:", stopErr)
		}
	}
	if ctx.Err() != nil {
		return nil
	}
	return err
}
