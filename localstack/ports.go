package localstack

import (
	"cmp"
	"errors"
	"fmt"
	"net/netip"
	"syscall"
)

// How often a port that the kernel chose on the first address may be taken on the second or third before the search is given up.
const portAttempts = 50

// The ports of a node that has a host of its own.
const (
	defaultCQLPort     = 9042
	defaultStoragePort = 7000
	defaultJMXPort     = 7199
)

// addresses is where each part listens. What is on the loopback is held by the reservations of the stack until its end.
type addresses struct {
	kinesis  netip.AddrPort
	dynamoDB netip.AddrPort
	s3       netip.AddrPort
	nodes    []nodeAddresses
}

type nodeAddresses struct {
	cql     netip.AddrPort
	storage netip.AddrPort
	jmx     netip.AddrPort
}

func loopback(last byte) netip.Addr { return netip.AddrFrom4([4]byte{127, 0, 0, last}) }

// assignPorts reserves every port the configuration needs.
func (s *Stack) assignPorts(cfg Config) error {
	for _, part := range []struct {
		name   string
		wanted bool
		port   int
		into   *netip.AddrPort
	}{
		{"kinesis", cfg.Kinesis, cfg.Ports.Kinesis, &s.addresses.kinesis},
		{"dynamodb", cfg.DynamoDB, cfg.Ports.DynamoDB, &s.addresses.dynamoDB},
		{"s3", cfg.S3, cfg.Ports.S3, &s.addresses.s3},
	} {
		if !part.wanted {
			continue
		}
		held, err := reserve(netip.AddrPortFrom(loopback(1), uint16(part.port)))
		if err != nil {
			return fmt.Errorf("%s: %w", part.name, err)
		}
		s.reservations = append(s.reservations, held)
		*part.into = held.addr
	}
	return s.assignCassandraPorts(cfg)
}

func (s *Stack) assignCassandraPorts(cfg Config) error {
	if cfg.CassandraNodes == 0 {
		return nil
	}
	if len(cfg.Hosts) > 0 {
		for _, h := range cfg.Hosts {
			s.addresses.nodes = append(s.addresses.nodes, h.addresses(cfg.Ports))
		}
		return nil
	}
	cql, err := s.reserveOnAll(cfg.CassandraNodes, cfg.Ports.CQL)
	if err != nil {
		return fmt.Errorf("cassandra's cql port: %w", err)
	}
	storage, err := s.reserveOnAll(cfg.CassandraNodes, cfg.Ports.CassandraStorage)
	if err != nil {
		return fmt.Errorf("cassandra's storage port: %w", err)
	}
	for i := range cfg.CassandraNodes {
		// JMX listens on 127.0.0.1 whatever the node's own address is.
		wanted := cfg.Ports.CassandraJMX
		if wanted != 0 {
			wanted += i
		}
		jmx, err := reserve(netip.AddrPortFrom(loopback(1), uint16(wanted)))
		if err != nil {
			return fmt.Errorf("cassandra's jmx port: %w", err)
		}
		s.reservations = append(s.reservations, jmx)
		s.addresses.nodes = append(s.addresses.nodes, nodeAddresses{cql: cql[i], storage: storage[i], jmx: jmx.addr})
	}
	return nil
}

// addresses needs no reservation: nobody else is in the host's namespace.
func (h Host) addresses(p Ports) nodeAddresses {
	at := func(a netip.Addr, port, usual int) netip.AddrPort {
		return netip.AddrPortFrom(a, uint16(cmp.Or(port, usual)))
	}
	return nodeAddresses{
		cql:     at(h.Clients, p.CQL, defaultCQLPort),
		storage: at(h.Ring, p.CassandraStorage, defaultStoragePort),
		jmx:     at(loopback(1), p.CassandraJMX, defaultJMXPort),
	}
}

// reserveOnAll reserves one port on each of 127.0.0.1 to 127.0.0.n, the same on all.
func (s *Stack) reserveOnAll(n, port int) ([]netip.AddrPort, error) {
	for range portAttempts {
		held, err := reserveSame(n, port)
		if err == nil {
			s.reservations = append(s.reservations, held...)
			addrs := make([]netip.AddrPort, n)
			for i, r := range held {
				addrs[i] = r.addr
			}
			return addrs, nil
		}
		if port != 0 || !errors.Is(err, syscall.EADDRINUSE) {
			return nil, err
		}
	}
	return nil, fmt.Errorf("no port is free on %d addresses at once after %d attempts", n, portAttempts)
}

func reserveSame(n, port int) ([]*reservation, error) {
	var held []*reservation
	for i := range n {
		r, err := reserve(netip.AddrPortFrom(loopback(byte(i+1)), uint16(port)))
		if err != nil {
			for _, r := range held {
				r.release()
			}
			return nil, err
		}
		held = append(held, r)
		port = int(r.addr.Port())
	}
	return held, nil
}
